"""`gavn restore`: videos, or folders of their frames, in; the same with better faces out."""
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
from gavn.utils.arguments import fraction, positive, seconds, whole
from gavn.utils.errors import check_inputs, check_weights
from gavn.utils.file_names import in_order, is_picture, is_video, pictures_in
from gavn.utils.notices import NOTICES

if TYPE_CHECKING:
    from fractions import Fraction

    from gavn.pipeline.automatic import Automatic
    from gavn.pipeline.report import Report
    from gavn.pipeline.restorer import Restorer
    from gavn.pipeline.settings import Settings

PRESETS = ('ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow', 'slower', 'veryslow')
CODECS = ('auto', 'libx264', 'libx265')
PIX_FMTS = ('auto', 'yuv420p')
KEPT = ('.mp4', '.mkv', '.mov')  # by `--ext auto`; all else becomes .mkv, which holds most
TASKS = ('auto', 'compression', 'deblur', 'sr', 'mixed')
_BOTH = '_compare'  # what the name of a video of before and after ends with
_PREVIEW = '_preview'  # and of the first seconds alone
_PICTURES = 'png'
SCALES = ('2', '3', '4', '1080p')  # as gavn.utils.media_scale has them, which takes long to import
EXTENSIONS = ('auto', 'mp4', 'mkv', 'mov', _PICTURES)
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
    from gavn.pipeline.target import check_target
    check_weights(args.weights)
    check_inputs([args.audio])
    jobs = plan(args)
    alone = len(jobs) == 1
    missing = [code for source, _ in jobs if (code := guarded(partial(check_inputs, [source])))]
    jobs = [(source, target) for source, target in jobs if source.exists()]
    if jobs and alone:
        check_target(*jobs[0], args.force, args.ext == _PICTURES)
    elif not args.force:
        jobs = _left_to_do(jobs)
    failure = _restore_all(jobs, args) if jobs else 0
    return missing[0] if missing and failure != INTERRUPTED else failure


def _restore_all(jobs: Sequence[tuple[Path, Path]], args: argparse.Namespace) -> int:
    from gavn.pipeline.settings import Settings
    restorer = _networks(args)
    settings = Settings(
        strength=args.strength, faces=args.faces, min_face=args.min_face, box=args.box, preview=args.preview,
        fps=args.fps, audio=args.audio, scale=args.scale, force_task=args.force_task,
        pictures=args.ext == _PICTURES, crf=args.crf, preset=args.preset, codec=_chosen(args.codec),
        pix_fmt=_chosen(args.pix_fmt))
    failure = 0
    with _stopped_alike():
        for source, target in jobs:
            with NOTICES.about(source):
                code = guarded(partial(_restore, source, target, restorer, settings, args))
            failure = failure or code
            if code == INTERRUPTED:
                return code
    return failure


def _chosen(choice: str) -> str | None:
    return None if choice == 'auto' else choice


def _networks(args: argparse.Namespace) -> Restorer | Automatic:
    from gavn.pipeline.automatic import Automatic
    from gavn.pipeline.restorer import Restorer, find_device
    from gavn.utils.compiling import quick_mode
    means = {'device': args.device, 'dtype': args.dtype, 'batch': args.batch}
    if args.compile:
        means['compile'] = quick_mode(find_device(args.device))
        print('the networks are compiled at the first face: minutes without a sign')
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
    if args.audio is not None and len(found) > 1:
        raise TargetError(f'one sound, {args.audio}, for {len(found)} inputs\nrestore them one by one')
    alone = args.output is not None and len(found) == 1
    if alone and args.ext == _PICTURES:
        return [(found[0], _folder_of_pictures(args.output))]
    folder = _folder(args.output, len(found))
    if alone and folder is None:
        return [(found[0], Path(args.output))]
    suffix = args.suffix if args.preview is None else args.suffix + _PREVIEW
    targets = [_named_after(source, folder, suffix, args.ext) for source in found]
    if twice := sorted({str(target) for target in targets if targets.count(target) > 1}):
        raise TargetError(f'several inputs would be written to {twice[0]}\n'
                          'restore them into folders of their own')
    return list(zip(found, targets, strict=True))


def _folder_of_pictures(output: str) -> Path:
    from gavn.pipeline.target import TargetError
    if output.lower().endswith(KEPT):
        raise TargetError(f"{output} is a video's name, but --ext png asks for a folder of pictures\n"
                          'leave one of them out')
    return Path(output)


def _without_own(found: Sequence[Path], suffix: str) -> list[Path]:
    """Leaves out what an earlier run made of others of them."""
    stems = {(path.parent, _stem(path)) for path in found}

    def own(path: Path) -> bool:
        made = _stem(path).removesuffix(_BOTH).removesuffix(_PREVIEW)
        stem = made.removesuffix(f'_{suffix}')
        return stem != made and (path.parent, stem) in stems

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


def _stem(path: Path) -> str:
    """The name without ending; a folder's has none."""
    return path.name if path.is_dir() else path.stem


def _named_after(source: Path, folder: Path | None, suffix: str, extension: str) -> Path:
    usual = '.mp4' if source.is_dir() else source.suffix if source.suffix.lower() in KEPT else '.mkv'
    ending = {'auto': usual, _PICTURES: ''}.get(extension, f'.{extension}')
    return (folder or source.parent) / f'{_stem(source)}_{suffix}{ending}'


def sources(inputs: Sequence[str]) -> list[Path]:
    """The videos and folders of pictures that are named, each once.

    Files are taken as they are, the videos in folders, what patterns fit. Raises TargetError for what is not
    there, NoVideo for single pictures.
    """
    from gavn.pipeline.target import TargetError
    from gavn.utils.media import NoVideo
    found: dict[Path, None] = {}
    for name in inputs:
        pattern = not Path(name).exists() and glob.has_magic(name)
        named = in_order(map(Path, glob.glob(name, recursive=True))) if pattern else [Path(name)]
        films = [film for path in named for film in (_in_folder(path) if path.is_dir() else [path])]
        if not films:
            raise TargetError(f'{name}: no videos there, and no pictures')
        if picture := next(filter(is_picture, films), None):
            raise NoVideo(f'{picture} is a picture, not a video\n'
                              f'to restore the frames of a video give their folder, {picture.parent}')
        found |= dict.fromkeys(films)
    return list(found)


def _in_folder(folder: Path) -> list[Path]:
    """The videos of a folder; where there are none but pictures, the folder itself."""
    videos = in_order(filter(is_video, folder.iterdir()))
    pictures = pictures_in(folder)
    if videos and pictures:
        print(f'{folder} holds videos beside pictures: the videos are restored; frames need a folder of '
              'their own')
    if videos or not pictures:
        return videos
    return [folder.resolve() if folder.name in ('', '..') else folder]  # outputs are called after it


def _restore(source: Path, target: Path, restorer: Restorer, settings: Settings, args: argparse.Namespace
             ) -> None:
    from gavn.pipeline.compare import before_and_after
    from gavn.pipeline.film import Film
    from gavn.pipeline.progress import Bars
    from gavn.pipeline.target import check_target
    from gavn.pipeline.video import restore_video
    notes = target.with_name(f'{target.name}.json')
    both = (target.with_name(f'{target.name}{_BOTH}.mp4') if settings.pictures
            else target.with_stem(f'{target.stem}{_BOTH}'))
    for wanted, path in ((not args.no_report, notes), (args.compare, both)):
        if wanted:
            check_target(source, path, args.force)
    with Bars() as bars:
        report = restore_video(source, target, restorer, settings, args.force, not args.no_resume, bars)
    if not args.no_report:
        report.write(notes)
    if args.compare:
        before = Film.of(source, settings.fps, settings.audio).enlarged(settings.scale)
        before_and_after(before, Film.of(target, settings.fps), both, args.compare)
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
    from gavn.utils.media import parse_rate
    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _box(text: str) -> object:
    from gavn.utils.faces import Box
    try:
        x, y, width, height = map(float, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not X,Y,W,H, four numbers of pixels') from None
    if not (width > 0 and height > 0):
        raise argparse.ArgumentTypeError(f'{text!r} has no width or height')
    return Box(x, y, x + width, y + height)
