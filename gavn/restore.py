"""`gavn restore`: videos in, the same videos with better faces out."""
from __future__ import annotations

import argparse
import glob
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gavn.exit_codes import INTERRUPTED, guarded

if TYPE_CHECKING:
    from gavn.pipeline.automatic import Automatic
    from gavn.pipeline.report import Report
    from gavn.pipeline.restorer import Restorer
    from gavn.pipeline.settings import Settings

PRESETS = ('ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow', 'slower', 'veryslow')
CODECS = ('libx264', 'libx265')
VIDEOS = ('.mp4', '.mkv', '.mov', '.m4v', '.webm', '.avi', '.ts', '.mts', '.m2ts', '.mpg', '.mpeg', '.wmv',
          '.flv', '.3gp', '.ogv')
KEPT = ('.mp4', '.mkv', '.mov')  # by `--ext auto`; all else becomes .mkv, which holds most
TASKS = ('auto', 'compression', 'deblur', 'sr', 'mixed')
_BOTH = '_compare'  # what the name of a video of before and after ends with
EXTENSIONS = ('auto', 'mp4', 'mkv', 'mov')
EPILOG = """\
Without -o the output stands beside its input: talk.mp4 becomes talk_gavn.mp4. A report of what was found and
done stands beside that, talk_gavn.mp4.json. The same command goes on where an interrupted one stopped; of
several inputs it leaves out what it made itself, and what is restored already.

exit codes: 0 done, 1 failed, 2 usage, 3 no face, 4 unreadable input, 5 unusable weights, 130 interrupted; of
several inputs that fail the first one's.
Restored pixels are estimates, not evidence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EPILOG
    parser.add_argument('input', nargs='+',
                        help='videos, folders of videos, or patterns such as "talks/*.mp4"')
    parser.add_argument('-o', '--output', metavar='FILE_OR_FOLDER',
                        help='where to write; a folder where there are several inputs')
    parser.add_argument('--suffix', default='gavn', metavar='WORD',
                        help='of outputs that are named after their inputs')
    parser.add_argument('--ext', default='auto', choices=EXTENSIONS,
                        help='container of such outputs (auto: that of the input, or mkv)')
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
    networks.add_argument('--weights', metavar='FILE',
                          help='weights of your own, in place of those that come with gavn: '
                               'restore_*.safetensors of a training, or made by `gavn bundle`')


def _add_choices(parser: argparse.ArgumentParser) -> None:
    """What to restore, and how much."""
    parser.add_argument('--faces', default='all', metavar='WHICH',
                        help='all (default), largest (one at a time), or numbers of the report: 0,2')
    parser.add_argument('--min-face', type=_positive, metavar='PIXELS',
                        help='height of the smallest face to restore (default: 32, more in large pictures)')
    parser.add_argument('--box', type=_box, metavar='X,Y,W,H',
                        help='where the face is in all frames, in pixels; nothing is looked for')
    parser.add_argument('--preview', type=_seconds, metavar='5s', help='restore the first seconds alone')
    parser.add_argument('--strength', type=_fraction, default=1., metavar='X',
                        help='how much of the change to apply, from 0 to 1 (default)')


def _add_means(parser: argparse.ArgumentParser) -> None:
    """With what to compute and to encode."""
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1, mps ...')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16'])
    parser.add_argument('--batch', type=_whole, default=1, metavar='N',
                        help='windows at once (default 1); halved where the memory is too small')
    parser.add_argument('--codec', default='libx264', choices=CODECS, help='of the video (default libx264)')
    parser.add_argument('--crf', type=int, default=18, choices=range(52), metavar='0..51',
                        help='quality of the encoder, lower is better (default 18)')
    parser.add_argument('--preset', default='medium', choices=PRESETS, metavar='NAME',
                        help=f'speed of the encoder: {", ".join(PRESETS)}')


def run(args: argparse.Namespace) -> int:
    """Restores every input; one that fails is told, the others go on. Returns the first failure's code."""
    from gavn.pipeline.settings import Settings
    from gavn.pipeline.target import check_target
    jobs = plan(args)
    if len(jobs) == 1:
        check_target(*jobs[0], args.force)  # before weights are read
    elif not args.force:
        jobs = _left_to_do(jobs)
    restorer = _networks(args)
    settings = Settings(
        strength=args.strength, faces=args.faces, min_face=args.min_face, box=args.box, preview=args.preview,
        crf=args.crf, preset=args.preset, codec=args.codec)
    failure = 0
    with _stopped_alike():
        for source, target in jobs:
            code = guarded(partial(_restore, source, target, restorer, settings, args))
            failure = failure or code
            if code == INTERRUPTED:
                return code
    return failure


def _networks(args: argparse.Namespace) -> Restorer | Automatic:
    from gavn.pipeline.automatic import Automatic
    from gavn.pipeline.restorer import Restorer
    means = {'device': args.device, 'dtype': args.dtype, 'batch': args.batch}
    if args.weights:
        restorer = Restorer.load(args.weights, **means)
        print(f'weights {args.weights}, task {restorer.recipe.task or "unknown"}, device {restorer.device}')
        return restorer
    restorer = Automatic(**means) if args.task == 'auto' else Restorer.from_pretrained(args.task, **means)
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


def plan(args: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Inputs and outputs. Raises TargetError where outputs would meet, or inputs are none."""
    from gavn.pipeline.target import TargetError
    found = _without_own(sources(args.input), args.suffix)
    folder = _folder(args.output, len(found))
    if args.output is not None and folder is None:
        return [(found[0], Path(args.output))]
    targets = [_named_after(source, folder, args.suffix, args.ext) for source in found]
    if twice := sorted({str(target) for target in targets if targets.count(target) > 1}):
        raise TargetError(f'several inputs would be written to {twice[0]}\n'
                          'restore them into folders of their own')
    return list(zip(found, targets, strict=True))


def _without_own(found: Sequence[Path], suffix: str) -> list[Path]:
    """Leaves out what an earlier run made of others of them."""
    stems = {(path.parent, path.stem) for path in found}

    def own(path: Path) -> bool:
        stem = path.stem.removesuffix(_BOTH).removesuffix(f'_{suffix}')
        return stem != path.stem.removesuffix(_BOTH) and (path.parent, stem) in stems

    return [path for path in found if not own(path)]


def _left_to_do(jobs: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    for _, target in jobs:
        if target.exists():
            print(f'{target} is there already')
    return [(source, target) for source, target in jobs if not target.exists()]


def _folder(output: str | None, count: int) -> Path | None:
    """The folder that is to hold the outputs, made where several are asked for; None for a file's name."""
    from gavn.pipeline.target import TargetError
    if output is None:
        return None
    path = Path(output)
    if path.is_dir() or output.endswith('/') or count > 1:
        if path.exists() and not path.is_dir():
            raise TargetError(f'{path} is a file, but there are {count} inputs\ngive the name of a folder')
        path.mkdir(parents=True, exist_ok=True)
        return path
    return None


def _named_after(source: Path, folder: Path | None, suffix: str, extension: str) -> Path:
    kept = source.suffix.lower() in KEPT
    ending = f'.{extension}' if extension != 'auto' else source.suffix if kept else '.mkv'
    return (folder or source.parent) / f'{source.stem}_{suffix}{ending}'


def sources(inputs: Sequence[str]) -> list[Path]:
    """The videos that are named: files as they are, those in folders, those that patterns fit, each once."""
    from gavn.pipeline.target import TargetError
    found: dict[Path, None] = {}
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            videos = sorted(file for file in path.iterdir()
                            if file.suffix.lower() in VIDEOS and not file.name.startswith('.'))
        elif not path.exists() and glob.has_magic(name):
            videos = sorted(map(Path, glob.glob(name, recursive=True)))
        else:
            videos = [path]
        if not videos:
            raise TargetError(f'{name}: no videos there')
        found |= dict.fromkeys(videos)
    return list(found)


def _restore(source: Path, target: Path, restorer: Restorer, settings: Settings, args: argparse.Namespace
             ) -> None:
    from gavn.pipeline.compare import before_and_after
    from gavn.pipeline.progress import Bars
    from gavn.pipeline.target import check_target
    from gavn.pipeline.video import restore_video
    notes, both = target.with_name(f'{target.name}.json'), target.with_stem(f'{target.stem}{_BOTH}')
    for wanted, path in ((not args.no_report, notes), (args.compare, both)):
        if wanted:
            check_target(source, path, args.force)
    with Bars() as bars:
        report = restore_video(source, target, restorer, settings, args.force, not args.no_resume, bars)
    if not args.no_report:
        report.write(notes)
    if args.compare:
        before_and_after(source, target, both, args.compare)
    print(in_words(report))


def in_words(report: Report) -> str:
    """A line or two for the terminal."""
    faces = f'{len(report.faces)} face{"s" * (len(report.faces) != 1)}'
    computed = report.frames_out - report.resumed
    rate = f', {computed / report.seconds:.1f} frames a second' if computed else ''
    return (f'wrote {report.target}: {report.frames_out} of {report.frames_in} frames, {faces}, '
            f'{report.restored} restored, {report.passed_through} without a face, '
            f'{report.seconds:.1f} s{rate}')


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not between 0 and 1')
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text} is less than 1')
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return value


def _seconds(text: str) -> float:
    """`5`, `5s` or `1.5s`."""
    return _positive(text.removesuffix('s'))


def _box(text: str) -> object:
    from gavn.utils.faces import Box
    parts = text.split(',')
    if len(parts) != 4:
        raise argparse.ArgumentTypeError(f'{text} is not X,Y,W,H')
    x, y, width, height = map(float, parts)
    if width <= 0 or height <= 0:
        raise argparse.ArgumentTypeError(f'{text} has no width or height')
    return Box(x, y, x + width, y + height)
