"""`import gavn`: what it offers, what it costs, and that errors have one root."""
import importlib
import pkgutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from restore_fakes import make_restorer

import gavn
from gavn.restoration.protocols import VideoRestorer

UNRELATED = {'gavn.media.decode._UndecodableError', 'gavn.checkpoints.download._IncompleteError'}
"""Signals between functions of one module, which no caller sees."""


def test_the_names_are_those_documented_and_can_be_had():
    assert {'restore_video', 'restore_frames', 'Restorer', 'list_pretrained', 'Report', 'Settings',
            'GavnError'} <= set(gavn.__all__) <= set(dir(gavn))
    for name in gavn.__all__:
        assert getattr(gavn, name) is not None
    with pytest.raises(AttributeError, match='no_such_name'):
        _ = gavn.no_such_name


def test_import_is_quick_and_restoring_needs_no_basicsr():
    code = ('import sys, gavn\n'
            'assert not {"torch", "numpy", "cv2", "basicsr"} & set(sys.modules)\n'
            'for name in gavn.__all__: getattr(gavn, name)\n'
            'import gavn.archs, gavn.restoration.model_builder, gavn.cli.restore\n'
            'assert not {"basicsr", "lmdb", "PIL", "tensorboard"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], check=True)


def test_all_errors_derive_from_one():
    for module in pkgutil.walk_packages(gavn.__path__, 'gavn.'):
        if not module.name.endswith('__main__'):
            importlib.import_module(module.name)
    strays, waiting = set(), [Exception]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.partition('.')[0] == 'gavn' and not issubclass(kind, gavn.GavnError):
                strays.add(f'{kind.__module__}.{kind.__qualname__}')
    assert strays == UNRELATED


def test_errors_have_the_documented_exit_codes():
    kinds = {name: kind for name in gavn.__all__ if isinstance(kind := getattr(gavn, name), type)}
    assert {name: kind.exit_code for name, kind in kinds.items() if issubclass(kind, Exception)} == {
        'ArgumentError': 2, 'CheckpointError': 5, 'ChoiceError': 2, 'DeviceError': 2, 'DiskError': 1,
        'GavnError': 1, 'InputPathError': 2, 'MediaError': 4, 'ModelError': 5, 'NoFace': 3, 'OptionError': 2,
        'OutputPathError': 2, 'RestoreError': 5, 'TaskError': 2}


def test_the_former_name_of_an_error_still_works():
    with pytest.warns(DeprecationWarning, match=r'gavn\.DiskError'):
        former = gavn.Stopped
    assert former is gavn.DiskError and 'Stopped' not in gavn.__all__


@pytest.mark.parametrize(('call', 'words'), [
    (lambda: gavn.Settings(strength=1.5), 'strength must be a number between 0 and 1, not 1.5'),
    (lambda: gavn.Settings(preview=0), 'preview must be longer'),
    (lambda: gavn.Settings(fps=Fraction(0)), 'fps must be a number above 0, not 0'),
    (lambda: gavn.Settings(scale='5'), 'scale 5 is not one of 2, 3, 4, 1080p'),
    (lambda: gavn.AutoRestorer(quality='worst'), "quality 'worst' is not one of best, fast"),
    (lambda: gavn.Restorer.from_pretrained(batch=0), 'batch must be at least 1, not 0'),
    (lambda: gavn.restore_frames([], 25), 'there are no frames')])
def test_a_wrong_argument_is_an_error_of_gavn_and_a_value_error(call, words):
    with pytest.raises(gavn.ArgumentError, match=words) as error:
        call()
    assert isinstance(error.value, gavn.GavnError) and isinstance(error.value, ValueError)


def test_pretrained_weights_are_listed():
    files = (Path(gavn.__file__).parent / 'weights').glob('*.safetensors')
    assert set(gavn.list_pretrained()) == {file.stem for file in files} >= {'mixed', 'compression'}


def test_both_restorers_answer_the_same_questions():
    for restorer in (gavn.AutoRestorer(device='cpu'), make_restorer()):
        assert isinstance(restorer, VideoRestorer)
        assert str(restorer.device) == 'cpu' and restorer.dtype in ('float32', 'bfloat16')


def test_types_are_offered_to_type_checkers():
    assert Path(gavn.__file__).with_name('py.typed').is_file()
