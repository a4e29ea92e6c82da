"""`gavn restore`: restores the faces in videos or image folders."""
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

from gavn.cli.restore_jobs import BOTH, IMAGE_FOLDER, input_output_pairs, unfinished
from gavn.errors import ExitCode
from gavn.restoration.encoder_choices import CODECS, LARGEST_CRF, PIX_FMTS, PRESETS
from gavn.runtime.arguments import fraction, name_part, positive, seconds, whole
from gavn.runtime.executors import add_executor_arguments, add_task_arguments
from gavn.runtime.exit_codes import guarded
from gavn.runtime.file_names import beside, with_ending
from gavn.runtime.input_checks import check_inputs, check_weight_file
from gavn.runtime.notices import NOTICES

if TYPE_CHECKING:
    from fractions import Fraction

    from gavn.restoration.comparison_video import Form
    from gavn.restoration.progress import Progress
    from gavn.restoration.protocols import VideoRestorer
    from gavn.restoration.report import Report
    from gavn.restoration.restorer_spec import RestorerSpec
    from gavn.restoration.settings import Settings

TASKS = ('auto', 'compression', 'deblur', 'sr', 'mixed')
QUALITIES, FAST = ('best', 'fast'), 'fast'  # as in gavn.restoration.weight_selection, which is slow to import
_TRACEBACK = 'GAVN_TRACEBACK'  # environment variable
SCALES = ('2', '3', '4', '1080p')  # as in gavn.media.scale, which is slow to import
EXTENSIONS = ('auto', 'mp4', 'mkv', 'mov', IMAGE_FOLDER)
EPILOG = """\
Without -o the output is written beside the input: talk.mp4 becomes talk_gavn.mp4, or with --preview
talk_gavn_preview.mp4. The image folder frames becomes frames_gavn.mp4, or with --ext png the folder
frames_gavn. A report is written beside the output: talk_gavn.mp4.json. Rerun the same command to resume. With
several inputs, earlier outputs are not taken as inputs, and finished inputs are skipped.

In a folder that contains videos, the videos are restored and images are ignored. A folder that contains only
images is a video: the numbers in the names give the order of the frames.

exit codes: 0 done, 1 failed, 2 usage, 3 no face, 4 unreadable input, 5 unusable weights, 130 interrupted;
with several inputs the code of the first that fails.
Restored pixels are estimates, not evidence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EPILOG
    parser.add_argument('input', nargs='+',
                        help='videos, folders of videos, image folders, or patterns such as "talks/*.mp4"')
    parser.add_argument('-o', '--output', metavar='FILE_OR_FOLDER',
                        help='output file, or a folder: for several inputs, with --ext png, or with / at '
                             'its end')
    parser.add_argument('--suffix', type=name_part, default='gavn', metavar='WORD',
                        help='suffix of output names that are derived from input names')
    parser.add_argument('--ext', default='auto', choices=EXTENSIONS,
                        help='container of outputs without -o (auto: as the input, or mkv; mp4 for images); '
                             'png writes an image folder for an image folder')
    parser.add_argument('--fps', type=_rate, metavar='N',
                        help='frames per second, such as 25, 23.976 or 30000/1001: the rate of an image '
                             'folder (default 25), or resample a video by time (default: its own frames)')
    parser.add_argument('--audio', metavar='FILE', type=Path,
                        help='use the audio of this file in place of the video\'s own')
    _add_networks(parser)
    _add_selection(parser)
    _add_computation(parser)
    parser.add_argument('--compare', choices=['side', 'split'],
                        help='also write a comparison video: side by side, or left and right half')
    parser.add_argument('--force', action='store_true', help='replace existing outputs')
    parser.add_argument('--no-resume', action='store_true',
                        help='do not resume an interrupted run; with --executor: try failed videos again '
                             '(what is finished is kept)')
    parser.add_argument('--no-report', action='store_true', help='write no report')
    archives = parser.add_argument_group(
        'archives', 'With --executor the input is one folder, searched at any depth, or s3://BUCKET/FOLDER; '
        'so is -o.\nWithout --tasks there is at least one task per worker. See docs/scale.md.')
    add_task_arguments(archives)
    add_executor_arguments(archives, default=None)
    archives.add_argument('--piece-frames', type=whole(1), default=3000, metavar='N',
                          help='smallest piece of a long video, which several tasks share (default 3000)')
    parser.set_defaults(run=run)


def _add_networks(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that select the weights."""
    networks = parser.add_mutually_exclusive_group()
    networks.add_argument('--task', default='auto', choices=TASKS,
                          help='degradation of the faces (default auto: estimated and printed)')
    parser.add_argument('--quality', default='best', choices=QUALITIES,
                        help='best (default): the weights for the degradation found, or fast: those of '
                             '--task mixed for all, a network without alignment')
    parser.add_argument('--force-task', action='store_true',
                        help='use the weights of --task even if the faces have another degradation')
    networks.add_argument('--weights', metavar='FILE',
                          help='your own weights: restore_*.safetensors from a training, or from '
                               '`gavn bundle`')
    parser.add_argument('--import', dest='modules', nargs='+', default=[], metavar='MODULE',
                        help='modules that register your own network for --weights')


def _add_selection(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments about faces, size and strength."""
    parser.add_argument('--faces', default='all', metavar='WHICH',
                        help='all (default), largest (one at a time), or face numbers from the report: 0,2')
    parser.add_argument('--min-face', type=positive(), metavar='PIXELS',
                        help='height of the smallest face to restore (default: 32, more in large frames)')
    parser.add_argument('--box', type=_box, metavar='X,Y,W,H',
                        help='position of the face in all frames, in pixels; replaces face detection')
    parser.add_argument('--scale', choices=SCALES,
                        help='enlarge the video by a factor, or to fit into 1920x1080, and restore faces at '
                             'that size: for small and old videos')
    parser.add_argument('--preview', type=seconds, metavar='5s',
                        help='restore only the beginning (5s, 2min or 1:30) into NAME_gavn_preview')
    parser.add_argument('--strength', type=fraction(), default=1., metavar='X',
                        help='fraction of the change to apply, from 0 to 1 (default)')


def _add_computation(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments about computation and encoding."""
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, mps ...')
    parser.add_argument('--dtype', default='auto', choices=['auto', 'float32', 'bfloat16'],
                        help='precision (auto: bfloat16 for pretrained weights if the device has hardware '
                             'support, else float32)')
    parser.add_argument('--batch', type=whole(1), metavar='N',
                        help='windows per call of the network (default: 16 on a GPU, fewer if its memory is '
                             'too small, else 1)')
    parser.add_argument('--compile', action='store_true',
                        help='compile the networks (torch.compile; with CUDA graphs on a GPU): takes '
                             'minutes and does not help on a CPU')
    parser.add_argument('--codec', default='auto', choices=('auto', *CODECS),
                        help='video encoder (auto: libx265 for 10-bit HEVC, else libx264)')
    parser.add_argument('--pix-fmt', default='auto', choices=('auto', *PIX_FMTS),
                        help='pixel format (auto: as the input, up to 10 bits; yuv420p: 8-bit 4:2:0, for '
                             'all players)')
    parser.add_argument('--crf', type=whole(0, LARGEST_CRF), default=18, metavar='0..51',
                        help='encoder quality, lower is better (default 18)')
    parser.add_argument('--preset', default='medium', choices=PRESETS, metavar='NAME',
                        help=f'encoder speed: {", ".join(PRESETS)}')


def run(args: argparse.Namespace) -> int:
    """Restores every input. A failure does not stop the others. Returns the code of the first failure."""
    from gavn.media import VideoReader
    from gavn.restoration.output_path import check_output_path
    _check_quality(args)
    check_weight_file(args.weights)
    check_inputs([args.audio])
    if args.executor is not None:
        from gavn.cli.restore_archive import restore_archive
        return restore_archive(args, _restorer_spec(args), _settings(args))
    jobs = input_output_pairs(args)
    alone = len(jobs) == 1
    codes = [code for source, _ in jobs if (code := guarded(partial(check_inputs, [source])))]
    jobs = [(source, target) for source, target in jobs if source.exists()]
    if jobs and alone:
        check_output_path(*jobs[0], args.force, args.ext == IMAGE_FOLDER)
        VideoReader.from_path(jobs[0][0], args.fps, args.audio)  # loading the networks takes longer
    waiting = jobs if alone or args.force else unfinished(jobs)
    codes += _restore_all(waiting, args) if waiting else []
    if not alone:
        print(_summary(codes, len(jobs) - len(waiting)))
    return ExitCode.INTERRUPTED if ExitCode.INTERRUPTED in codes else next(filter(None, codes), 0)


def _check_quality(args: argparse.Namespace) -> None:
    """Raises TaskError for `--quality fast` with other weights or another task."""
    if args.quality == FAST and (args.weights or args.task not in ('auto', 'mixed')):
        from gavn.restoration.weight_selection import TaskError
        other = '--weights' if args.weights else f'--task {args.task}'
        raise TaskError(f'--quality {FAST} has the same weights for all degradations, so it excludes {other}',
                        'omit one of them')


def _summary(codes: Sequence[int], skipped: int) -> str:
    """Returns the numbers of finished, failed and skipped inputs."""
    done, stopped = codes.count(0), codes.count(ExitCode.INTERRUPTED)
    failed = len(codes) - done - stopped
    counts = [f'{count} {what}' for count, what in ((failed, 'failed'), (skipped, 'skipped')) if count]
    return ', '.join([f'{done} done', *counts, *['interrupted'] * stopped])


def _restore_all(jobs: Sequence[tuple[Path, Path]], args: argparse.Namespace) -> list[int]:
    """Restores inputs until one is interrupted; returns their exit codes."""
    restorer, settings = _networks(args), _settings(args)
    codes: list[int] = []
    with _sigterm_as_ctrl_c():
        for source, target in jobs:
            with NOTICES.about(source):
                job = partial(_restore, source, target, restorer, settings, args)
                codes.append(_guard_unexpected(job, source))
            if codes[-1] == ExitCode.INTERRUPTED:
                break
    return codes


def _settings(args: argparse.Namespace) -> Settings:
    """Returns the settings that the arguments ask for."""
    from gavn.restoration.settings import Settings
    return Settings(
        strength=args.strength, faces=args.faces, min_face=args.min_face, box=args.box, preview=args.preview,
        fps=args.fps, audio=args.audio, scale=args.scale, force_task=args.force_task,
        write_images=args.ext == IMAGE_FOLDER, crf=args.crf, preset=args.preset,
        codec=_none_if_auto(args.codec), pix_fmt=_none_if_auto(args.pix_fmt))


def _guard_unexpected(job: Callable[[], None], source: Path) -> int:
    """Runs the job of one input; reports any error, so that the next input is restored."""
    try:
        return guarded(job)
    except Exception as error:
        if os.environ.get(_TRACEBACK):
            traceback.print_exc()
        message = str(error).strip().replace('\n', '\n  ') or 'no details'
        print(f'error: {source}: {type(error).__name__}: {message}\n  this is a bug in gavn, please report '
              f'it ({_TRACEBACK}=1 shows the traceback)', file=sys.stderr)
        return ExitCode.FAILED


def _none_if_auto(choice: str) -> str | None:
    return None if choice == 'auto' else choice


def _restorer_spec(args: argparse.Namespace) -> RestorerSpec:
    """Returns which networks the arguments ask for."""
    from gavn.restoration.restorer_spec import RestorerSpec
    return RestorerSpec(args.task, args.quality, args.weights, tuple(args.modules), args.device, args.dtype,
                        args.batch, args.compile)


def _networks(args: argparse.Namespace) -> VideoRestorer:
    from gavn.restoration.restorer import Restorer
    from gavn.restoration.restorer_spec import load_restorer
    if args.compile:
        print('the networks are compiled at the first face; this takes minutes')
    restorer = load_restorer(_restorer_spec(args))
    if args.weights and isinstance(restorer, Restorer):
        print(f'weights {args.weights}, task {restorer.spec.task or "unknown"}, device {restorer.device}')
    else:
        print(f'task {args.task}, quality {args.quality}, device {restorer.device}')
    return restorer


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Handles SIGTERM like Ctrl-C, so that finished work is kept."""
    if threading.current_thread() is not threading.main_thread():  # only it can handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _restore(source: Path, target: Path, restorer: VideoRestorer, settings: Settings, args: argparse.Namespace
             ) -> None:
    from gavn.restoration.output_path import check_output_path
    from gavn.restoration.progress import ProgressBars
    from gavn.restoration.restore_video import restore_video
    notes = beside(target, '.json')
    both = (beside(target, f'{BOTH}.mp4') if settings.write_images
            else target.with_name(with_ending(target.stem, f'{BOTH}{target.suffix}')))
    for wanted, path in ((not args.no_report, notes), (args.compare, both)):
        if wanted:
            check_output_path(source, path, args.force)
    with ProgressBars() as bars:
        compare = partial(_compare, source, both, settings, args.compare, bars) if args.compare else None
        report = restore_video(source, target, restorer, settings, args.force, not args.no_resume, bars,
                               on_complete=compare)
    if not args.no_report:
        report.write(notes)
    print(summary(report))
    if args.compare:
        print(f'wrote {both}')


def _compare(source: Path, target: Path, settings: Settings, form: Form, progress: Progress, result: Path
             ) -> None:
    """Writes the comparison video `target` of the input and the complete result."""
    from gavn.media import VideoReader
    from gavn.restoration.comparison_video import before_and_after
    before = VideoReader.from_path(source, settings.fps, settings.audio).enlarged(settings.scale)
    before_and_after(before, VideoReader.from_path(result, settings.fps), target, form, progress)


def summary(report: Report) -> str:
    """Returns a summary for the terminal."""
    faces = f'{len(report.faces)} face{"s" * (len(report.faces) != 1)}'
    computed = report.frames_out - report.resumed
    rate = f', {computed / report.seconds:.1f} frames/s' if computed else ''
    again = f'{report.shown_again} duplicated, ' if report.shown_again else ''
    copied = ', video stream copied' if report.copied else ''
    dropped = f'{report.left_out} dropped, ' if report.left_out else ''
    counts = f'{report.frames_out} of {report.frames_in} frames'
    if again or dropped:
        counts = f'{report.frames_out} frames from {report.frames_in}'
    return (f'wrote {report.target}: {counts}, {again}{dropped}{faces}, {report.restored} restored, '
            f'{report.passed_through} unchanged{copied}, {report.seconds:.1f} s{rate}')


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
        raise argparse.ArgumentTypeError(f'{text!r} is not X,Y,W,H, four numbers in pixels') from None
    if not (width > 0 and height > 0):
        raise argparse.ArgumentTypeError(f'{text!r} has no width or height')
    return Box(x, y, x + width, y + height)
