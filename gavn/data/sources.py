"""Which videos become clips of a data set, of whom, and in which split."""
from __future__ import annotations

import csv
import fnmatch
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from gavn.data.clip_store import SPLITS, check_clip_id

_COLUMNS = ('file', 'speaker', 'split')


@dataclass(frozen=True)
class Source:
    """One video: `clip` is its name in the data set, `path` the file."""

    clip: str
    path: Path
    speaker: str
    split: str


def from_csv(videos: str | Path, table: str | Path, only: str = '*', known_speakers: bool = False
             ) -> list[Source]:
    """The videos that a CSV file lists: columns file (below the folder `videos`), speaker and split.

    `only` keeps the files that a pattern such as 'studio/*' matches. A clip is called as its file, less the
    ending. Raises ValueError for missing columns, an unknown split, two clips of one name, or a speaker in
    two splits, unless `known_speakers` (the paper's other scenario: one speaker, other words). Whether a file
    exists is seen when it is read.
    """
    with open(table, newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f'{table} has no column {", ".join(missing)}; it needs {", ".join(_COLUMNS)}')
        rows = [row for row in reader if fnmatch.fnmatchcase(row['file'], only)]
    sources = [Source(clip=Path(row['file']).with_suffix('').as_posix(), path=Path(videos, row['file']),
                      speaker=row['speaker'], split=row['split']) for row in rows]
    return _checked(sources, f'{table} (files like {only!r})', known_speakers)


def from_voxceleb(root: str | Path, splits: Mapping[str, Iterable[str]], clips_per_speaker: int | None = None,
                  seed: int = 0) -> list[Source]:
    """The videos of VoxCeleb2's own layout, `<...>/id00012/<video>/00001.mp4`, at any depth below `root`.

    Args:
        root: the folder, `dev/mp4` or one above it.
        splits: speakers of each split; others are left out.
        clips_per_speaker: so many of each speaker, chosen by `seed` and spread over the videos; None = all.
        seed: of the choice.

    Raises ValueError for a speaker that is not there or in two splits.
    """
    found = voxceleb_speakers(root)
    sources = []
    for split, speakers in splits.items():
        for speaker in speakers:
            if speaker not in found:
                raise ValueError(f'speaker {speaker} of split {split} has no videos below {root}')
            paths = found[speaker]
            if clips_per_speaker is not None:
                number = int(speaker.removeprefix('id')) if speaker.removeprefix('id').isdigit() else 0
                order = np.random.default_rng([seed, number]).permutation(len(paths))
                paths = sorted(paths[i] for i in order[:clips_per_speaker])
            sources += [Source(clip='/'.join(path.with_suffix('').parts[-3:]), path=path, speaker=speaker,
                               split=split) for path in paths]
    return _checked(sources, str(root))


def voxceleb_speakers(root: str | Path) -> dict[str, list[Path]]:
    """Speaker -> videos, both in order."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(Path(root).rglob('id*/*/*.mp4')):
        found[path.parts[-3]].append(path)
    return dict(sorted(found.items()))


def voxceleb_splits(root: str | Path, lists: Sequence[str | Path] | None, counts: Sequence[int],
                    clips_per_speaker: int | None = None, seed: int = 0) -> list[Source]:
    """VoxCeleb2's videos, split by three lists of speakers (text, one a line) or, without, by drawing."""
    if lists:
        splits = {split: Path(path).read_text(encoding='utf-8').split()
                  for split, path in zip(SPLITS, lists, strict=True)}
    else:
        splits = draw_splits(list(voxceleb_speakers(root)), counts, seed)
    return from_voxceleb(root, splits, clips_per_speaker, seed)


def draw_splits(speakers: Sequence[str], counts: Sequence[int], seed: int = 0) -> dict[str, list[str]]:
    """Speakers for train, val and test, drawn by `seed`; the paper has (200, 5, 20) of VoxCeleb2."""
    if sum(counts) > len(speakers):
        raise ValueError(f'{sum(counts)} speakers are asked for, {len(speakers)} are there')
    order = [speakers[i] for i in np.random.default_rng(seed).permutation(len(speakers))]
    ends = np.cumsum([0, *counts])
    return {split: sorted(order[a:b]) for split, a, b in zip(SPLITS, ends[:-1], ends[1:], strict=True)}


def sound_beside(path: Path) -> Path | None:
    """Where VoxCeleb2 keeps the sound of `.../mp4/...mp4`: `.../aac/...m4a`; None if it is not there."""
    *above, top, speaker, video, _ = ('', '', '', *path.parts)
    beside = Path(*above, 'aac', speaker, video, path.stem + '.m4a')
    return beside if top == 'mp4' and beside.is_file() else None


def _checked(sources: list[Source], where: str, known_speakers: bool = False) -> list[Source]:
    if not sources:
        raise ValueError(f'{where}: no videos')
    split_of: dict[str, str] = {}
    clips: set[str] = set()
    for source in sources:
        if source.split not in SPLITS:
            raise ValueError(f'{where}: split {source.split!r} of {source.path} is none of '
                             f'{", ".join(SPLITS)}')
        if split_of.setdefault(source.speaker, source.split) != source.split and not known_speakers:
            raise ValueError(f'{where}: speaker {source.speaker} is in {source.split} and '
                             f'{split_of[source.speaker]}; give each one split, or --known-speakers')
        check_clip_id(source.clip)
        if source.clip in clips:
            raise ValueError(f'{where}: two videos would be called {source.clip}')
        clips.add(source.clip)
    for clip in clips:
        if above := clips.intersection(str(parent) for parent in PurePosixPath(clip).parents):
            raise ValueError(f'{where}: clip {clip} would lie inside the folder of clip {above.pop()}')
    return sources
