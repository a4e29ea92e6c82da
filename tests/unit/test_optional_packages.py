"""Packages of extras: one message says what to install."""
import sys

import pytest

from gavn.errors import MissingPackageError
from gavn.runtime.optional_packages import models_folder, optional_package, require_packages


def test_installed_packages_are_imported():
    assert optional_package('json.decoder', 'demo', 'this').JSONDecoder
    require_packages(['json', 're'], 'demo', 'this')


@pytest.mark.parametrize('name', ['absent_package', 'absent_package.part'])
def test_an_absent_package_is_named_with_its_extra(name: str) -> None:
    with pytest.raises(MissingPackageError, match=r"^this needs absent_package: pip install .*\[demo\]'$"):
        optional_package(name, 'demo', 'this')


def test_a_package_that_is_broken_says_why(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'broken_package.py').write_text('import no_such_dependency')
    monkeypatch.syspath_prepend(tmp_path)
    words = (r'^this needs broken_package, which cannot be imported \(No module .*no_such_dependency.\): '
             r'pip install .* && more$')
    with pytest.raises(MissingPackageError, match=words):
        optional_package('broken_package', 'demo', 'this', also='more')


def test_all_absent_packages_are_named() -> None:
    with pytest.raises(MissingPackageError, match='needs absent_one, absent_two: '):
        require_packages(['json', 'absent_one', 'absent_two'], 'demo', 'this')


def test_the_folder_of_models_is_found_without_an_import(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'package_of_models').mkdir()
    (tmp_path / 'package_of_models/__init__.py').write_text('raise RuntimeError')
    monkeypatch.syspath_prepend(tmp_path)
    assert models_folder('package_of_models', 'demo', 'this') == tmp_path / 'package_of_models/models'
    with pytest.raises(MissingPackageError, match='needs absent_one: '):
        models_folder('absent_one', 'demo', 'this')


def test_the_faces_of_the_demo_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gavn demo` ended with a traceback."""
    from gavn.experiments.synthetic.face import _photograph
    monkeypatch.setitem(sys.modules, 'skimage.data', None)
    with pytest.raises(MissingPackageError, match=r"needs skimage: pip install .*\[demo\]'"):
        _photograph()
