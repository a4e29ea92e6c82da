"""`gavn doctor` prints what works, what is absent and what is broken, with the remedy."""
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gavn.cli import doctor
from gavn.cli import main as cli
from gavn.cli.doctor import ABSENT, BROKEN, OK, Finding
from gavn.ops import deform_triton


@pytest.fixture
def metadata(monkeypatch, tmp_path):
    """The metadata of this checkout, whatever is installed."""
    subprocess.run([sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', str(tmp_path)], check=True,
                   cwd=Path(__file__).resolve().parents[2], capture_output=True)
    monkeypatch.syspath_prepend(tmp_path)


def test_what_is_installed_for_the_tests_is_well(metadata, capsys):
    assert cli.main(['doctor']) == 0
    said = capsys.readouterr().out
    for what in ('gavn', 'torch', r'\[train\]', 'video', 'face detector', 'deformable', 'networks', 'weights',
                 'disk'):
        assert re.search(rf'^ *{what} +ok +\S', said, re.MULTILINE), said
    assert 'mixed, compression, deblur, sr: installed' in said
    assert re.search('deformable convolution: .*cpu (native|reference); installed: reference, torch', said)
    assert 'libx265' in said and said.endswith('gavn works\n')
    assert 'gavn models fetch syncnet' in said or 'syncnet  ok' in said


def test_what_is_broken_is_reported_with_its_remedy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert cli.main(['doctor']) == 1
    said = capsys.readouterr().out
    assert re.search(r'face detector +broken +ModuleNotFoundError: .*onnxruntime.*\n +pip install', said)
    assert 'fix the broken parts' in said.splitlines()[-1]


@pytest.mark.parametrize('checkout', [True, False])
def test_remedies_name_the_constraints_in_a_checkout_only(monkeypatch, checkout):
    """An installed package has no constraints.txt."""
    monkeypatch.setattr('gavn.runtime.project._IN_CHECKOUT', checkout)
    monkeypatch.setattr(doctor, 'tried', lambda what, check, remedy: Finding(what, BROKEN, '', remedy))
    commands = [found.remedy for found in doctor.findings() if found.remedy.startswith('pip install')]
    monkeypatch.delattr('gavn.ops.triton_kernels', raising=False)
    monkeypatch.setitem(sys.modules, 'gavn.ops.triton_kernels', None)
    with pytest.raises(ImportError, match=r'pip install .*triton') as error:
        deform_triton._kernels()
    for command in (*commands, str(error.value)):
        assert ('constraints.txt' in command) == checkout, command
    assert len(commands) >= 3 and commands[0].endswith(' torch torchvision')


def test_an_operator_that_was_not_built_is_reported(monkeypatch):
    monkeypatch.delenv('GAVN_DCN_BACKEND', raising=False)
    monkeypatch.setattr('gavn.ops.deform_native._native', None)
    said = doctor._deformable()
    assert 'cpu reference; ' in said and '; the native backend was not built' in said


def test_extras_come_from_the_metadata(monkeypatch, tmp_path):
    lines = ['Metadata-Version: 2.1', 'Name: gavn', 'Version: 9', 'Provides-Extra: web',
             'Provides-Extra: demo', 'Provides-Extra: dlib', 'Provides-Extra: test', 'Requires-Dist: numpy',
             'Requires-Dist: no-such-package<7,>=6; extra == "web"', 'Requires-Dist: numpy; extra == \'web\'',
             'Requires-Dist: gavn[web]; extra == "demo"',
             'Requires-Dist: pyyaml; sys_platform != "none" and extra == "demo"',
             'Requires-Dist: dlib-bin; extra == "dlib"', 'Requires-Dist: not-needed; extra == "test"']
    (tmp_path / 'gavn-9.dist-info').mkdir()
    (tmp_path / 'gavn-9.dist-info/METADATA').write_text('\n'.join(lines) + '\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(doctor.MODULES, 'dlib-bin', 'numpy')  # built by hand, under another name
    version = importlib.metadata.version
    monkeypatch.setattr('importlib.metadata.version', lambda name: version(name.replace('dlib', 'no-dlib')))
    demo, web, dlib = doctor.extras()
    assert (web.what, web.state, web.facts) == ('[web]', ABSENT, 'no-such-package: for gavn web')
    assert web.remedy == "pip install -c constraints.txt -e '.[web]'"
    assert (demo.state, demo.facts) == (OK, f'pyyaml {version("pyyaml")}')
    assert (dlib.state, dlib.facts) == (OK, 'dlib-bin (unknown version)')
    monkeypatch.setattr(doctor, 'findings', lambda: iter([web]))
    assert doctor.run(None) == 0  # an absent extra is no failure


def test_without_metadata_no_extra_is_known(monkeypatch):
    def distribution(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr('importlib.metadata.distribution', distribution)
    found, = doctor.extras()
    assert found.state == ABSENT and 'gavn is not installed' in found.facts and 'pip install' in found.remedy


def test_every_extra_has_a_purpose(metadata):
    provided = set(importlib.metadata.distribution('gavn').metadata.get_all('Provides-Extra'))
    assert set(doctor.PURPOSES) == provided - {'docs', 'test'}
    assert [found.what for found in doctor.extras()] == [f'[{name}]' for name in doctor.PURPOSES]
    assert all(found.facts for found in doctor.extras())


def test_a_remedy_is_shown_where_it_is_needed():
    assert 'do this' in str(Finding('x', BROKEN, 'why', 'do this'))
    assert 'do this' not in str(Finding('x', OK, 'fine', 'do this'))
