"""From one raw video to one clip of a data set folder: crop, label, listen, damage."""
from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from gavn.audio.mfcc import FRAME_RATE, SAMPLE_RATE, mfcc
from gavn.data.clip_store import SPLITS, ClipEntry, ClipStore, ClipWriter
from gavn.data.degradation import degradation, degrade
from gavn.data.landmark_annotator import Teacher, label_clip
from gavn.data.sources import Source, sound_beside
from gavn.errors import GavnError
from gavn.faces.geometry import CROP_SIZE, Box, crop
from gavn.media import probe, read_audio
from gavn.media.part import part_of
from gavn.runtime.files import atomic_path

MIN_FRAMES = FRAME_RATE  # shorter clips are rejected
MIN_ENLARGED = 0.5  # a crop enlarged from less than this part of its size is rejected: it has no detail
_SAMPLES = SAMPLE_RATE // FRAME_RATE  # a frame

CropMode = Literal['auto', 'face', 'none']


class Rejected(GavnError):  # noqa: N818  (says what happened to the clip)
    """A video that makes no clip; the message says why."""


class FaceTrack(Protocol):
    """What cropping asks of a face tracker's result."""

    longest: range

    def region(self, index: int) -> Box | None:
        """The square to crop from a frame."""


Tracker = Callable[[Iterable[np.ndarray]], FaceTrack]


class Records:
    """What became of each clip: ROOT/.prepare/records/<clip>.json, written whole. `status` is set last."""

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root, '.prepare', 'records')

    def read(self, clip: str) -> dict[str, Any]:
        """Everything known of a clip; empty before its first step."""
        path = self._path(clip)
        return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}

    def update(self, clip: str, **values: Any) -> None:
        """Adds to what is known."""
        record = self.read(clip) | values
        with atomic_path(self._path(clip)) as part:
            part.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')

    def forget(self, clip: str) -> None:
        """Begins anew."""
        self._path(clip).unlink(missing_ok=True)

    def _path(self, clip: str) -> Path:
        return self.folder / f'{clip}.json'


@dataclass(frozen=True)
class Preparation:
    """The steps, each of which skips what is there already; `root` is the data set folder.

    Attributes:
        root: the data set folder.
        size: side of the crops in pixels.
        mode: 'face' tracks and crops a face, 'none' keeps square frames as they are (at `size`), 'auto' takes
            'none' for videos that have the size of the crops, as VoxCeleb2's, and 'face' for others.
        degradations: names of layers to make.
    """

    root: Path
    size: int = CROP_SIZE
    mode: CropMode = 'auto'
    degradations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.degradations:
            degradation(name)  # raises for a name that does not exist

    @property
    def writer(self) -> ClipWriter:
        """The folder's writer."""
        return ClipWriter(self.root)

    @property
    def records(self) -> Records:
        """What became of each clip."""
        return Records(self.root)

    def layers(self) -> tuple[str, ...]:
        """Every layer of the finished folder, the sound itself left out."""
        return 'gt', *(degradation(name).layer for name in self.degradations), 'mfcc', 'landmarks', 'audio'

    def crop(self, source: Source, track: Tracker) -> None:
        """Writes the frames at 25 a second and the sound on the same clock (gt, audio).

        Raises Rejected, MediaError, or what `track` raises where there is no face.
        """
        if self.writer.has('gt', source.clip):
            return
        info, pictures = probe(source.path), partial(part_of, source.path, source.start, source.stop)
        keep = self.mode == 'none' or (self.mode == 'auto' and info.width == info.height == self.size)
        frames = range(sum(1 for _ in pictures())) if keep else None
        found = None if keep else track(pictures())
        frames = found.longest if found else frames
        if len(frames) < MIN_FRAMES:
            raise Rejected(f'only {len(frames)} frames with one face; {MIN_FRAMES} are needed')
        sound = _sound(source)
        self.records.update(
            source.clip, source=str(source.path), speaker=source.speaker, split=source.split,
            frame_rate=float(info.frame_rate), width=info.width, height=info.height, first_frame=frames.start,
            frames=len(frames), crop='none' if keep else 'face', sound=sound is not None,
            start=source.start, stop=source.stop)
        self.writer.array('audio', source.clip, _cut(sound, frames))
        cropped = _kept(pictures(), self.size) if keep else _cropped(pictures(), found, self.size)
        self.writer.frames('gt', source.clip, cropped)

    def label(self, clip: str, teacher: Teacher) -> None:
        """Writes the landmarks; raises FaceUnclear."""
        if not self.writer.has('landmarks', clip):
            points, seen = label_clip(self.clean(clip), teacher)
            self.records.update(clip, landmarks_seen=round(seen, 4), teacher=type(teacher).__name__)
            self.writer.array('landmarks', clip, points)

    def extract_features(self, clip: str) -> None:
        """Writes the cepstra."""
        if not self.writer.has('mfcc', clip):
            self.writer.array('mfcc', clip, mfcc(ClipStore(self.root, 'audio', 'disk').array(clip)).numpy())

    def damage(self, clip: str, *names: str) -> None:
        """Writes degraded layers; the clean frames are read once."""
        lacking = [name for name in names if not self.writer.has(degradation(name).layer, clip)]
        clean = self.clean(clip) if lacking else []
        for name in lacking:
            images, done = degrade(clean, name, clip)
            self.records.update(clip, **{done['layer']: done})
            self.writer.frames(done['layer'], clip, images)

    def clean(self, clip: str) -> list[np.ndarray]:
        """The clean frames."""
        store = ClipStore(self.root, 'gt', 'disk')
        return store.frames(clip, range(self.length(clip)))

    def length(self, clip: str) -> int:
        """Frames written."""
        return sum(1 for _ in Path(self.root, 'gt', clip).glob('*.png'))

    def reject(self, source: Source, step: str, reason: str, **details: Any) -> None:
        """Records why a video makes no clip, with any details, and removes what was written of it."""
        for layer in self.layers():
            self.writer.remove(layer, source.clip)
        self.records.update(source.clip, status='failed', step=step, reason=reason, source=str(source.path),
                            **details)

    def finish(self, sources: Sequence[Source]) -> int:
        """Writes meta_info, stats.json and report.csv of what there is; returns the number of good clips."""
        good = [source for source in sources if self.records.read(source.clip).get('status') == 'ok']
        for split in SPLITS:
            entries = [self._entry(source.clip) for source in good if source.split == split]
            if entries:
                self.writer.meta(split, entries)
        mfccs = ClipStore(self.root, 'mfcc', 'disk') if good else None
        train = [source.clip for source in good if source.split == 'train']
        if train:
            self.writer.stats(statistics(mfccs.array(clip) for clip in train) | {'clips': len(train)})
        self._report(sources)
        return len(good)

    def summary(self, sources: Sequence[Source]) -> dict[str, int]:
        """Clips by what became of them: 'ok', or step and reason."""
        records = (self.records.read(source.clip) for source in sources)
        return dict(Counter('ok' if record.get('status') == 'ok' else
                            f'{record.get("step", "?")}: {record.get("reason", "not finished")}'
                            for record in records).most_common())

    def _entry(self, clip: str) -> ClipEntry:
        height, width, channels = ClipStore(self.root, 'gt', 'disk').frame(clip, 0).shape
        return ClipEntry(clip, self.length(clip), (height, width, channels))

    def _report(self, sources: Sequence[Source]) -> None:
        columns = ('status', 'step', 'reason', 'start', 'stop', 'frames', 'frame_rate', 'width', 'height',
                   'crop', 'sound', 'landmarks_seen')
        path = self.root / 'report.csv'
        with atomic_path(path) as part, part.open('w', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            table.writerow(('clip', 'split', 'speaker', 'source', *columns))
            for source in sources:
                record = self.records.read(source.clip)
                table.writerow((source.clip, source.split, source.speaker, source.path,
                                *(record.get(column, '') for column in columns)))


def statistics(features: Iterable[np.ndarray]) -> dict[str, Any]:
    """Mean and standard deviation per coefficient of all rows of many (f, 13), in one pass."""
    count, total, squares = 0, 0.0, 0.0
    for rows in features:
        rows = rows.astype(np.float64)
        count, total, squares = count + len(rows), total + rows.sum(0), squares + (rows**2).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
    return {'mfcc_mean': mean.tolist(), 'mfcc_std': deviation.tolist(), 'mfcc_columns': count}


def _sound(source: Source) -> np.ndarray | None:
    """From the clip's start on, the video's own sound, else that beside it, else None."""
    sound = read_audio(source.path, SAMPLE_RATE)
    beside = sound_beside(source.path) if sound is None else None
    sound = sound if beside is None else read_audio(beside, SAMPLE_RATE)
    return None if sound is None else sound[round(source.start * FRAME_RATE) * _SAMPLES:]


def _cut(sound: np.ndarray | None, frames: range) -> np.ndarray:
    """The samples of a run of frames, completed with silence."""
    result = np.zeros(len(frames) * _SAMPLES, np.int16)
    if sound is not None:
        part = sound[frames.start * _SAMPLES:frames.stop * _SAMPLES]
        result[:len(part)] = part
    return result


def _cropped(images: Iterator[np.ndarray], track: FaceTrack, size: int) -> Iterator[np.ndarray]:
    smallest = min(track.region(index).width for index in track.longest)
    if smallest < MIN_ENLARGED * size:
        raise Rejected(f'the face crop is {smallest:.0f} pixels wide, less than {MIN_ENLARGED:g} of {size}')
    for index, image in enumerate(images):
        if index in track.longest:
            yield crop(image, track.region(index), size)


def _kept(images: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    for image in images:
        height, width = image.shape[:2]
        if height != width:
            raise Rejected(f'frames of {width}x{height} are not square: they want cropping (--crop face)')
        yield image if width == size else cv2.resize(
            image, (size, size), interpolation=cv2.INTER_AREA if width > size else cv2.INTER_CUBIC)
