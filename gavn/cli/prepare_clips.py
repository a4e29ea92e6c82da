"""Raw videos to a data set folder: the steps of gavn.data.preparation on datatrove's executors.

datatrove deals the clips out to tasks, runs them on this machine or on a Slurm cluster, marks those that are
complete and reruns the others when the same command is given again. Every step also skips what it finds done,
so that a killed run loses one step of one clip a worker.
"""
from __future__ import annotations

import argparse
import hashlib
import traceback
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import cv2
import torch
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger
from tqdm import tqdm

from gavn.data.clip_store import pack
from gavn.data.landmark_annotator import ANNOTATORS, AUTO, AnnotatorError, FaceNotFoundError, choose_annotator
from gavn.data.preparation import Preparation, RejectedVideoError
from gavn.data.sources import Source, from_csv, from_folder, voxceleb_splits
from gavn.data.splits import cut, draw_clips, flat, has_shared_speakers, write_csv
from gavn.data.storage import STORE_HELP, STORES
from gavn.faces.detector import RetinaFace
from gavn.faces.geometry import CROP_SIZE
from gavn.faces.tracker import NoFace, track_faces
from gavn.media import MediaError
from gavn.runtime.arguments import Parser, whole

REJECTED = (MediaError, NoFace, FaceNotFoundError, RejectedVideoError)  # reasons in words
OUTSIDE = (OSError, AnnotatorError)  # a full disk, missing weights: the next video would fail too

_teacher = lru_cache(maxsize=1)(lambda name: ANNOTATORS[name]())  # one for all clips of a worker
_detector = lru_cache(maxsize=1)(lambda: RetinaFace(threads=1))


class ListClips(PipelineStep):
    """Deals out the videos that are not rejected yet, one document each."""

    type, name = 'reader', 'videos'

    def __init__(self, preparation: Preparation, sources: Sequence[Source], quiet: bool) -> None:
        super().__init__()
        self.preparation, self.sources, self.quiet = preparation, list(sources), quiet

    def run(self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1
            ) -> Iterator[Document]:
        """Every `world_size`-th video from number `rank` on."""
        cv2.setNumThreads(1)  # tasks share the cores; threads within one would only get in each other's way
        torch.set_num_threads(1)
        if self.quiet:
            logger.disable('datatrove')
        for source in self.sources[rank::world_size]:
            if self.preparation.records.read(source.clip).get('status') != 'failed':
                yield Document(text='', id=source.clip, metadata={'source': source})


class ClipStep(PipelineStep):
    """One step for each clip; a video that it cannot use is reported and goes no further.

    An error that no sentence was written for is reported with its traceback. What is wrong with the machine
    and not with the video (OSError, AnnotatorError) ends the task, so that no good video counts as a bad one.
    """

    type = 'clip'

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        self.preparation = preparation

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Passes on the clips that succeed."""
        for document in data:
            source = document.metadata['source']
            try:
                with self.track_time():
                    self.apply(source)
            except REJECTED as error:
                self.preparation.reject(source, self.name, str(error))
            except OUTSIDE:
                raise
            except Exception as error:  # a broken file may set off anything; the other videos go on
                reason = f'{type(error).__name__}: {error}'
                self.preparation.reject(source, self.name, reason, traceback=traceback.format_exc())
            else:
                self.stat_update('done')
                yield document

    @abstractmethod
    def apply(self, source: Source) -> None:
        """The step itself."""


class Crop(ClipStep):
    """Frames at 25 a second, cropped to the face, and the sound on their clock."""

    name = 'crop'

    def apply(self, source: Source) -> None:
        """See Preparation.crop."""
        self.preparation.crop(source, partial(track_faces, detect=_detector()))


class Label(ClipStep):
    """The 68 points of the clean frames."""

    name = 'landmark'

    def __init__(self, preparation: Preparation, teacher: str) -> None:
        super().__init__(preparation)
        self.teacher = teacher

    def apply(self, source: Source) -> None:
        """See Preparation.label."""
        self.preparation.annotate(source.clip, _teacher(self.teacher))


class Listen(ClipStep):
    """The cepstra of the sound."""

    name = 'mfcc'

    def apply(self, source: Source) -> None:
        """See Preparation.listen."""
        self.preparation.extract_features(source.clip)


class Degrade(ClipStep):
    """The degraded layers."""

    name = 'degrade'

    def apply(self, source: Source) -> None:
        """See Preparation.damage."""
        self.preparation.degrade(source.clip, *self.preparation.degradations)


class Done(ClipStep):
    """Marks the clip as whole."""

    name = 'done'

    def apply(self, source: Source) -> None:
        """Sets its status."""
        self.preparation.records.update(source.clip, status='ok', split=source.split, speaker=source.speaker)


class Finish(PipelineStep):
    """After all clips, in one task: meta_info, statistics, report and LMDBs."""

    type, name = 'folder', 'finish'

    def __init__(self, preparation: Preparation, sources: Sequence[Source], lmdb: bool, store: str | None
                 ) -> None:
        super().__init__()
        self.preparation, self.sources, self.lmdb, self.store = preparation, list(sources), lmdb, store

    def run(self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1
            ) -> Iterator[Document]:
        """Yields nothing."""
        good = self.preparation.finish(self.sources)
        if self.lmdb and good:
            pack(self.preparation.root, self.preparation.layers(), self.store)
        yield from ()


def prepare(preparation: Preparation, sources: Sequence[Source], *, teacher: str, lmdb: bool = True,
            store: str | None = None, executor: str = 'local', tasks: int | None = None, workers: int = 1,
            retry: bool = False, slurm: dict[str, Any] | None = None) -> None:
    """Runs every step for every video, then finishes the folder.

    Args:
        preparation: what to make, and where.
        sources: the videos.
        teacher: a name of ANNOTATORS.
        lmdb: also pack the layers into LMDBs.
        store: the form of their frames, see `gavn.data.clip_store.pack`.
        executor: 'local', or 'slurm', which submits the jobs and returns.
        tasks: parts that the videos are dealt out to; None = one per video, 1000 at most.
        workers: tasks at once.
        retry: try failed videos again.
        slurm: further arguments of datatrove's SlurmPipelineExecutor (time, partition ...).
    """
    if retry:
        for source in sources:
            if preparation.records.read(source.clip).get('status') == 'failed':
                preparation.records.forget(source.clip)
    local = executor == 'local'
    steps = [ListClips(preparation, sources, quiet=local), Crop(preparation), Label(preparation, teacher),
             Listen(preparation), Degrade(preparation), Done(preparation)]
    tasks = min(len(sources), tasks or 1000)
    logs = preparation.root / '.prepare' / f'logs_{_fingerprint(preparation, sources, teacher, tasks)}'
    make = partial(LocalPipelineExecutor, start_method='spawn') if local else partial(
        SlurmPipelineExecutor, job_name='gavn_prepare', **(slurm or {}))
    clips = make(steps, tasks=tasks, workers=workers, logging_dir=str(logs / 'clips'),
                 skip_completed=not retry)
    last = make([Finish(preparation, sources, lmdb, store)], tasks=1, workers=1,
                logging_dir=str(logs / 'finish'), skip_completed=False, depends=clips)
    with _shown(preparation, sources) if local else nullcontext():
        last.run()


def _fingerprint(preparation: Preparation, sources: Sequence[Source], teacher: str, tasks: int) -> str:
    """Completion markers count for the same videos, options and division alone."""
    text = repr((replace(preparation, root=Path()), list(sources), teacher, tasks))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextmanager
def _shown(preparation: Preparation, sources: Sequence[Source]) -> Iterator[None]:
    """A bar of the clips that are done or rejected, by their records, in place of the engine's messages."""
    stop = Event()

    def watch() -> None:
        waiting = [source.clip for source in sources]
        with tqdm(total=len(waiting), unit='clip', desc='prepare') as bar:
            while waiting:
                left = [clip for clip in waiting if 'status' not in preparation.records.read(clip)]
                bar.update(len(waiting) - len(left))
                waiting = left
                if stop.wait(1):
                    return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    logger.disable('datatrove')
    try:
        yield
    finally:
        logger.enable('datatrove')
        stop.set()
        watcher.join()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `scripts/prepare/prepare.py`."""
    add = parser.add_argument
    add('--videos', required=True, metavar='DIR', help='folder of raw videos, or of VoxCeleb2\'s own layout')
    add('--out', required=True, metavar='ROOT', help='data set folder to make or to complete')
    add('--csv', metavar='FILE', help='table with the columns file, speaker, split; without it --videos is '
                                      'taken for VoxCeleb2')
    add('--only', default='*', metavar='PATTERN', help='with --csv: only files like this, e.g. "studio/*"')
    add('--known-speakers', action='store_true', help='with --csv: a speaker may stand in several splits')
    add('--speakers', nargs=3, metavar='TXT', help='VoxCeleb2: three lists of speakers, for train, val, test')
    add('--split-by', choices=('speaker', 'video'), default='speaker',
        help='without --csv: speaker takes --videos for VoxCeleb2, video draws splits from all its videos '
             '(the paper\'s second scenario: one speaker, other words)')
    add('--split-counts', nargs=3, type=whole(0), default=(200, 5, 20), metavar='N',
        help='speakers, or videos, to draw for train, val, test (default: the paper\'s 200 5 20 speakers; '
             'its second scenario has 150 5 25 videos)')
    add('--clip-counts', nargs=3, type=whole(0), metavar='N',
        help='draw so many clips for train, val, test, spread over speakers (the paper: 4860 297 894)')
    add('--cut', type=float, metavar='SECONDS', help='cut videos into clips of so many seconds')
    add('--flat-ids', action='store_true', help='clip names with _ in place of /')
    add('--clips-per-speaker', type=whole(1), metavar='N',
        help='VoxCeleb2: draw so many clips of each speaker')
    add('--seed', type=whole(0), default=0, help='of what is drawn')
    add('--degradations', nargs='*', default=['car', 'blur', 'sr'], metavar='NAME',
        help='layers to make: car, blur, sr, or one level such as car_crf35, blur_k21, sr_x4')
    add('--teacher', choices=[AUTO, *sorted(ANNOTATORS)], default=AUTO,
        help='who marks the 68 points (default: dlib where it is installed, else face-alignment)')
    add('--download', action='store_true',
        help='let face-alignment fetch its weights (about 177 MiB from its author)')
    add('--crop', choices=('auto', 'face', 'none'), default='auto',
        help='auto keeps videos that have the size of the crops as they are')
    add('--size', type=whole(1), default=CROP_SIZE, help='side of the crops in pixels')
    add('--no-lmdb', action='store_true', help='leave the layers as plain files')
    add('--store', choices=tuple(STORES), help=STORE_HELP)
    add('--retry', action='store_true', help='try again what failed before')
    add('--workers', type=whole(1), default=1, help='tasks at once')
    add('--tasks', type=whole(1), help='parts to deal the videos out to (default: one a video, 1000 at most)')
    add('--executor', choices=('local', 'slurm'), default='local', help='slurm submits jobs and returns')
    add('--slurm-time', default='12:00:00', help='time limit of a Slurm job')
    add('--slurm-partition', default='cpu', help='partition of the Slurm jobs')


def _sources(args: argparse.Namespace) -> list[Source]:
    """The clips that the command line asks for."""
    if args.csv:
        sources = from_csv(args.videos, args.csv, args.only, args.known_speakers)
    elif args.split_by == 'video':
        sources = from_folder(args.videos, args.split_counts, args.seed)
    else:
        sources = voxceleb_splits(args.videos, args.speakers, args.split_counts, args.clips_per_speaker,
                                  args.seed)
    if args.cut:
        sources = cut(sources, args.cut)
    if args.clip_counts:
        sources = draw_clips(sources, args.clip_counts, args.seed)
    return flat(sources) if args.flat_ids else sources


def run(args: argparse.Namespace) -> dict[str, int]:
    """Prepares as the command line says; returns clips by status (empty after a submission to Slurm).

    Raises ValueError, OSError or AnnotatorError before anything is done where the arguments do not hold.
    """
    sources = _sources(args)
    preparation = Preparation(Path(args.out), args.size, args.crop, tuple(args.degradations))
    local = args.executor == 'local'
    teacher = choose_annotator(args.teacher, args.download)
    listed = write_csv(sources, args.videos, args.out)
    again = f'--csv {listed}' + (' --known-speakers' if has_shared_speakers(sources) else '')
    print(f'{len(sources)} clips, landmarks by {teacher}; {again} makes the same splits again')
    slurm = {'time': args.slurm_time, 'partition': args.slurm_partition, 'mem_per_cpu_gb': 4}
    prepare(preparation, sources, teacher=teacher, lmdb=not args.no_lmdb, store=args.store,
            executor=args.executor, tasks=args.tasks, workers=args.workers, retry=args.retry, slurm=slurm)
    return preparation.summary(sources) if local else {}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser(description='Makes a data set folder of raw videos.',
                                     epilog='docs/data.md describes the folder and the steps.')
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        counts = run(args)
    except (ValueError, OSError, AnnotatorError) as error:
        parser.exit(2, f'error: {error}\n')
    for reason, count in counts.items():
        print(f'{count:6d}  {reason}')
    print(f'{args.out}/report.csv says what became of each video' if counts else 'submitted')
    return 0 if counts.get('ok') or args.executor == 'slurm' else 1
