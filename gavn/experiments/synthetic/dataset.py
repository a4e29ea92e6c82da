"""The demo's data set folder: synthetic talking heads, their voices, landmarks and degraded copies."""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gavn.audio.mfcc import FRAME_RATE, mfcc
from gavn.data.clip_store import SPLITS, ClipEntry, ClipWriter
from gavn.data.degradation import degradation, degrade
from gavn.experiments.synthetic.head import SIDE, identities, make_clip
from gavn.experiments.synthetic.paint import still
from gavn.runtime.files import write_text

RECIPE = 'demo.json'  # settings of the folder; written last


@dataclass(frozen=True)
class _Job:
    """Settings of one clip; `words` and `seed` separate the splits."""

    split: str
    identity: str
    number: int
    words: str
    seed: int

    @property
    def clip(self) -> str:
        return f'{self.identity}/{self.split}{self.number}'


def write_demo_dataset(root: str | os.PathLike[str], degradations: Sequence[str], *, known: int | None = None,
                       train_clips: int = 3, val_clips: int = 3, test_clips: int = 3, seconds: float = 2.0,
                       workers: int | None = None) -> Path:
    """Creates a data set folder of talking heads, or completes one with the same settings.

    Args:
        root: the folder. Content with other settings is replaced.
        degradations: names that `degradation` accepts: 'car', 'blur', 'sr_x4' ...; each becomes a layer.
        known: number of identities to train on. None: all but the last, which is for testing only.
        train_clips: training clips of each known identity.
        val_clips, test_clips: clips of known identities with other words than in training. The test split
            also has one clip of the unseen identity.
        seconds: length of every clip, rounded to whole frames.
        workers: threads. None: the number of cores.

    Returns:
        `root`. Clip ids are `<identity>/<split><number>`.

    Raises:
        ValueError: a degradation is unknown, or the number of identities is impossible.
    """
    layers = [degradation(name).layer for name in degradations]
    jobs = list(_plan(len(identities()) - 1 if known is None else known, train_clips, val_clips, test_clips))
    writer, recipe = ClipWriter(root), Path(root) / RECIPE
    made_from = {'seconds': seconds, 'clips': [job.clip for job in jobs], 'source': _source()}
    fresh = not recipe.is_file() or json.loads(recipe.read_text(encoding='utf-8')) != made_from
    if fresh:
        recipe.unlink(missing_ok=True)
    elif all(writer.has(layer, job.clip) for job in jobs for layer in layers):
        return Path(root)
    for person in sorted({job.identity for job in jobs}):
        still(person)  # computed once, before the threads start
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        mfccs = pool.map(lambda job: _make(writer, job, layers, seconds, fresh), jobs)
        features = list(tqdm(mfccs, 'talking heads', len(jobs), unit='clip'))
    _describe(writer, jobs, features, round(seconds * FRAME_RATE))
    write_text(recipe, json.dumps(made_from) + '\n')
    return Path(root)


def _plan(known: int, train: int, val: int, test: int) -> Iterator[_Job]:
    """Returns the clips of all splits, each with its own seed."""
    people = identities()
    if not 1 <= known < len(people):
        raise ValueError(f'known must be 1..{len(people) - 1}, as one identity stays unseen, not {known}')
    for person in people[:known]:
        yield from (_Job('train', person, k, 'train', seed=k) for k in range(train))
    for k in range(val):
        yield _Job('val', people[k % known], k, 'test', seed=1000 + k)
    for k in range(test):
        yield _Job('test', people[(k + val) % known], k, 'test', seed=2000 + k)
    yield _Job('test', people[-1], test, 'test', seed=2000 + test)


def _source() -> str:
    """Digest of the code of images and voice. Other code creates the folder anew."""
    files = sorted(Path(__file__).parent.glob('*.py'))
    return hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]


def _make(writer: ClipWriter, job: _Job, layers: Sequence[str], seconds: float, fresh: bool) -> np.ndarray:
    """Writes the missing files of a clip (all if `fresh`); returns its MFCCs (f, 13)."""
    clip = make_clip(job.identity, job.seed, seconds, job.words)
    features = mfcc(clip.audio).numpy()
    arrays = {'mfcc': features, 'landmarks': clip.landmarks, 'audio': clip.audio}
    for layer, values in arrays.items():
        if fresh or not writer.has(layer, job.clip):
            writer.array(layer, job.clip, values)
    for layer in ('gt', *layers):
        if fresh or not writer.has(layer, job.clip):
            images = list(clip.frames) if layer == 'gt' else degrade(list(clip.frames), layer, job.clip)[0]
            writer.frames(layer, job.clip, images)
    return features


def _describe(writer: ClipWriter, jobs: Sequence[_Job], features: Sequence[np.ndarray], count: int) -> None:
    """Writes stats.json of the training clips, and the lists of the splits."""
    mfccs = np.concatenate([mfcc for job, mfcc in zip(jobs, features, strict=True) if job.split == 'train'])
    mfccs = mfccs.astype(np.float64)
    writer.stats({'mfcc_mean': mfccs.mean(0).tolist(), 'mfcc_std': mfccs.std(0).tolist()})
    for split in SPLITS:
        clips = [job.clip for job in jobs if job.split == split]
        writer.meta(split, [ClipEntry(clip, count, (SIDE, SIDE, 3)) for clip in clips])
