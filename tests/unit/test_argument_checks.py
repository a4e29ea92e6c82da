"""Arguments of restorations and `gavn models` are checked before the work."""
from fractions import Fraction

import pytest

from gavn.cli.main import main
from gavn.errors import ArgumentError
from gavn.faces.tracks import ChoiceError
from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.restorer import Restorer
from gavn.restoration.settings import Settings


@pytest.mark.parametrize(('name', 'value'), [
    ('pix_fmt', 'yuv444p'), ('crf', 99), ('min_face', -5), ('preset', 'quick'), ('fps', '25'), ('fps', 0),
    ('fps', float('nan')), ('codec', 'h264x'), ('scale', '7'), ('crf', 'best'), ('crf', None)])
def test_wrong_settings_are_refused_by_name(name, value):
    with pytest.raises(ArgumentError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize(('fps', 'stored'), [
    (29.97, Fraction(2997, 100)), (25, Fraction(25)), (Fraction(30000, 1001), Fraction(30000, 1001))])
def test_rates_are_stored_as_fractions(fps, stored):
    rate = Settings(fps=fps).fps
    assert isinstance(rate, Fraction) and rate == stored


def test_a_scale_and_a_face_may_be_numbers():
    settings = Settings(scale=2, faces=0)
    assert (settings.scale, settings.faces) == ('2', '0')


def test_wrong_faces_are_refused():
    with pytest.raises(ChoiceError, match="'left'"):
        Settings(faces='left')


@pytest.mark.parametrize(('name', 'value', 'said'), [
    ('dtype', 'float16', 'auto, float32'), ('batch', 0, 'at least 1'), ('compile', 'foo', 'max-autotune')])
@pytest.mark.parametrize('create', [AutoRestorer, lambda **given: Restorer(None, {}, **given)])
def test_wrong_arguments_of_restorers_are_refused_at_once(create, name, value, said):
    with pytest.raises(ArgumentError, match=f'{name} .*{said}'):
        create(device='cpu', **{name: value})


@pytest.mark.parametrize('job', ['fetch', 'verify'])
def test_unknown_weights_have_a_nearest_name(capsys, job):
    assert main(['models', job, 'debur'])
    said = capsys.readouterr().err
    assert "did you mean 'deblur'?" in said and 'compression' in said and 'alexnet' in said
