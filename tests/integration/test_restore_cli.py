"""`gavn restore` with several inputs, names it makes up, and the choices it offers."""
import json
from pathlib import Path

import numpy as np
import pytest
from restore_fakes import FACE, HEIGHT, WIDTH, fixed_face, write_video

from gavn.cli import main as cli
from gavn.cli import restore
from gavn.cli.restore_jobs import sources
from gavn.errors import ExitCode, InputPathError
from gavn.media import probe, read_frames
from gavn.restoration import comparison_video, job
from gavn.restoration.output_path import OutputPathError
from gavn.runtime.exit_codes import code_of
from gavn.runtime.images import write_image


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face(absent=(2,)))


@pytest.fixture
def talks(tmp_path) -> Path:
    folder = tmp_path / 'talks'
    folder.mkdir()
    for name in ('a.mp4', 'b.mov', 'c.avi'):
        write_video(folder / name, 4, audio=None)
    (folder / 'notes.txt').write_text('not a video')
    return folder


def run(weights: Path, *args: object) -> int:
    return cli.main(['restore', *map(str, args), '--weights', str(weights)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_outputs_are_beside_their_inputs(weights, talks):
    assert run(weights, talks, '--no-report') == 0
    assert set(names(talks)) == {
        'a.mp4', 'b.mov', 'c.avi', 'notes.txt', 'a_gavn.mp4', 'b_gavn.mov', 'c_gavn.mkv'}
    assert probe(talks / 'c_gavn.mkv').codec == 'h264'


def test_outputs_with_names_of_their_own_are_no_inputs(weights, talks, tmp_path):
    """`-o other.mp4` was restored again with the folder that it is in."""
    assert run(weights, talks / 'a.mp4', '-o', talks / 'other.mp4', '--compare', 'side') == 0
    (talks / 'b.mov.json').write_text('["of another program"]')
    assert run(weights, talks, '-o', tmp_path / 'out', '--no-report') == 0
    assert names(tmp_path / 'out') == ['a_gavn.mp4', 'b_gavn.mov', 'c_gavn.mkv']
    assert run(weights, talks / 'other.mp4', talks / 'b.mov', '-o', tmp_path / 'again', '--no-report') == 0
    assert names(tmp_path / 'again') == ['b_gavn.mov', 'other_gavn.mp4']  # without its input it is one


def test_outputs_go_into_a_folder(weights, talks, tmp_path):
    out = tmp_path / 'new/out'
    assert run(weights, talks / 'a.mp4', str(talks / '[bc].*'), '-o', f'{out}/', '--suffix', 'better',
               '--ext', 'mkv', '--codec', 'libx265', '--preset', 'ultrafast') == 0
    assert names(out) == [f'{letter}_better.{ending}' for letter in 'abc' for ending in ('mkv', 'mkv.json')]
    assert probe(out / 'a_better.mkv').codec == 'hevc'


def test_one_that_fails_does_not_stop_the_others(weights, talks, tmp_path, capsys):
    (talks / 'a.mp4').write_text('not a video')
    assert run(weights, talks / 'a.mp4', talks / 'b.mov', talks / 'none.mp4', '-o', tmp_path / 'out') == 4
    said = capsys.readouterr().err
    assert 'a.mp4: no readable media file' in said and 'none.mp4: no such file' in said
    assert names(tmp_path / 'out') == ['b_gavn.mov', 'b_gavn.mov.json']


def test_inputs_of_one_name_keep_their_extensions(weights, tmp_path, capsys):
    """One such pair refused a whole folder."""
    talks = tmp_path / 'same'
    talks.mkdir()
    for name in ('talk.avi', 'talk.mkv', 'other.avi'):
        write_video(talks / name, 2, audio=None)
    assert run(weights, talks) == 0
    outputs = ['other_gavn.mkv', 'talk.avi_gavn.mkv', 'talk.mkv_gavn.mkv']
    assert [name for name in names(talks) if name.endswith('_gavn.mkv')] == outputs
    capsys.readouterr()
    assert run(weights, talks) == 0
    assert capsys.readouterr().out.count('exists already') == 3


@pytest.mark.parametrize(('args', 'words'), [
    (['{talks}/*.mkv'], 'no videos or images found'),
    (['{talks}/a.mp4', '{talks}/b.mov', '-o', '{talks}/notes.txt'], 'is a file, but there are 2 inputs'),
    (['{talks}/a.mp4', '{talks}/sub/a.mp4', '-o', '{talks}'], 'several inputs would be written to'),
    (['{talks}/a.mp4', '-o', '{talks}/x.avi'], 'does not keep the time stamps of the frames\n  use .mp4'),
])
def test_inputs_and_outputs_that_do_not_fit(weights, talks, capsys, args, words):
    (talks / 'sub').mkdir()
    write_video(talks / 'sub/a.mp4', 2, audio=None)
    assert run(weights, *(arg.format(talks=talks) for arg in args)) == 2
    assert words in capsys.readouterr().err


def test_inputs_without_videos_have_an_error_of_their_own(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputPathError, match='empty: no videos or images found') as error:
        sources([str(tmp_path / 'empty')])
    assert not isinstance(error.value, OutputPathError) and code_of(error.value) == ExitCode.USAGE


def test_a_folder_of_folders_says_how_to_search_them(talks, tmp_path):
    """A folder is not searched at any depth, and nothing said how to."""
    with pytest.raises(InputPathError, match=r'no videos or images found\n.* use "(.*)"$') as error:
        sources([str(tmp_path)])
    pattern = str(error.value).rpartition('use ')[2].strip('"')
    write_image(talks / 'frames_gavn.gavn/images/0.png', np.zeros((8, 8, 3), np.uint8))
    assert sources([pattern]) == [talks / name for name in ('a.mp4', 'b.mov', 'c.avi')]


@pytest.mark.parametrize(('args', 'code', 'words'), [
    (['--faces', '3'], 2, 'no face 3 in the video, which has faces 0 to 1'),
    (['--faces', 'best'], 2, "'all', 'largest' or ids"),
    (['--box', '10,10,500,20'], 2, 'not inside an image'), (['--faces', '1'], 0, ''),
    (['--box', '30,20,30,30'], 0, ''), (['--min-face', '20'], 0, '')])
def test_choices(weights, talks, capsys, args, code, words):
    assert run(weights, talks / 'a.mp4', *args) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize('args', [['--box', '1,2,3'], ['--box', '1,2,3,0'], ['--preview', '0s'],
                                  ['--preview', 'soon'], ['--min-face', '-3'], ['--ext', 'webm'],
                                  ['--codec', 'vp9']])
def test_choices_that_are_none(weights, talks, capsys, args):
    with pytest.raises(SystemExit) as stop:
        run(weights, talks / 'a.mp4', *args)
    assert stop.value.code == 2 and args[0] in capsys.readouterr().err


def test_the_report(weights, talks):
    assert run(weights, talks / 'a.mp4', '--strength', '0.5') == 0
    report = json.loads((talks / 'a_gavn.mp4.json').read_text())
    assert (report['frames_in'], report['frames_out'], report['restored'], report['passed_through']) == (
        4, 4, 3, 1)
    first, second = report['faces']
    assert (first['first_frame'], first['last_frame'], second['first_frame']) == (0, 1, 3)
    assert first['height'] == FACE.height and first['before']['sharpness'] > 0
    assert first['before']['flicker'] is None  # two frames do not show any
    assert report['settings'] == {'strength': 0.5, 'faces': 'all', 'crf': 18, 'preset': 'medium',
                                  'codec': 'libx264', 'device': 'cpu', 'dtype': 'float32'}
    assert next(iter(report['weights'].values())) and 'estimates' in report['note']
    assert any('no readable audio track' in notice for notice in report['notices'])
    assert {'gavn', 'torch', 'av', 'x264'} <= report['versions'].keys()


def test_the_same_command_on_a_folder_does_what_is_left(weights, talks, capsys):
    assert run(weights, talks, '--compare', 'side') == 0
    made = names(talks)
    (talks / '.hidden.mp4').write_text('of some other program')
    (talks / 'b_gavn.mov').unlink()
    (talks / 'b_gavn.mov.json').unlink()
    (talks / 'b_gavn_compare.mov').unlink()
    capsys.readouterr()
    assert run(weights, talks, '--compare', 'side') == 0
    assert names(talks) == sorted([*made, '.hidden.mp4'])
    said = capsys.readouterr().out
    assert 'a_gavn.mp4 exists already' in said and said.endswith('\n1 done, 2 skipped\n')


@pytest.mark.parametrize('form', ['side', 'split'])
def test_before_and_after_in_one_video(weights, tmp_path, form):
    source = write_video(tmp_path / 'a.mp4', 8, audio=0.32)
    assert run(weights, source, '--compare', form, '--preview', '0.2s') == 0
    both = list(read_frames(tmp_path / 'a_gavn_preview_compare.mp4'))
    before, after = (list(read_frames(tmp_path / name)) for name in ('a.mp4', 'a_gavn_preview.mp4'))
    assert [frame.time for frame in both] == [frame.time for frame in before[:5]]
    assert both[0].image.shape == (HEIGHT, WIDTH * (2 if form == 'side' else 1), 3)
    left, right = (np.abs(both[3].image[:, part].astype(int) - whole[3].image[:, shown]).mean()
                   for part, whole, shown in ((slice(0, 46), before, slice(0, 46)),
                                              (slice(-46, None), after, slice(-46, None))))
    assert max(left, right) < 3
    info = probe(tmp_path / 'a_gavn_preview_compare.mp4')
    assert info.audio_tracks and info.duration < 0.3


@pytest.mark.parametrize('images', [False, True])
def test_a_comparison_that_was_interrupted_is_made_by_the_same_command(weights, tmp_path, monkeypatch, capsys,
                                                                       images):
    """The output was there without its comparison, and the same command refused it as existing."""
    source = write_video(tmp_path / 'a.mp4', 8, audio=0.32)
    output, both = tmp_path / 'a_gavn.mp4', tmp_path / 'a_gavn_compare.mp4'
    command = [source, '--compare', 'split']
    if images:
        source.unlink()
        source = tmp_path / 'a'
        source.mkdir()
        for i in range(3):
            write_image(source / f'{i}.png', np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        output, both = tmp_path / 'a_gavn', tmp_path / 'a_gavn_compare.mp4'
        command = [source, '--compare', 'split', '--ext', 'png']

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(comparison_video, '_split', interrupt)
        assert run(weights, *command) == 130
    assert 'rerun the same command to resume' in capsys.readouterr().err
    assert names(tmp_path) == [source.name, f'{output.name}.gavn']
    assert run(weights, *command) == 0
    assert f'wrote {both}\n' in capsys.readouterr().out
    assert names(tmp_path) == sorted([source.name, output.name, f'{output.name}.json', both.name])


def test_a_comparison_of_an_output_with_a_long_name(weights, tmp_path):
    """Its temporary folder had a name that was longer than file systems allow."""
    source, output = write_video(tmp_path / 'a.mp4', 4, audio=None), tmp_path / f'{"x" * 240}.mp4'
    assert run(weights, source, '-o', output, '--compare', 'side') == 0
    assert len(names(tmp_path)) == 4


def test_a_report_is_not_overwritten(weights, talks, capsys):
    (talks / 'a_gavn.mp4.json').write_text('precious')
    assert run(weights, talks / 'a.mp4') == 2
    assert 'a_gavn.mp4.json exists already' in capsys.readouterr().err and 'a_gavn.mp4' not in names(talks)


def test_a_box_is_where_it_was_said(weights, talks):
    box = restore._box(f'0,0,{WIDTH},20')
    assert (box.x0, box.y0, box.x1, box.y1) == (0, 0, WIDTH, 20)
