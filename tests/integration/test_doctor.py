"""`gavn doctor` tells what is well, what is absent and what is broken, with the remedy."""
import re
import sys
from pathlib import Path

from gavn.cli import doctor
from gavn.cli import main as cli
from gavn.cli.doctor import ABSENT, BROKEN, OK, Extra, Finding


def test_what_is_installed_for_the_tests_is_well(capsys):
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


def test_an_operator_that_was_not_built_is_reported(monkeypatch):
    monkeypatch.delenv('GAVN_DCN_BACKEND', raising=False)
    monkeypatch.setattr('gavn.ops.deform_native._native', None)
    said = doctor._deformable()
    assert 'cpu reference; ' in said and '; the native backend was not built' in said


def test_an_extra_that_is_absent_is_no_failure(monkeypatch):
    moon = Extra('moon', 'flying there', {'no_such_module': 'no-such-package', 'numpy': 'numpy'})
    found = doctor.extra(moon)
    assert (found.state, found.facts) == (ABSENT, 'no-such-package: for flying there')
    assert found.remedy == "pip install -c constraints.txt -e '.[moon]'"
    monkeypatch.setattr(doctor, 'findings', lambda: iter([found]))
    assert doctor.run(None) == 0
    assert doctor.extra(Extra('sun', 'x', {'numpy': 'numpy'})).state == OK


def test_every_extra_is_one_of_the_package():
    root = Path(__file__).resolve().parents[2]
    setup, listed = ((root / name).read_text(encoding='utf-8')
                     for name in ('setup.py', 'requirements-nodeps.txt'))
    apart = re.findall(r'^(\S+)==', listed, re.MULTILINE)
    for extra in doctor.EXTRAS:
        line = re.search(rf"^ +'{extra.name}': \[(.*?)\],(?:  #.*)?$", setup, re.MULTILINE | re.DOTALL)[1]
        assert all(f"'{package}" in line for package in extra.modules.values() if package not in apart), extra


def test_a_remedy_is_shown_where_it_is_needed():
    assert 'do this' in str(Finding('x', BROKEN, 'why', 'do this'))
    assert 'do this' not in str(Finding('x', OK, 'fine', 'do this'))
