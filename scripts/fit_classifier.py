"""Fits the degradation classifier of `gavn restore --task auto` on a prepared data set (see --help).

    python scripts/fit_classifier.py --data datasets/pretraining --out gavn/restoration/degradation.json

Trains on the training split, chooses thresholds on held-out speakers, and prints results of the validation
split. The same data give the same numbers.
"""
import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from gavn.data.clip_store import ClipEntry, read_meta
from gavn.experiments.release.classifier_fit import PRECISION, fit, held_out, raise_thresholds, thresholds
from gavn.experiments.release.classifier_samples import make_samples, stored
from gavn.restoration.degradation import KINDS, NUMBERS, DegradationClassifier, features_of


@dataclass(frozen=True, eq=False)
class Row:
    """Features of a sample, with what is known about it."""

    clip: str
    name: str
    kind: str | None
    features: np.ndarray


def main() -> None:
    """Reads the arguments, fits, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True, help='a prepared data set with mixed layers')
    parser.add_argument('--out', type=Path, default=NUMBERS, help='the numbers to write (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the degradations (%(default)s)')
    parser.add_argument('--workers', type=int, default=1, help='processes (%(default)s)')
    args = parser.parse_args()
    rows = {split: collected(args.data, split, count, args.seed, args.workers)
            for split, count in (('train', 4), ('val', 8))}
    model = fitted(rows['train'], speakers(args.data))
    model.write(args.out)
    for split, title in (('val', 'speakers that were not trained on'), ('train', 'speakers trained on')):
        print(f'\n{title}\n' + table(rows[split], DegradationClassifier.read(args.out)))


def collected(root: Path, split: str, count: int, seed: int, workers: int) -> list[Row]:
    """Samples of every clip of a split, stored (of `count` crops) and made."""
    entries = read_meta(root, split)
    with ProcessPoolExecutor(workers) as pool:
        clips = pool.map(partial(of_clip, root, count, seed), entries)
        return [row for clip in clips for row in clip]


def of_clip(root: Path, count: int, seed: int, entry: ClipEntry) -> list[Row]:
    """What `collected` is made of."""
    cv2.setNumThreads(1)
    samples = [*stored(root, entry, count), *make_samples(root, entry, seed)]
    return [Row(entry.clip, sample.name, sample.kind, np.mean(
        [features_of(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)) for crop in sample.crops], axis=0))
        for sample in samples]


def speakers(root: Path) -> dict[str, str]:
    """Who speaks in a clip."""
    with open(root / 'report.csv', encoding='utf-8', newline='') as file:
        return {line['clip']: line['speaker'] for line in csv.DictReader(file)}


def fitted(rows: Sequence[Row], speaker: dict[str, str]) -> DegradationClassifier:
    """The model, with thresholds chosen on speakers that were held out; prints how those are judged."""
    rows = [row for row in rows if row.kind]
    features, kinds = np.stack([row.features for row in rows]), [row.kind for row in rows]
    shares = held_out(features, kinds, [speaker[row.clip] for row in rows])
    model = replace(fit(features, kinds), enough=raise_thresholds(thresholds(shares, kinds, PRECISION)))
    print(f'{len(rows)} samples; believed from {model.enough} on; in turn held out of the fit:')
    print(confusion(kinds, [model.decide(share) for share in shares]))
    return model


def table(rows: Sequence[Row], model: DegradationClassifier) -> str:
    """What the model decides, by layer or recipe and true kind."""
    decided = [model.decide(share) for share in model.probabilities(np.stack([row.features for row in rows]))]
    return confusion([f'{row.name} ({row.kind or "between"})' for row in rows], decided)


def confusion(truth: Sequence[str], decided: Sequence[str]) -> str:
    """Rows of truths, columns of decisions."""
    counts = Counter(zip(truth, decided, strict=True))
    lines = [f'{"":28}' + ''.join(f'{kind:>13}' for kind in KINDS)]
    lines += [f'{name:28}' + ''.join(f'{counts[name, kind] or ".":>13}' for kind in KINDS)
              for name in dict.fromkeys(truth)]
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
