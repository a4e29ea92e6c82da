"""Command lines that are wrong: the nearest name is suggested, values say what they may be, all at once."""
import argparse
import io
import logging
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tqdm import tqdm

import gavn
from gavn.cli import main as cli
from gavn.cli import prepare
from gavn.data import landmark_annotator, storage
from gavn.errors import MissingInput
from gavn.faces import geometry
from gavn.media import UnreadableMedia
from gavn.runtime.arguments import Parser, seconds
from gavn.runtime.exit_codes import code_of
from gavn.runtime.notices import NOTICES, NoticeFormatter, show_notices
from gavn.runtime.project import PACKAGE


def refused(capsys, *args: str) -> str:
    """What is said about a command line that ends with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        cli.main(args)
    assert stop.value.code == 2
    return capsys.readouterr().err


def parsers(parser: argparse.ArgumentParser, name: str = 'gavn'):
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, below in action.choices.items():
                yield from parsers(below, f'{name} {verb}')


PARSERS = dict(parsers(cli._parser()))
TYPED = [(name, action) for name, parser in PARSERS.items() for action in parser._actions
         if action.type not in (None, str, Path)]


def test_the_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(['--version'])
    assert stop.value.code == 0 and capsys.readouterr().out == f'gavn {gavn.__version__}\n'


@pytest.mark.parametrize(('line', 'meant'), [
    ('restor a.mp4', "'restore'"), ('evalute a', "'evaluate'"), ('models fech', "'fetch'"),
    ('restore --previw 5s a.mp4', "'--preview'"), ('restore a.mp4 --prewiew=5s', "'--preview'"),
    ('models fetch x --form y', "'--from'"), ('web --prot 1', "'--port'"), ('doctor --hepl', "'--help'"),
    ('restore a.mp4 --task mixd', "'mixed'"), ('restore a.mp4 --preset fastt', "'fast'"),
    ('evaluate a --metrics pnsr', "'psnr'"), ('demo --task carr', "'car'")])
def test_the_nearest_is_suggested(capsys, line, meant):
    assert f'did you mean {meant}?' in refused(capsys, *line.split())


@pytest.mark.parametrize(('line', 'said'), [
    ('zzz', 'choose from restore, bundle'), ('restore a --codec vp9', 'choose from auto, libx264, libx265'),
    ('restore a.mp4 --zzzz', 'unknown argument --zzzz\n'), ('doctor now', 'unknown argument now\n')])
def test_without_a_near_one_it_says_what_there_is(capsys, line, said):
    assert said in refused(capsys, *line.split())


@pytest.mark.parametrize(('line', 'said'), [
    ('--crf 99', 'from 0 to 51'), ('--crf best', 'from 0 to 51'), ('--preview soon', '5s, 1.5, 2min or 1:30'),
    ('--preview 0s', '5s, 1.5, 2min or 1:30'), ('--strength 2', 'from 0 to 1'), ('--batch 0', 'at least 1'),
    ('--min-face -3', 'above 0'), ('--box 1,2,x,4', 'X,Y,W,H'), ('--box 1,2,0,4', 'no width or height'),
    ('--box 1,2,nan,4', 'no width or height'), ('--fps 0', '--fps'), ('--suffix=a/b', 'part of a file name'),
    ('--suffix=', 'part of a file name')])
def test_values_say_what_they_may_be(capsys, line, said):
    assert said in refused(capsys, 'restore', 'a.mp4', *line.split())


@pytest.mark.parametrize(('name', 'action'), TYPED, ids=lambda value: getattr(value, 'dest', value))
def test_no_value_is_refused_by_the_name_of_a_function(name, action):
    for text in ('#', '', '1,2', '-1', 'nan'):
        with suppress(argparse.ArgumentTypeError):  # of other errors argparse tells by the function's name
            action.type(text)


def test_lengths_of_time():
    assert [seconds(text) for text in ('5', '5s', '1.5', '30min', '2m', '1:30', '0:01.5')] == [
        5, 5, 1.5, 1800, 120, 90, 1.5]
    for text in ('', '5 x', '1:75', '-1', 'nan', 'inf', '0min'):
        with pytest.raises(argparse.ArgumentTypeError, match='not a time above 0'):
            seconds(text)


def test_all_verbs_have_this_parser():
    assert all(isinstance(parser, Parser) for parser in PARSERS.values())


@pytest.mark.parametrize(('line', 'code'), [
    ('restore none.mp4', 4), ('restore a.mp4 --weights none.pth', 5), ('restore {here} --audio none.wav', 4),
    ('evaluate none.mp4', 4), ('evaluate {here} --reference none', 4), ('bundle -opt none.yml -o b', 2),
    ('export onnx --weights none.pth', 5), ('web --weights none.pth', 5), ('train -opt none.yml', 2),
    ('test -opt none.yml', 2), ('train -opt options/train_vrt_car.yml --with none.yml', 2),
    ('prepare --videos a --out b --csv none.csv', 4)])
def test_a_missing_file_is_reported_before_pytorch_is_imported(line, code):
    words = line.format(here=__file__).split()
    script = (f'import sys; from gavn.cli.main import main; code = main({words!r}); '
              'assert "torch" not in sys.modules; sys.exit(code)')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    assert done.returncode == code and done.stderr.startswith('error: ') and 'none' in done.stderr


def test_an_unreadable_video_is_reported_before_pytorch_is_imported(tmp_path):
    """The networks were loaded first."""
    (tmp_path / 'letter.mp4').write_text('a letter')
    words = ['restore', f'{tmp_path}/letter.mp4']
    script = (f'import sys; from gavn.cli.main import main; code = main({words!r}); '
              'assert "torch" not in sys.modules; sys.exit(code)')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 4 and 'letter.mp4: no readable media file' in done.stderr and not done.stdout


@pytest.mark.parametrize('name', ['none.yml', 'a' * 5000, '~nobody/x.yml', '.', 'pipe.yml'])
def test_option_files_that_cannot_be_read(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo('pipe.yml')
    assert cli.main(['train', '-opt', name]) == 2
    assert f'cannot read the option file {name}' in capsys.readouterr().err


def test_names_that_prepare_repeats():
    assert {*prepare.ANNOTATORS} == {landmark_annotator.AUTO, *landmark_annotator.ANNOTATORS}
    assert {*prepare.STORES} == {*storage.STORES} and prepare.SIZE == geometry.CROP_SIZE


def test_exit_codes_of_errors():
    assert (code_of(UnreadableMedia()), code_of(MissingInput()), code_of(FileNotFoundError())) == (4, 4, 1)
    assert code_of(KeyError()) is None


def test_hints_to_install_an_extra_come_from_one_function():
    hint = re.compile(r'pip install [^\n]*gavn\[')
    assert not [path for path in PACKAGE.rglob('*.py') if hint.search(path.read_text(encoding='utf-8'))]


def test_notices_name_their_file():
    formatter = NoticeFormatter()

    def said(words: str) -> str:
        return formatter.format(logging.LogRecord('gavn', logging.WARNING, '', 0, words, (), None))

    with formatter.about(Path('in/a.mp4')):
        assert said('it is dark') == 'notice: in/a.mp4: it is dark'
        assert said('the audio of in/a.mp4 ends') == 'notice: the audio of in/a.mp4 ends'
    assert said('it is dark') == 'notice: it is dark'
    assert said('it is dark\nuse a lamp') == 'notice: it is dark\n  use a lamp'


def test_a_notice_about_a_file_is_shown_once(monkeypatch):
    """Each pass over a damaged file had the same notice."""
    monkeypatch.setattr(logging.getLogger(), 'handlers', [])
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    show_notices()
    log = logging.getLogger('gavn')
    for _ in range(2):
        with NOTICES.about('a.mp4'):
            for _ in range(3):
                log.warning('it is damaged')
    log.warning('outside')
    log.warning('outside')
    assert sys.stderr.getvalue() == 2 * 'notice: a.mp4: it is damaged\n' + 2 * 'notice: outside\n'


def test_notices_go_to_the_stderr_of_the_moment(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), 'handlers', [])
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    show_notices()
    sys.stderr.close()
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    logging.getLogger('gavn').warning('words')
    assert sys.stderr.getvalue() == 'notice: words\n'


def test_notices_stand_above_a_progress_bar(monkeypatch):
    """They continued the line of the bar."""
    monkeypatch.setattr(logging.getLogger(), 'handlers', [])
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    show_notices()
    with tqdm(desc='restoring', total=2):
        logging.getLogger('gavn').warning('words')
    before, _, after = sys.stderr.getvalue().partition('notice: words\n')
    assert 'restoring' in before and before.endswith(' \r') and 'restoring' in after
