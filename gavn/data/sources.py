"""Videos of a data set, with their speakers and splits."""
from __future__ import annotations

import csv
import fnmatch
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from gavn.data.clip_store import SPLITS, check_clip_id
from gavn.runtime.file_names import in_order, is_video

_COLUMNS = ('file', 'speaker', 'split')


@dataclass(frozen=True)
class ClipSource:
    """One clip of a video."""

    clip: str  # its name in the data set
    path: Path  # of the video
    speaker: str  # name of the speaker
    split: str  # train, val or test
    # start, stop: seconds from the first frame; `stop` None: the end of the video
    start: float = 0.0
    stop: float | None = None


def from_csv(videos: str | Path, table: str | Path, only: str = '*', known_speakers: bool = False
             ) -> list[ClipSource]:
    """Reads clips from a CSV file, for instance from one of `gavn.data.splits.write_csv`.

    Columns are file (relative to `videos`), speaker and split. A column `clip` names the clip; the default is
    the file name without suffix. Columns `start` and `stop` (seconds) select a part of the file. Files are
    not checked here.

    Args:
        only: pattern of files, 'studio/*' for instance.
        known_speakers: whether a speaker may be in several splits (the paper's second scenario).

    Raises:
        ValueError: the table is not UTF-8, a column is missing, a split or part is invalid, a clip name is
            not unique, or a speaker is in two splits.
    """
    with open(table, newline='', encoding='utf-8-sig') as file:  # Excel begins with a byte order mark
        reader = csv.DictReader(file)
        try:
            if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                raise ValueError(f'{table} has no column {", ".join(missing)}; '
                                 f'it needs {", ".join(_COLUMNS)}')
            rows = [row for row in reader if fnmatch.fnmatchcase(row['file'], only)]
        except UnicodeDecodeError:
            raise ValueError(f'{table} is not UTF-8; save it as "CSV UTF-8"') from None
    sources = [_parse_row(row, Path(videos), table) for row in rows]
    return checked(sources, f'{table} (files like {only!r})', known_speakers)


def _parse_row(row: Mapping[str, str | None], videos: Path, table: str | Path) -> ClipSource:
    file = str(row['file'])
    try:
        start, stop = (float(text) if (text := row.get(name)) else None for name in ('start', 'stop'))
    except ValueError as error:
        raise ValueError(f'{table}: start or stop of {file} is not a number of seconds') from error
    if not 0 <= (start or 0) < (math.inf if stop is None else stop):
        raise ValueError(f'{table}: {file} from {start or 0} to {stop} seconds is not a valid part of a '
                         'video')
    speaker, split = (str(row[name] or '') for name in ('speaker', 'split'))
    return ClipSource(row.get('clip') or Path(file).with_suffix('').as_posix(), videos / file, speaker, split,
                      start or 0.0, stop)


def from_folder(root: str | Path, counts: Sequence[int], seed: int = 0) -> list[ClipSource]:
    """Draws the splits at random from the videos of a folder, at any depth.

    The folder is the speaker, who may be in all splits: the paper's second scenario, (150, 5, 25) weekly
    addresses of one speaker.

    Raises:
        ValueError: there are fewer videos, or names are not unique.
    """
    paths = {path.relative_to(root).as_posix(): path for path in in_order(Path(root).rglob('*'))
             if is_video(path)}
    drawn = draw_splits(list(paths), counts, seed, f'videos of {root}')
    speaker = Path(root).absolute().name
    sources = [ClipSource(Path(name).with_suffix('').as_posix(), paths[name], speaker, split)
               for split, names in drawn.items() for name in names]
    return checked(sources, str(root), known_speakers=True)


def from_voxceleb(root: str | Path, splits: Mapping[str, Iterable[str]], clips_per_speaker: int | None = None,
                  seed: int = 0) -> list[ClipSource]:
    """Finds videos in VoxCeleb2's layout, `<...>/id00012/<video>/00001.mp4`, at any depth below `root`.

    Args:
        root: the folder, `dev/mp4` or one above it.
        splits: speakers of each split. Others are not used.
        clips_per_speaker: number of clips of each speaker, chosen at random; None: all.

    Raises:
        ValueError: a speaker is absent or in two splits.
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
            sources += [ClipSource(clip='/'.join(path.with_suffix('').parts[-3:]), path=path, speaker=speaker,
                                   split=split) for path in paths]
    return checked(sources, str(root))


def voxceleb_speakers(root: str | Path) -> dict[str, list[Path]]:
    """Maps speakers to videos, both sorted."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(Path(root).rglob('id*/*/*.mp4')):
        found[path.parts[-3]].append(path)
    return dict(sorted(found.items()))


def voxceleb_splits(root: str | Path, lists: Sequence[str | Path] | None, counts: Sequence[int],
                    clips_per_speaker: int | None = None, seed: int = 0) -> list[ClipSource]:
    """Splits VoxCeleb2's videos by three lists of speakers (text files, one per line), or at random."""
    if lists:
        splits = {split: Path(path).read_text(encoding='utf-8').split()
                  for split, path in zip(SPLITS, lists, strict=True)}
    else:
        if not (speakers := list(voxceleb_speakers(root))):
            raise ValueError(f'{root}: no videos in folders of VoxCeleb2, such as id00012/VIDEO/00001.mp4\n'
                             'give a table of your videos as --csv, or use --split-by video')
        splits = draw_splits(speakers, counts, seed)
    return from_voxceleb(root, splits, clips_per_speaker, seed)


def draw_splits(speakers: Sequence[str], counts: Sequence[int], seed: int = 0, what: str = 'speakers'
                ) -> dict[str, list[str]]:
    """Draws speakers of train, val and test at random. The paper has (200, 5, 20) of VoxCeleb2."""
    if sum(counts) > len(speakers):
        raise ValueError(f'{sum(counts)} {what} are wanted, but there are {len(speakers)}\n'
                         'give the numbers for train, val and test as --split-counts')
    order = [speakers[i] for i in np.random.default_rng(seed).permutation(len(speakers))]
    ends = np.cumsum([0, *counts])
    return {split: sorted(order[a:b]) for split, a, b in zip(SPLITS, ends[:-1], ends[1:], strict=True)}


def find_separate_audio(path: Path) -> Path | None:
    """VoxCeleb2's audio file `.../aac/...m4a` of a video `.../mp4/...mp4`; None if it does not exist."""
    *above, top, speaker, video, _ = ('', '', '', *path.parts)
    beside = Path(*above, 'aac', speaker, video, path.stem + '.m4a')
    return beside if top == 'mp4' and beside.is_file() else None


def checked(sources: list[ClipSource], where: str, known_speakers: bool = False) -> list[ClipSource]:
    """Returns the sources. Raises ValueError for missing or invalid names and a speaker in two splits."""
    if not sources:
        raise ValueError(f'{where}: no videos')
    split_of: dict[str, str] = {}
    clips: set[str] = set()
    for source in sources:
        if source.split not in SPLITS:
            raise ValueError(f'{where}: split {source.split!r} of {source.path} is not one of '
                             f'{", ".join(SPLITS)}')
        if split_of.setdefault(source.speaker, source.split) != source.split and not known_speakers:
            raise ValueError(f'{where}: speaker {source.speaker} is in {source.split} and '
                             f'{split_of[source.speaker]}; give each one split, or --known-speakers')
        check_clip_id(source.clip)
        if source.clip in clips:
            raise ValueError(f'{where}: two videos would have the name {source.clip}')
        clips.add(source.clip)
    for clip in clips:
        if above := clips.intersection(str(parent) for parent in PurePosixPath(clip).parents):
            raise ValueError(f'{where}: clip {clip} would lie inside the folder of clip {above.pop()}')
    return sources
