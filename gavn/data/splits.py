"""Cutting long videos into clips, random choice of clips, and the list that reproduces a split."""
from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gavn.data.clip_store import SPLITS
from gavn.data.sources import ClipSource, checked
from gavn.media import MediaError, probe
from gavn.runtime.files import atomic_path

SHORTEST = 1.0  # seconds of a clip


def cut(sources: Iterable[ClipSource], seconds: float) -> list[ClipSource]:
    """Cuts videos into consecutive clips `<clip>/<%04d>`; the last one may be shorter, to `SHORTEST`.

    Unreadable files are not cut; a later step reports them.

    Raises:
        ValueError: `seconds` is less than `SHORTEST`.
    """
    if not seconds >= SHORTEST:
        raise ValueError(f'--cut {seconds:g}: clips must have at least {SHORTEST:g} second')
    return [piece for source in sources for piece in _pieces(source, seconds)]


def _pieces(source: ClipSource, seconds: float) -> list[ClipSource]:
    try:
        end = probe(source.path).duration if source.stop is None else source.stop
    except MediaError:
        return [source]
    starts = np.arange(source.start, end - SHORTEST, seconds).round(3).tolist()
    pieces = [replace(source, clip=f'{source.clip}/{number:04d}', start=start,
                      stop=round(min(start + seconds, end), 3)) for number, start in enumerate(starts)]
    return pieces or [source]


def draw_clips(sources: Sequence[ClipSource], counts: Sequence[int], seed: int = 0) -> list[ClipSource]:
    """Draws clips at random, as evenly from each speaker as possible.

    Raises:
        ValueError: there are fewer clips.
    """
    kept: list[ClipSource] = []
    for number, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        own = [source for source in sources if source.split == split]
        if count > len(own):
            raise ValueError(f'--clip-counts: {count} clips of {split} are wanted, but there are {len(own)}')
        order = _in_turns([source.speaker for source in own], [seed, number])
        kept += [own[i] for i in sorted(order[:count])]
    return kept


def _in_turns(speakers: Sequence[str], seed: Sequence[int]) -> list[int]:
    """All positions in random order, in which every speaker comes once before one comes twice."""
    turns: Counter[str] = Counter()
    round_of: dict[int, int] = {}
    for position in np.random.default_rng(seed).permutation(len(speakers)).tolist():
        round_of[position] = turns[speakers[position]]
        turns[speakers[position]] += 1
    return sorted(round_of, key=round_of.__getitem__)


def flat(sources: Iterable[ClipSource]) -> list[ClipSource]:
    """Replaces '/' in clip names by '_'. Raises ValueError for duplicate names."""
    renamed = [replace(source, clip=source.clip.replace('/', '_')) for source in sources]
    return checked(renamed, '--flat-ids', known_speakers=True)


def has_shared_speakers(sources: Iterable[ClipSource]) -> bool:
    """Whether a speaker is in several splits."""
    places = {(source.speaker, source.split) for source in sources}
    return len({speaker for speaker, _ in places}) < len(places)


def write_csv(sources: Sequence[ClipSource], videos: str | Path, out: str | Path) -> Path:
    """Writes OUT/splits.csv, from which `from_csv` reads the same clips and splits. Returns its path."""
    path = Path(out, 'splits.csv')
    with atomic_path(path) as part, part.open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(('file', 'speaker', 'split', 'clip', 'start', 'stop'))
        for source in sources:
            name = Path(os.path.relpath(source.path, videos)).as_posix()
            stop = '' if source.stop is None else source.stop
            table.writerow((name, source.speaker, source.split, source.clip, source.start, stop))
    return path
