"""Arguments of `gavn restore` that mean the same with `--executor`, or say what they mean there."""
from pathlib import Path

import pytest
from restore_fakes import fixed_face, make_restorer, write_video

from gavn.cli import main as cli
from gavn.errors import ExitCode
from gavn.restoration import job

pytest.importorskip('datatrove', reason='needs datatrove: pip install "gavn[cluster]"')


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face())


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'w.safetensors'
    make_restorer(20, ('lq', 'audio')).save(path)
    return path


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob('*.mp4')}


def test_no_resume_tries_failed_videos_again_as_its_help_says(weights, tmp_path, capsys):
    source, out = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    write_video(source / 'good.mp4', 4, None)
    (source / 'bad.mp4').write_text("ffconcat version 1.0\nfile 'good.mp4'\n")
    command = ['restore', str(source), '-o', str(out), '--weights', str(weights), '--executor', 'local']
    assert cli.main(command) == ExitCode.FAILED
    written = (out / 'good_gavn.mp4').stat().st_mtime_ns
    write_video(source / 'bad.mp4', 4, None)
    assert cli.main(command) == ExitCode.FAILED and cli.main([*command, '--no-resume']) == 0
    assert (out / 'good_gavn.mp4').stat().st_mtime_ns == written and (out / 'bad_gavn.mp4').is_file()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(['restore', '--help'])
    said = ' '.join(capsys.readouterr().out.split())
    assert 'with --executor: try failed videos again (what is finished is kept)' in said


@pytest.mark.parametrize('stem', ['talk', 'Ä' * 120])
def test_previews_have_the_names_of_those_without_an_executor(weights, tmp_path, stem):
    (tmp_path / 'in').mkdir()
    write_video(tmp_path / f'in/{stem}.mp4', 12, None)
    command = ['restore', str(tmp_path / 'in'), '--weights', str(weights), '--preview', '0.2']
    for folder, extra in (('one', []), ('executor', ['--executor', 'local'])):
        assert cli.main([*command, '-o', f'{tmp_path}/{folder}/', *extra]) == 0
    one, other = (outputs(tmp_path / folder) for folder in ('one', 'executor'))
    assert one == other and [name.endswith('_gavn_preview.mp4') for name in one] == [True]
    assert cli.main([*command[:-2], '-o', f'{tmp_path}/executor', '--executor', 'local']) == 0
    assert len(outputs(tmp_path / 'executor')) == 2  # the whole video is another output
