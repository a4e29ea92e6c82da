"""Preparation of a data set folder: crop, annotate, extract audio features, degrade."""
from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from gavn.audio.mfcc import FRAME_RATE, SAMPLE_RATE, mfcc
from gavn.data.clip_store import SPLITS, ClipEntry, ClipStore, ClipWriter, layers_of, read_meta
from gavn.data.degradation import degradation, degrade
from gavn.data.landmark_annotator import LandmarkAnnotator, annotate_clip
from gavn.data.sources import ClipSource, find_separate_audio
from gavn.errors import GavnError
from gavn.faces.geometry import CROP_SIZE, crop
from gavn.faces.tracks import Faces
from gavn.media import probe, read_audio
from gavn.media.constant_rate import part_of
from gavn.runtime.files import atomic_path, write_text

MIN_FRAMES = FRAME_RATE  # shorter clips are rejected
MIN_CROP_SHARE = 0.5  # face crops narrower than this share of their size are rejected: they lack detail
_SAMPLES = SAMPLE_RATE // FRAME_RATE  # audio samples per frame

CropMode = Literal['auto', 'face', 'none']


class RejectedVideoError(GavnError):
    """A video cannot become a clip. The message says why."""


Tracker = Callable[[Iterable[np.ndarray]], Faces]
"""Finds the face of a video; see `follow_main_face`."""


class ClipRecords:
    """State of each clip in ROOT/.prepare/records/<clip>.json. `status` is set last."""

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root, '.prepare', 'records')

    def read(self, clip: str) -> dict[str, Any]:
        """The record of a clip; empty before its first step."""
        path = self._path(clip)
        record = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}
        if 'sound' in record:  # the name in records of version 0.1
            record['audio'] = record.pop('sound')
        return record

    def update(self, clip: str, **values: Any) -> None:
        """Adds values to a record."""
        record = self.read(clip) | values
        write_text(self._path(clip), json.dumps(record, indent=1) + '\n')

    def forget(self, clip: str) -> None:
        """Deletes a record."""
        self._path(clip).unlink(missing_ok=True)

    def _path(self, clip: str) -> Path:
        return self.folder / f'{clip}.json'


@dataclass(frozen=True)
class Preparation:
    """Steps of preparation. Each step skips existing results of the same part, size and mode."""

    root: Path  # the data set folder
    size: int = CROP_SIZE  # side of the crops in pixels
    # 'face' tracks and crops a face, 'none' resizes square frames to `size`, 'auto' is 'none' for videos that
    # have this size, as those of VoxCeleb2, and 'face' for others
    mode: CropMode = 'auto'
    degradations: tuple[str, ...] = ()  # names of degraded layers

    def __post_init__(self) -> None:
        for name in self.degradations:
            degradation(name)  # raises for an unknown name

    @property
    def writer(self) -> ClipWriter:
        """Writer of the folder."""
        return ClipWriter(self.root)

    @property
    def records(self) -> ClipRecords:
        """Records of the clips."""
        return ClipRecords(self.root)

    def layers(self) -> tuple[str, ...]:
        """All layers of the folder."""
        return 'gt', *(degradation(name).layer for name in self.degradations), 'mfcc', 'landmarks', 'audio'

    def crop(self, source: ClipSource, track: Tracker) -> None:
        """Writes frames at 25 per second and audio on the same clock (layers gt, audio).

        Raises:
            RejectedVideoError: the video is too short, its face too small, or its frames are not square.
            MediaError: the video cannot be read. `track` may raise its own errors.
        """
        asked = {'start': source.start, 'stop': source.stop, 'size': self.size, 'mode': self.mode}
        if self.writer.has('gt', source.clip):
            record = self.records.read(source.clip)
            if all(record.get(name, value) == value for name, value in asked.items()):
                return
            self._remove(source.clip)
            self.records.forget(source.clip)
        info, images = probe(source.path), partial(part_of, source.path, source.start, source.stop)
        keep = self.mode == 'none' or (self.mode == 'auto' and info.width == info.height == self.size)
        found = None if keep else track(images())
        frames = range(sum(1 for _ in images())) if found is None else found.faces[0].span
        if len(frames) < MIN_FRAMES:
            raise RejectedVideoError(f'only {len(frames)} frames with one face; {MIN_FRAMES} are needed')
        audio = _read_audio(source)
        self.records.update(
            source.clip, source=str(source.path), speaker=source.speaker, split=source.split,
            frame_rate=float(info.frame_rate), width=info.width, height=info.height, first_frame=frames.start,
            frames=len(frames), crop='none' if found is None else 'face', audio=audio is not None,
            **asked)
        self.writer.array('audio', source.clip, _cut_audio(audio, frames))
        cropped = (_square_frames(images(), self.size) if found is None
                   else _face_crops(images(), found, self.size))
        self.writer.frames('gt', source.clip, cropped)

    def annotate(self, clip: str, annotator: LandmarkAnnotator) -> None:
        """Writes the landmarks. Raises FaceNotFoundError."""
        if not self.writer.has('landmarks', clip):
            points, seen = annotate_clip(self.clean(clip), annotator)
            self.records.update(clip, landmarks_seen=round(seen, 4), annotator=type(annotator).__name__)
            self.writer.array('landmarks', clip, points)

    def extract_features(self, clip: str) -> None:
        """Writes the MFCC."""
        if not self.writer.has('mfcc', clip):
            self.writer.array('mfcc', clip, mfcc(ClipStore(self.root, 'audio', 'disk').array(clip)).numpy())

    def degrade(self, clip: str, *names: str) -> None:
        """Writes degraded layers. Clean frames are read once."""
        missing = [name for name in names if not self.writer.has(degradation(name).layer, clip)]
        clean = self.clean(clip) if missing else []
        for name in missing:
            images, done = degrade(clean, name, clip)
            self.records.update(clip, **{done['layer']: done})
            self.writer.frames(done['layer'], clip, images)

    def clean(self, clip: str) -> list[np.ndarray]:
        """The clean frames."""
        store = ClipStore(self.root, 'gt', 'disk')
        return store.frames(clip, range(self.length(clip)))

    def length(self, clip: str) -> int:
        """Number of written frames."""
        return sum(1 for _ in Path(self.root, 'gt', clip).glob('*.png'))

    def reject(self, source: ClipSource, step: str, reason: str, **details: Any) -> None:
        """Records why a video was rejected and removes its files."""
        self._remove(source.clip)
        self.records.update(source.clip, status='failed', step=step, reason=reason, source=str(source.path),
                            **details)

    def _remove(self, clip: str) -> None:
        """Removes a clip from all layers of the folder."""
        for layer in {*self.layers(), *layers_of(self.root)}:
            self.writer.remove(layer, clip)

    def finish(self, sources: Sequence[ClipSource]) -> int:
        """Writes meta_info, stats.json and report.csv. Returns the number of good clips."""
        good = [source for source in sources if self.records.read(source.clip).get('status') == 'ok']
        for split in SPLITS:
            entries = [self._entry(source.clip) for source in good if source.split == split]
            if entries:
                self.writer.meta(split, entries)
            else:
                self._forget_moved(split, {source.clip for source in sources})
        train = [source.clip for source in good if source.split == 'train']
        if train:
            mfccs = ClipStore(self.root, 'mfcc', 'disk')
            self.writer.stats(statistics(mfccs.array(clip) for clip in train) | {'clips': len(train)})
        self._report(sources)
        return len(good)

    def _forget_moved(self, split: str, clips: Collection[str]) -> None:
        """Removes clips from a split of an earlier preparation which this one does not fill."""
        path = self.root / f'meta_info_{split}.txt'
        if not path.is_file():
            return
        if kept := [entry for entry in read_meta(self.root, split) if entry.clip not in clips]:
            self.writer.meta(split, kept)
        else:
            path.unlink()

    def summary(self, sources: Sequence[ClipSource]) -> dict[str, int]:
        """Number of clips by result: 'ok', or step and reason."""
        records = (self.records.read(source.clip) for source in sources)
        return dict(Counter('ok' if record.get('status') == 'ok' else
                            f'{record.get("step", "?")}: {record.get("reason", "not finished")}'
                            for record in records).most_common())

    def _entry(self, clip: str) -> ClipEntry:
        height, width, channels = ClipStore(self.root, 'gt', 'disk').frame(clip, 0).shape
        return ClipEntry(clip, self.length(clip), (height, width, channels))

    def _report(self, sources: Sequence[ClipSource]) -> None:
        columns = ('status', 'step', 'reason', 'start', 'stop', 'frames', 'frame_rate', 'width', 'height',
                   'crop', 'audio', 'landmarks_seen')
        path = self.root / 'report.csv'
        with atomic_path(path) as part, part.open('w', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            table.writerow(('clip', 'split', 'speaker', 'source', *columns))
            for source in sources:
                record = self.records.read(source.clip)
                table.writerow((source.clip, source.split, source.speaker, source.path,
                                *(record.get(column, '') for column in columns)))


def statistics(features: Iterable[np.ndarray]) -> dict[str, Any]:
    """Mean and standard deviation of each MFCC coefficient over arrays (f, 13), in one pass."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for rows in features:
        rows = rows.astype(np.float64)
        count, total, squares = count + len(rows), total + rows.sum(0), squares + (rows**2).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
    return {'mfcc_mean': mean.tolist(), 'mfcc_std': deviation.tolist(), 'mfcc_columns': count}


def _read_audio(source: ClipSource) -> np.ndarray | None:
    """Audio from the clip's start on, of the video or of its separate file; None if there is none."""
    audio = read_audio(source.path, SAMPLE_RATE)
    separate = find_separate_audio(source.path) if audio is None else None
    audio = audio if separate is None else read_audio(separate, SAMPLE_RATE)
    return None if audio is None else audio[round(source.start * FRAME_RATE) * _SAMPLES:]


def _cut_audio(audio: np.ndarray | None, frames: range) -> np.ndarray:
    """Samples of a range of frames, padded with silence."""
    result = np.zeros(len(frames) * _SAMPLES, np.int16)
    if audio is not None:
        part = audio[frames.start * _SAMPLES:frames.stop * _SAMPLES]
        result[:len(part)] = part
    return result


def _face_crops(images: Iterator[np.ndarray], found: Faces, size: int) -> Iterator[np.ndarray]:
    [face] = found.faces
    regions = {index: found.region(face, index) for index in face.span}
    smallest = min(region.width for region in regions.values())
    if smallest < MIN_CROP_SHARE * size:
        raise RejectedVideoError(f'the face crop is {smallest:.0f} pixels wide, less than '
                                 f'{MIN_CROP_SHARE:g} of {size}')
    for index, image in enumerate(images):
        if index in regions:
            yield crop(image, regions[index], size)


def _square_frames(images: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    for image in images:
        height, width = image.shape[:2]
        if height != width:
            raise RejectedVideoError(f'frames of {width}x{height} are not square: crop them with --crop face')
        yield image if width == size else cv2.resize(
            image, (size, size), interpolation=cv2.INTER_AREA if width > size else cv2.INTER_CUBIC)
