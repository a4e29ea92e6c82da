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
from gavn.data.preparation import statistics
from gavn.experiments.synthetic.head import SIDE, identities, make_clip
from gavn.experiments.synthetic.people import still
from gavn.runtime.files import write_text

RECIPE = 'demo.json'  # settings of the folder; written last


@dataclass(frozen=True)
class _Clip:
    """Settings of one clip; `words` and `seed` separate the splits."""

    split: str
    identity: str
    number: int
    words: str
    seed: int

    @property
    def name(self) -> str:
        return f'{self.identity}/{self.split}{self.number}'


def write_demo_dataset(root: str | os.PathLike[str], degradations: Sequence[str], *, known: int | None = None,
                       train_clips: int = 3, val_clips: int = 3, test_clips: int = 3, seconds: float = 2.0,
                       workers: int | None = None) -> Path:
    """Creates a data set folder of talking heads, unless the folder has the same settings.

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
    layers = ['gt', *(degradation(name).layer for name in degradations)]
    clips = list(_plan(len(identities()) - 1 if known is None else known, train_clips, val_clips, test_clips))
    recipe = Path(root) / RECIPE
    made_from = {'seconds': seconds, 'clips': [clip.name for clip in clips], 'layers': layers,
                 'source': _source()}
    if recipe.is_file() and json.loads(recipe.read_text(encoding='utf-8')) == made_from:
        return Path(root)
    recipe.unlink(missing_ok=True)
    for person in sorted({clip.identity for clip in clips}):
        still(person)  # computed once, before the threads start
    writer = ClipWriter(root)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        mfccs = pool.map(lambda clip: _make(writer, clip, layers, seconds), clips)
        features = list(tqdm(mfccs, 'talking heads', len(clips), unit='clip'))
    _describe(writer, clips, features, round(seconds * FRAME_RATE))
    write_text(recipe, json.dumps(made_from) + '\n')
    return Path(root)


def _plan(known: int, train: int, val: int, test: int) -> Iterator[_Clip]:
    """Returns the clips of all splits, each with its own seed."""
    people = identities()
    if not 1 <= known < len(people):
        raise ValueError(f'known must be 1..{len(people) - 1}, as one identity stays unseen, not {known}')
    for person in people[:known]:
        yield from (_Clip('train', person, k, 'train', seed=k) for k in range(train))
    for k in range(val):
        yield _Clip('val', people[k % known], k, 'test', seed=1000 + k)
    for k in range(test):
        yield _Clip('test', people[(k + val) % known], k, 'test', seed=2000 + k)
    yield _Clip('test', people[-1], test, 'test', seed=2000 + test)


def _source() -> str:
    """Digest of the code of images and voice. Other code creates the folder anew."""
    files = sorted(Path(__file__).parent.glob('*.py'))
    return hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]


def _make(writer: ClipWriter, clip: _Clip, layers: Sequence[str], seconds: float) -> np.ndarray:
    """Writes the files of a clip; returns its MFCCs (f, 13)."""
    head = make_clip(clip.identity, clip.seed, seconds, clip.words)
    features = mfcc(head.audio).numpy()
    for layer, values in (('mfcc', features), ('landmarks', head.landmarks), ('audio', head.audio)):
        writer.array(layer, clip.name, values)
    for layer in layers:
        frames = list(head.frames)
        writer.frames(layer, clip.name, frames if layer == 'gt' else degrade(frames, layer, clip.name)[0])
    return features


def _describe(writer: ClipWriter, clips: Sequence[_Clip], features: Sequence[np.ndarray], count: int) -> None:
    """Writes stats.json of the training clips, and the lists of the splits."""
    writer.stats(statistics(mfccs for clip, mfccs in zip(clips, features, strict=True)
                            if clip.split == 'train'))
    for split in SPLITS:
        writer.meta(split, [ClipEntry(clip.name, count, (SIDE, SIDE, 3)) for clip in clips
                            if clip.split == split])
