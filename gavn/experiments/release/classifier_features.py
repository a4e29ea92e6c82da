"""Features of the samples of a data set, on which the degradation classifier is fitted."""
from __future__ import annotations

import csv
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from gavn.data.clip_store import ClipEntry, read_meta
from gavn.experiments.release.classifier_samples import make_samples, stored
from gavn.restoration.degradation import features_of


@dataclass(frozen=True, eq=False)
class SampleFeatures:
    """Features of one sample and its origin."""

    clip: str  # name of its clip
    name: str  # of the layer or the recipe
    kind: str | None  # true kind; None for a mixture between two kinds
    features: np.ndarray  # (f,), means over its crops


def collect_features(root: Path, split: str, count: int, seed: int, workers: int) -> list[SampleFeatures]:
    """Returns features of the stored samples of all clips of a split, and of those that are made.

    Args:
        root: a data set folder with all layers of `classifier_samples.LAYERS`.
        split: such as `train`.
        count: crops of a stored sample.
        seed: of the degradations.
        workers: processes.
    """
    entries = read_meta(root, split)
    with ProcessPoolExecutor(workers) as pool:
        clips = pool.map(partial(_features_of_clip, root, count, seed), entries)
        return [sample for clip in clips for sample in clip]


def _features_of_clip(root: Path, count: int, seed: int, entry: ClipEntry) -> list[SampleFeatures]:
    cv2.setNumThreads(1)
    samples = [*stored(root, entry, count), *make_samples(root, entry, seed)]
    return [SampleFeatures(entry.clip, sample.name, sample.kind, np.mean(
        [features_of(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)) for crop in sample.crops], axis=0))
        for sample in samples]


def read_speakers(root: Path) -> dict[str, str]:
    """Returns the speaker of each clip, from report.csv."""
    with open(root / 'report.csv', encoding='utf-8', newline='') as file:
        return {line['clip']: line['speaker'] for line in csv.DictReader(file)}
