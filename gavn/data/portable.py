"""A whole data set in one small file, for machines that take little in and have many cores.

The file is a zip archive: the lists of clips, the statistics of the MFCC, and for each clip its clean frames
as HEVC (4:4:4), its MFCC in float16 and its landmarks in eighths of a pixel. Audio samples and degraded
layers are left out; layers are made again when the file is read.
"""
from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import lmdb
import numpy as np

from gavn.audio.mfcc import FRAME_RATE, MFCC_PER_FRAME, WINDOW_COLUMNS
from gavn.data.clip_store import ClipEntry, ClipStore, ClipWriter, frame_name, read_meta
from gavn.data.degradation import degradation, degrade
from gavn.data.storage import STORES
from gavn.errors import DataError
from gavn.media import VideoWriter, read_frames
from gavn.runtime.files import atomic_path

CRF = 17
_STEPS = 8  # of a pixel: landmarks
_STATS = 'stats.json'
_BYTES = 1.1  # of an LMDB against its frames


@dataclass(frozen=True)
class PackedClip:
    """A clip as it is packed: its members by name, and the PSNR of its frames in dB."""

    entry: ClipEntry
    members: Mapping[str, bytes]
    psnr: float


def pack_data_set(root: str | Path, target: str | Path, frames: Mapping[str, int | None], crf: float = CRF,
                  workers: int = 1) -> list[PackedClip]:
    """Writes the clips of a data set folder into one file.

    Args:
        frames: splits, and how many frames of each of their clips (None: all), from the first.
        crf: x265's constant rate factor.

    Returns what was packed, for its sizes and PSNR.
    """
    with _pool(workers) as pool, atomic_path(Path(target)) as part, zipfile.ZipFile(part, 'w') as archive:
        packed = []
        for split, limit in frames.items():
            entries = [replace(entry, n_frames=min(entry.n_frames, limit or entry.n_frames))
                       for entry in read_meta(root, split)]
            archive.writestr(f'meta_info_{split}.txt', ''.join(f'{entry}\n' for entry in entries))
            for clip in pool.map(_packed, [root] * len(entries), entries, [crf] * len(entries)):
                for name, content in clip.members.items():
                    archive.writestr(name, content, zipfile.ZIP_STORED if name.endswith('.mp4')
                                     else zipfile.ZIP_LZMA)
                packed.append(clip)
        archive.write(Path(root, _STATS), _STATS)
    return packed


def _packed(root: str | Path, entry: ClipEntry, crf: float) -> PackedClip:
    images = ClipStore(root, 'gt').frames(entry.clip, range(entry.n_frames))
    height, width, _ = entry.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'gt.mp4')
        with VideoWriter(path, width, height, FRAME_RATE, crf=crf, preset='medium', codec='libx265',
                         pix_fmt='yuv444p') as writer:
            for image in images:
                writer.write(image)
        errors = [_error(*pair) for pair in zip(images, _decoded(path), strict=True)]
        video = path.read_bytes()
    rows = MFCC_PER_FRAME * entry.n_frames + WINDOW_COLUMNS
    points = np.round(ClipStore(root, 'landmarks').array(entry.clip)[:entry.n_frames] * _STEPS)
    arrays = {'mfcc': ClipStore(root, 'mfcc').array(entry.clip)[:rows].astype(np.float16),
              'landmarks': np.diff(points.astype(np.int16), axis=0, prepend=np.int16(0))}
    members = {f'gt/{entry.clip}.mp4': video}
    members |= {f'{layer}/{entry.clip}.npy': _npy(values) for layer, values in arrays.items()}
    return PackedClip(entry, members, 10 * np.log10(255**2 / np.mean(errors)))


def _decoded(path: Path) -> Iterator[np.ndarray]:
    return (frame.image for frame in read_frames(path))


def _error(image: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(image.astype(np.float32) - other).mean())


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asfortranarray(values))  # the same point of all frames side by side: half the size
    return buffer.getvalue()


def unpack_data_set(file: str | Path, root: str | Path, degradations: Sequence[str] = (), workers: int = 1
                    ) -> Path:
    """Makes a data set folder of a file of `pack_data_set`; frames are raw in LMDBs.

    Args:
        root: the folder to make; it appears when it is complete.
        degradations: names of layers to make beside `gt`.

    Returns `root`. Raises DataError if the file is damaged, FileExistsError if the folder is there.
    """
    layers = ['gt', *(degradation(name).layer for name in degradations if name != 'gt')]
    root, part = Path(root), Path(root).with_name(f'.{Path(root).name}.part')
    if root.exists():
        raise FileExistsError(f'{root} exists already; remove it, or name another folder')
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(file) as archive, _pool(workers) as pool:
            entries = list(_unpack_lists(archive, part))
            _make_layers(pool, file, part, entries, layers)
            _unpack_arrays(archive, ClipWriter(part), entries)
        part.rename(root)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f'{file} is no whole packed data set ({error}); copy it again') from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root


def _unpack_lists(archive: zipfile.ZipFile, root: Path) -> Iterator[ClipEntry]:
    writer = ClipWriter(root)
    Path(root, _STATS).write_bytes(archive.read(_STATS))
    for split in ('train', 'val', 'test'):
        if (name := f'meta_info_{split}.txt') in archive.namelist():
            entries = list(map(ClipEntry.parse, archive.read(name).decode().splitlines()))
            writer.meta(split, entries)
            yield from entries


def _unpack_arrays(archive: zipfile.ZipFile, writer: ClipWriter, entries: Iterable[ClipEntry]) -> None:
    for entry in entries:
        mfcc, steps = (np.load(io.BytesIO(archive.read(f'{layer}/{entry.clip}.npy')), allow_pickle=False)
                       for layer in ('mfcc', 'landmarks'))
        writer.array('mfcc', entry.clip, mfcc.astype(np.float32))
        points = np.cumsum(steps, axis=0, dtype=np.int16).astype(np.float32) / _STEPS
        writer.array('landmarks', entry.clip, points)


def _make_layers(pool: Executor, file: str | Path, root: Path, entries: list[ClipEntry], layers: list[str]
                 ) -> None:
    """Fills the LMDB of each layer; the longest clips come first, so that processes end together."""
    frame_bytes = sum(entry.n_frames * len(_raw(np.zeros(entry.shape, np.uint8))) for entry in entries)
    for layer in layers:
        Path(root, f'{layer}.lmdb').mkdir()
    order = sorted(entries, key=lambda entry: -entry.n_frames)
    size = int(_BYTES * frame_bytes) + (64 << 20)
    for _ in pool.map(_make_clip, *zip(*[(file, root, entry, layers, size) for entry in order], strict=True)):
        pass


def _make_clip(file: str | Path, root: Path, entry: ClipEntry, layers: list[str], size: int) -> None:
    with zipfile.ZipFile(file) as archive, tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'gt.mp4')
        path.write_bytes(archive.read(f'gt/{entry.clip}.mp4'))
        clean = list(_decoded(path))
    if len(clean) != entry.n_frames:
        raise DataError(f'{file}: {entry.clip} has {len(clean)} of {entry.n_frames} frames; pack it again')
    for layer in layers:
        images = clean if layer == 'gt' else degrade(clean, layer, entry.clip)[0]
        with _database(root / f'{layer}.lmdb', size).begin(write=True) as transaction:
            for index, image in enumerate(images):
                transaction.put(frame_name(entry.clip, index).encode(), _raw(image))


@lru_cache
def _database(path: Path, size: int) -> lmdb.Environment:
    """An LMDB that several processes fill; LMDB lets one write at a time."""
    return lmdb.open(str(path), map_size=size, sync=False, meminit=False)


def _raw(image: np.ndarray) -> bytes:
    return STORES['raw'].encode(image)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context('spawn'), cv2.setNumThreads, (1,))
