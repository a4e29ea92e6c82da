"""Several inputs of which some fail in ways that nobody foresaw, and names that are hard on file systems."""
import json
import os
from pathlib import Path

import pytest
from restore_fakes import fixed_face, make_restorer, write_video

from gavn.cli import main as cli
from gavn.errors import ExitCode
from gavn.restoration import job, restore_video
from gavn.runtime.file_names import with_ending


@pytest.fixture
def weights(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face())
    path = tmp_path_factory.mktemp('weights') / 'w.safetensors'
    make_restorer(20).save(path)
    return path


@pytest.fixture
def talks(tmp_path):
    for name in ('a', 'b', 'c'):
        write_video(tmp_path / f'{name}.mp4', 4, None)
    return tmp_path


def fail_on(monkeypatch, name: str, error: Exception) -> None:
    """The digest of an input of that name raises, as a defect would, in the midst of a batch."""
    real = restore_video.VideoReader.digest

    def digest(video):
        if video.path.name == name:
            raise error
        return real(video)

    monkeypatch.setattr(restore_video.VideoReader, 'digest', digest)


@pytest.mark.parametrize('error', [RuntimeError('tensors of two sizes'), AttributeError('no layout'),
                                   UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid'), MemoryError()])
def test_a_failure_of_any_kind_is_reported_and_the_next_goes_on(talks, weights, monkeypatch, capsys, error):
    fail_on(monkeypatch, 'b.mp4', error)
    assert cli.main(['restore', str(talks), '--weights', str(weights)]) == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert f'error: {talks / "b.mp4"}: {type(error).__name__}: ' in err and 'Traceback' not in err
    assert out.splitlines()[-1] == '2 done, 1 failed'
    assert (talks / 'a_gavn.mp4').exists() and (talks / 'c_gavn.mp4').exists()
    assert not (talks / 'b_gavn.mp4').exists() and not (talks / 'b_gavn.mp4.gavn').exists()


def test_where_it_happened_is_shown_on_request(talks, weights, monkeypatch, capsys):
    monkeypatch.setenv('GAVN_TRACEBACK', '1')
    fail_on(monkeypatch, 'b.mp4', RuntimeError('a defect'))
    assert cli.main(['restore', str(talks / 'b.mp4'), '--weights', str(weights)]) == ExitCode.FAILED
    assert 'Traceback' in capsys.readouterr().err


def test_unreadable_inputs_count(talks, weights, capsys):
    (talks / 'b.mp4').write_bytes(b'no video')
    assert cli.main(['restore', str(talks), '--weights', str(weights)]) == ExitCode.UNREADABLE
    assert capsys.readouterr().out.splitlines()[-1] == '2 done, 1 failed'
    assert cli.main(['restore', str(talks), '--weights', str(weights)]) == ExitCode.UNREADABLE
    assert capsys.readouterr().out.splitlines()[-1] == '0 done, 1 failed, 2 skipped'


@pytest.mark.parametrize('stem', ['12:30 talk', 'n' * 251, 'é' * 125, 'http:', '\udcb2\udcc9\udcff'],
                         ids=['colons', '251 letters', '125 letters of two bytes', 'a scheme', 'no text'])
def test_names_that_are_hard(tmp_path, weights, capsys, stem):
    source = write_video(tmp_path / 'made.mp4', 4, None).rename(tmp_path / f'{stem}.mp4')
    command = ['restore', str(tmp_path), '--weights', str(weights), '--compare', 'side']
    assert cli.main(command) == 0
    made = sorted(os.fsencode(path.name) for path in tmp_path.iterdir() if path != source)
    assert len(made) == 3 and max(map(len, made)) <= 255
    report = next(path for path in tmp_path.iterdir() if path.suffix == '.json')
    assert json.loads(report.read_text(encoding='utf-8'))['source'] == str(source)
    assert cli.main(command) == ExitCode.USAGE  # the output is there; outputs are no inputs
    assert len(list(tmp_path.iterdir())) == 4


def test_long_names_are_cut_at_characters_and_stay_apart():
    one, other = (with_ending('é' * 120 + end, '_gavn', spare=22) for end in ('a' * 20, 'b' * 20))
    assert one != other and one.endswith('_gavn') and len(one.encode()) <= 255 - 22
    assert with_ending('talk', '_gavn', spare=22) == 'talk_gavn'
    assert Path(one).name == one
