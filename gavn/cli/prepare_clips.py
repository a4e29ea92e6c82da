"""Makes a data set folder from raw videos: runs the steps of gavn.data.preparation by datatrove's executors.

datatrove divides the clips into tasks, runs them on this machine or on a cluster and marks complete
ones. Rerun the same command to resume. Every step skips finished clips, so a killed run loses one step of one
clip per worker.
"""
from __future__ import annotations

import argparse
import hashlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Event, Thread

import cv2
import numpy as np
import torch
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from loguru import logger
from tqdm import tqdm

from gavn.data.clip_store import pack
from gavn.data.landmark_annotator import ANNOTATORS, AnnotatorError, FaceNotFoundError, choose_annotator
from gavn.data.preparation import Preparation, RejectedVideoError
from gavn.data.sources import ClipSource, from_csv, from_folder, voxceleb_splits
from gavn.data.splits import cut, draw_clips, flat, has_shared_speakers, write_csv
from gavn.errors import ExitCode, GavnError, MissingPackageError
from gavn.faces.detector import RetinaFace
from gavn.faces.tracker import NoFace, follow_main_face
from gavn.faces.tracks import Faces
from gavn.media import MediaError
from gavn.runtime.executors import MAX_TASKS, Executor, TaskStage

REJECTED = (MediaError, NoFace, FaceNotFoundError, RejectedVideoError)  # the message is the reason
ENVIRONMENT = (OSError, AnnotatorError, MissingPackageError)  # a full disk: the next video would fail too


class PrepareError(GavnError):
    """The arguments select no valid data set."""

    exit_code = ExitCode.USAGE


_annotator = lru_cache(maxsize=1)(lambda name: ANNOTATORS[name]())  # one per worker
_detector = lru_cache(maxsize=1)(lambda: RetinaFace(threads=1))


class ListClips(PipelineStep):
    """Yields a document for each video that is not rejected yet."""

    type, name = 'reader', 'videos'

    def __init__(self, preparation: Preparation, sources: Sequence[ClipSource], quiet: bool) -> None:
        super().__init__()
        self.preparation, self.sources, self.quiet = preparation, list(sources), quiet

    def run(self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1
            ) -> Iterator[Document]:
        """Yields every `world_size`-th video, starting at number `rank`."""
        cv2.setNumThreads(1)  # the tasks share the cores
        torch.set_num_threads(1)
        if self.quiet:
            logger.disable('datatrove')
        for source in self.sources[rank::world_size]:
            if self.preparation.records.read(source.clip).get('status') != 'failed':
                yield Document(text='', id=source.clip, metadata={'source': source})


def _track(images: Iterable[np.ndarray]) -> Faces:
    return follow_main_face(images, detect=_detector())


WORK: dict[str, Callable[[Preparation, ClipSource, str], None]] = {
    'crop': lambda preparation, source, _: preparation.crop(source, _track),
    'landmark': lambda preparation, source, name: preparation.annotate(source.clip, _annotator(name)),
    'mfcc': lambda preparation, source, _: preparation.extract_features(source.clip),
    'degrade': lambda preparation, source, _: preparation.degrade(source.clip, *preparation.degradations),
    'done': lambda preparation, source, _: preparation.records.update(
        source.clip, status='ok', split=source.split, speaker=source.speaker),
}
"""Name of a step -> what it does to a clip, with the name of the annotator."""


class ClipStep(PipelineStep):
    """Applies one step to each clip. An unusable video is reported and skipped by later steps.

    Unexpected errors are reported with a traceback. Errors of the machine (`ENVIRONMENT`) end the
    task, so that no good video is rejected.

    Args:
        name: of `WORK`; the step has no function of its own, so that it can be pickled.
        annotator: of landmarks.
    """

    type = 'clip'

    def __init__(self, preparation: Preparation, name: str, annotator: str = '') -> None:
        self.name = name
        super().__init__()
        self.preparation, self.annotator = preparation, annotator

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yields the clips that succeed."""
        for document in data:
            source = document.metadata['source']
            try:
                with self.track_time():
                    WORK[self.name](self.preparation, source, self.annotator)
            except REJECTED as error:
                self.preparation.reject(source, self.name, str(error))
            except ENVIRONMENT:
                raise
            except Exception as error:  # a damaged file may raise anything; other videos continue
                reason = f'{type(error).__name__}: {error}'
                self.preparation.reject(source, self.name, reason, traceback=traceback.format_exc())
            else:
                self.stat_update('done')
                yield document


class FinishDataset(PipelineStep):
    """Writes meta_info, statistics, report and LMDBs, in one task after all clips."""

    type, name = 'folder', 'finish'

    def __init__(self, preparation: Preparation, sources: Sequence[ClipSource], lmdb: bool, store: str | None
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


def prepare(preparation: Preparation, sources: Sequence[ClipSource], *, annotator: str, lmdb: bool = True,
            store: str | None = None, executor: Executor | None = None, tasks: int | None = None,
            retry: bool = False) -> None:
    """Runs every step for every video, then finishes the folder.

    Args:
        lmdb: also pack the layers into LMDBs.
        store: storage format of the frames, see `gavn.data.clip_store.pack`.
        executor: where the tasks run; None = one after the other on this machine.
        tasks: number of tasks. None: one per video, MAX_TASKS at most.
        retry: process failed videos again.

    Raises:
        RunError: tasks did not complete. A task on this machine raises its own errors.
    """
    if retry:
        for source in sources:
            if preparation.records.read(source.clip).get('status') == 'failed':
                preparation.records.forget(source.clip)
    executor = executor or Executor()
    quiet = not executor.returns_at_once
    steps = [ListClips(preparation, sources, quiet),
             *(ClipStep(preparation, name, annotator) for name in WORK)]
    tasks = min(len(sources), tasks or MAX_TASKS)
    logs = preparation.root.resolve() / '.prepare'
    logs /= f'logs_{_fingerprint(preparation, sources, annotator, tasks)}'
    with _shown(preparation, sources) if quiet else nullcontext():
        finish = FinishDataset(preparation, sources, lmdb, store)
        executor.run('prepare', [TaskStage('clips', steps, tasks, again=retry),
                                 TaskStage('finish', [finish], 1, again=True)], logs)


def _fingerprint(preparation: Preparation, sources: Sequence[ClipSource], annotator: str, tasks: int) -> str:
    """Identifies videos, options and number of tasks; completion markers are valid for the same ones only."""
    text = repr((replace(preparation, root=Path()), list(sources), annotator, tasks))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextmanager
def _shown(preparation: Preparation, sources: Sequence[ClipSource]) -> Iterator[None]:
    """Shows a progress bar of finished and rejected clips instead of datatrove's messages."""
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


def _sources(args: argparse.Namespace) -> list[ClipSource]:
    """Returns the clips that the command line selects."""
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


def prepare_folder(args: argparse.Namespace) -> dict[str, int]:
    """Prepares the data set that the arguments of `gavn prepare` describe.

    Returns:
        Number of clips by status; empty after a submission to Slurm.

    Raises:
        PrepareError, AnnotatorError, MissingPackageError: an argument is wrong; nothing is written.
        RunError: tasks did not complete.
    """
    try:
        sources = _sources(args)
        preparation = Preparation(Path(args.out), args.size, args.crop, tuple(args.degradations))
    except ValueError as error:
        raise PrepareError(str(error)) from error
    executor = Executor.from_arguments(args, args.workers)
    annotator = choose_annotator(args.annotator, args.download)
    listed = write_csv(sources, args.videos, args.out)
    again = f'--csv {listed}' + (' --known-speakers' if has_shared_speakers(sources) else '')
    print(f'{len(sources)} clips, landmarks by {annotator}; {again} makes the same splits again')
    prepare(preparation, sources, annotator=annotator, lmdb=not args.no_lmdb, store=args.store,
            executor=executor, tasks=args.tasks, retry=args.retry)
    return {} if executor.returns_at_once else preparation.summary(sources)
