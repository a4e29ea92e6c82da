"""`gavn restore`: videos, or folders of their frames, in; the same with better faces out."""
from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gavn.cli.restore_jobs import BOTH, IMAGE_ENDINGS, left_to_do, plan
from gavn.errors import check_inputs, check_weights
from gavn.runtime.arguments import fraction, positive, seconds, whole
from gavn.runtime.exit_codes import FAILED, INTERRUPTED, guarded
from gavn.runtime.file_names import beside, with_ending
from gavn.runtime.notices import NOTICES

if TYPE_CHECKING:
    from fractions import Fraction

    from gavn.restoration.auto_restorer import AutoRestorer
    from gavn.restoration.report import Report
    from gavn.restoration.restorer import Restorer
    from gavn.restoration.settings import Settings

PRESETS = ('ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow', 'slower', 'veryslow')
CODECS = ('auto', 'libx264', 'libx265')
PIX_FMTS = ('auto', 'yuv420p')
TASKS = ('auto', 'compression', 'deblur', 'sr', 'mixed')
_TRACEBACK = 'GAVN_TRACEBACK'  # variable of the environment
SCALES = ('2', '3', '4', '1080p')  # as gavn.media.scale has them, which takes long to import
EXTENSIONS = ('auto', 'mp4', 'mkv', 'mov', IMAGE_ENDINGS)
EPILOG = """\
Without -o the output stands beside its input: talk.mp4 becomes talk_gavn.mp4, with --preview
talk_gavn_preview.mp4, a folder of pictures frames
becomes frames_gavn.mp4, or with --ext png the folder frames_gavn. A report of what was found and done stands
beside that, talk_gavn.mp4.json. The same command goes on where an interrupted one stopped; of several inputs
it leaves out what it made itself, and what is restored already.

A folder that holds videos is a folder of videos, whatever pictures lie beside them. One with pictures alone
is a film: its frames in the order of their numbers.

exit codes: 0 done, 1 failed, 2 usage, 3 no face, 4 unreadable input, 5 unusable weights, 130 interrupted; of
several inputs that fail the first one's.
Restored pixels are estimates, not evidence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EPILOG
    parser.add_argument('input', nargs='+',
                        help='videos, folders of videos or of one video\'s frames, or patterns such as '
                             '"talks/*.mp4"')
    parser.add_argument('-o', '--output', metavar='FILE_OR_FOLDER',
                        help='where to write; a folder where there are several inputs, or with --ext png')
    parser.add_argument('--suffix', default='gavn', metavar='WORD',
                        help='of outputs that are named after their inputs')
    parser.add_argument('--ext', default='auto', choices=EXTENSIONS,
                        help='container of such outputs (auto: that of the input, or mkv; for frames mp4); '
                             'png makes a folder of PNGs of a folder of frames')
    parser.add_argument('--fps', type=_rate, metavar='N',
                        help='frames a second, as 25, 23.976 or 30000/1001: of a folder of frames (default '
                             '25); of a video, to repeat or leave out some (default: all at their own times)')
    parser.add_argument('--audio', metavar='FILE', type=Path,
                        help='hear, and copy, the sound of this file in place of the video\'s own')
    _add_networks(parser)
    _add_choices(parser)
    _add_means(parser)
    parser.add_argument('--compare', choices=['side', 'split'],
                        help='also write a video of before and after: beside each other, or half and half')
    parser.add_argument('--force', action='store_true', help='replace existing outputs')
    parser.add_argument('--no-resume', action='store_true',
                        help='begin anew where an interrupted run left something')
    parser.add_argument('--no-report', action='store_true', help='write no report')
    parser.set_defaults(run=run)


def _add_networks(parser: argparse.ArgumentParser) -> None:
    """Which networks restore."""
    networks = parser.add_mutually_exclusive_group()
    networks.add_argument('--task', default='auto', choices=TASKS,
                          help='what is wrong with the faces (auto, the default: found out, and said)')
    parser.add_argument('--force-task', action='store_true',
                        help='restore with the weights of --task although the faces are certainly damaged in '
                             'another way')
    networks.add_argument('--weights', metavar='FILE',
                          help='weights of your own, in place of those that come with gavn: '
                               'restore_*.safetensors of a training, or made by `gavn bundle`')
    parser.add_argument('--import', dest='modules', nargs='+', default=[], metavar='MODULE',
                        help='with --weights of a network of your own: the module that registers it')


def _add_choices(parser: argparse.ArgumentParser) -> None:
    """What to restore, and how much."""
    parser.add_argument('--faces', default='all', metavar='WHICH',
                        help='all (default), largest (one at a time), or numbers of the report: 0,2')
    parser.add_argument('--min-face', type=positive(), metavar='PIXELS',
                        help='height of the smallest face to restore (default: 32, more in large pictures)')
    parser.add_argument('--box', type=_box, metavar='X,Y,W,H',
                        help='where the face is in all frames, in pixels; nothing is looked for')
    parser.add_argument('--scale', choices=SCALES,
                        help='enlarge the whole picture so many times, or to fit into 1920x1080, and restore '
                             'faces at that size: for small and old videos')
    parser.add_argument('--preview', type=seconds, metavar='5s',
                        help='restore the beginning alone, 5s, 2min or 1:30, into NAME_gavn_preview')
    parser.add_argument('--strength', type=fraction(), default=1., metavar='X',
                        help='how much of the change to apply, from 0 to 1 (default)')


def _add_means(parser: argparse.ArgumentParser) -> None:
    """With what to compute and to encode."""
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, mps ...')
    parser.add_argument('--dtype', default='auto', choices=['auto', 'float32', 'bfloat16'],
                        help='of the computation (auto: bfloat16 for the weights that come with gavn where '
                             'the device is quick at it, else float32)')
    parser.add_argument('--batch', type=whole(1), metavar='N',
                        help='windows in a call of networks (default: 16 on a GPU, fewer where its memory '
                             'is too small, else 1)')
    parser.add_argument('--compile', action='store_true',
                        help='compile the networks first (torch.compile; on a GPU with CUDA graphs): takes '
                             'minutes, for long films; a CPU is not quicker for it')
    parser.add_argument('--codec', default='auto', choices=CODECS,
                        help='of the video (auto: libx265 for HEVC of ten bits, else libx264)')
    parser.add_argument('--pix-fmt', default='auto', choices=PIX_FMTS,
                        help='of the video\'s frames (auto: as the source, up to ten bits; yuv420p: 4:2:0 of '
                             'eight bits, which all players and phones take)')
    parser.add_argument('--crf', type=whole(0, 51), default=18, metavar='0..51',
                        help='quality of the encoder, lower is better (default 18)')
    parser.add_argument('--preset', default='medium', choices=PRESETS, metavar='NAME',
                        help=f'speed of the encoder: {", ".join(PRESETS)}')


def run(args: argparse.Namespace) -> int:
    """Restores every input; one that fails is told, the others go on. Returns the first failure's code."""
    from gavn.restoration.output_path import check_target
    check_weights(args.weights)
    check_inputs([args.audio])
    jobs = plan(args)
    alone = len(jobs) == 1
    codes = [code for source, _ in jobs if (code := guarded(partial(check_inputs, [source])))]
    jobs = [(source, target) for source, target in jobs if source.exists()]
    if jobs and alone:
        check_target(*jobs[0], args.force, args.ext == IMAGE_ENDINGS)
    elif not args.force:
        jobs = left_to_do(jobs)
    codes += _restore_all(jobs, args) if jobs else []
    if not alone:
        print(_summary(codes))
    return INTERRUPTED if INTERRUPTED in codes else next(filter(None, codes), 0)


def _summary(codes: Sequence[int]) -> str:
    """How many inputs ended how."""
    done, stopped = codes.count(0), codes.count(INTERRUPTED)
    failed = len(codes) - done - stopped
    return f'{done} done' + f', {failed} failed' * (failed > 0) + ', interrupted' * stopped


def _restore_all(jobs: Sequence[tuple[Path, Path]], args: argparse.Namespace) -> list[int]:
    """The exit codes of the jobs, up to the one that was interrupted."""
    from gavn.restoration.settings import Settings
    restorer = _networks(args)
    settings = Settings(
        strength=args.strength, faces=args.faces, min_face=args.min_face, box=args.box, preview=args.preview,
        fps=args.fps, audio=args.audio, scale=args.scale, force_task=args.force_task,
        pictures=args.ext == IMAGE_ENDINGS, crf=args.crf, preset=args.preset, codec=_chosen(args.codec),
        pix_fmt=_chosen(args.pix_fmt))
    codes: list[int] = []
    with _stopped_alike():
        for source, target in jobs:
            with NOTICES.about(source):
                job = partial(_restore, source, target, restorer, settings, args)
                codes.append(_at_the_door(job, source))
            if codes[-1] == INTERRUPTED:
                break
    return codes


def _at_the_door(job: Callable[[], None], source: Path) -> int:
    """Runs the job of one input; a failure of any kind is told, so that the next input goes on."""
    try:
        return guarded(job)
    except Exception as error:
        if os.environ.get(_TRACEBACK):
            traceback.print_exc()
        words = str(error).strip().replace('\n', '\n  ') or 'no more is known'
        print(f'error: {source}: {type(error).__name__}: {words}\n  this is a defect of gavn, please report '
              f'it ({_TRACEBACK}=1 shows where it happened)', file=sys.stderr)
        return FAILED


def _chosen(choice: str) -> str | None:
    return None if choice == 'auto' else choice


def _networks(args: argparse.Namespace) -> Restorer | AutoRestorer:
    from gavn.restoration.auto_restorer import AutoRestorer
    from gavn.restoration.model_spec import import_modules
    from gavn.restoration.restorer import Restorer, find_device
    from gavn.runtime.compilation import quick_mode
    import_modules(args.modules)
    means = {'device': args.device, 'dtype': args.dtype, 'batch': args.batch}
    if args.compile:
        means['compile'] = quick_mode(find_device(args.device))
        print('the networks are compiled at the first face: minutes without a sign')
    if args.weights:
        restorer = Restorer.load(args.weights, **means)
        print(f'weights {args.weights}, task {restorer.recipe.task or "unknown"}, device {restorer.device}')
        return restorer
    restorer = AutoRestorer(**means) if args.task == 'auto' else Restorer.from_pretrained(args.task, **means)
    print(f'task {args.task}, device {restorer.device}')
    return restorer


@contextmanager
def _stopped_alike() -> Iterator[None]:
    """SIGTERM does as Ctrl-C: what is done is kept."""
    if threading.current_thread() is not threading.main_thread():  # which alone may listen to signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _restore(source: Path, target: Path, restorer: Restorer, settings: Settings, args: argparse.Namespace
             ) -> None:
    from gavn.restoration.comparison_video import before_and_after
    from gavn.restoration.output_path import check_target
    from gavn.restoration.progress import ProgressBars
    from gavn.restoration.restore_video import restore_video
    from gavn.restoration.video_source import VideoSource
    notes = beside(target, '.json')
    both = (beside(target, f'{BOTH}.mp4') if settings.pictures
            else target.with_name(with_ending(target.stem, f'{BOTH}{target.suffix}')))
    for wanted, path in ((not args.no_report, notes), (args.compare, both)):
        if wanted:
            check_target(source, path, args.force)
    with ProgressBars() as bars:
        report = restore_video(source, target, restorer, settings, args.force, not args.no_resume, bars)
    if not args.no_report:
        report.write(notes)
    if args.compare:
        before = VideoSource.of(source, settings.fps, settings.audio).enlarged(settings.scale)
        before_and_after(before, VideoSource.of(target, settings.fps), both, args.compare)
    print(in_words(report))


def in_words(report: Report) -> str:
    """A line or two for the terminal."""
    faces = f'{len(report.faces)} face{"s" * (len(report.faces) != 1)}'
    computed = report.frames_out - report.resumed
    rate = f', {computed / report.seconds:.1f} frames a second' if computed else ''
    again = f'{report.shown_again} shown again, ' if report.shown_again else ''
    copied = ', the video copied as it is' if report.copied else ''
    without = f'{report.left_out} left out, ' if report.left_out else ''
    return (f'wrote {report.target}: {report.frames_out} of {report.frames_in} frames, {again}{without}'
            f'{faces}, {report.restored} restored, {report.passed_through} as they were{copied}, '
            f'{report.seconds:.1f} s{rate}')


def _rate(text: str) -> Fraction:
    from gavn.media import parse_rate
    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _box(text: str) -> object:
    from gavn.faces.geometry import Box
    try:
        x, y, width, height = map(float, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not X,Y,W,H, four numbers of pixels') from None
    if not (width > 0 and height > 0):
        raise argparse.ArgumentTypeError(f'{text!r} has no width or height')
    return Box(x, y, x + width, y + height)
