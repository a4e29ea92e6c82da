"""The data set folder: its layout, its writer and its reader side by side, so that they cannot drift.

    ROOT/meta_info_{train,val,test}.txt  one line a clip: `<clip id> <frames> (h,w,c)`; ids may hold '/'
    ROOT/stats.json                      {"mfcc_mean": [13], "mfcc_std": [13], ...}, from the training split
    ROOT/gt/<clip>/<%08d>.png            clean frames; 8-bit, lossless
    ROOT/<degradation>/<clip>/<%08d>.png degraded frames: car, blur, sr, car_crf35 ...
    ROOT/mfcc/<clip>.npy                 (f, 13) float32 cepstra, 100 rows a second, row 0 at frame 0
    ROOT/landmarks/<clip>.npy            (T, 68, 2) float32 (x, y) in pixels of the gt frame, whole numbers at
                                         pixel centres
    ROOT/audio/<clip>.npy                int16 samples at 16 kHz, sample 0 at the time of frame 0

Any of the folders may instead, or as well, be packed into `<layer>.lmdb`: the same names, less the ending, as
keys (`<clip>/<%08d>` or `<clip>`), the same bytes as values. BasicSR's `FileClient` reads it too.
"""
from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import lmdb
import numpy as np

from gavn.utils.files import atomic_path
from gavn.utils.lmdb_environment import open_lmdb

SPLITS = ('train', 'val', 'test')
ARRAY_LAYERS = ('mfcc', 'landmarks', 'audio')
PNG_LEVEL = 1  # the fastest; decoding speed, which training feels, hardly depends on it
BACKENDS = ('auto', 'disk', 'lmdb')
_BATCH = 1000  # LMDB writes a commit


class MissingEntryError(KeyError):
    """A frame or an array that the data set folder does not hold; the message names the key and the place."""

    def __str__(self) -> str:  # KeyError shows its argument's repr
        return str(self.args[0])


@dataclass(frozen=True)
class ClipEntry:
    """One line of a meta_info file."""

    clip: str
    n_frames: int
    shape: tuple[int, int, int]

    def __str__(self) -> str:
        h, w, c = self.shape
        return f'{self.clip} {self.n_frames} ({h},{w},{c})'

    @classmethod
    def parse(cls, line: str) -> ClipEntry:
        """Reads `<clip id> <frames> (h,w,c)`; raises ValueError with the line in it."""
        try:
            clip, frames, shape = line.rsplit(maxsplit=2)
            h, w, c = (int(side) for side in shape.strip('()').split(','))
            return cls(clip, int(frames), (h, w, c))
        except ValueError as error:
            raise ValueError(f'not "<clip id> <frames> (h,w,c)", a meta_info line: {line!r}') from error


def check_clip_id(clip: str) -> None:
    """Raises ValueError for a clip id that is empty or, taken for a path, would leave the data set folder."""
    name = PurePosixPath(clip)
    if not name.parts or name.is_absolute() or '..' in name.parts:
        raise ValueError(f'{clip!r} cannot name a clip: give a path below the data set folder, without ..')


def frame_name(clip: str, index: int) -> str:
    """Key of a frame, also its path below the layer's folder less `.png`."""
    return f'{clip}/{index:08d}'


def read_meta(root: str | os.PathLike[str], split: str) -> list[ClipEntry]:
    """The clips of one split. Raises FileNotFoundError where there is none."""
    path = Path(root) / f'meta_info_{split}.txt'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist: {root} is not a prepared data set or has no {split} '
                                'split. scripts/prepare/prepare.py makes one.')
    return [ClipEntry.parse(line) for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]


def read_stats(root: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of stats.json. Raises FileNotFoundError where it is absent."""
    path = Path(root) / 'stats.json'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist: the preparation of a data set ends with these '
                                'statistics of its MFCC; run its last step again')
    return json.loads(path.read_text(encoding='utf-8'))


class ClipStore:
    """Reads one layer of a data set folder, from LMDB or from files, alike.

    Args:
        root: the data set folder.
        layer: 'gt', a degradation's name, or one of ARRAY_LAYERS.
        backend: 'lmdb', 'disk', or 'auto' (LMDB where there is one).

    Holds no open handle: it may be pickled and carried over fork and spawn. Raises FileNotFoundError where
    the layer is absent in the form asked for.
    """

    def __init__(self, root: str | os.PathLike[str], layer: str, backend: str = 'auto') -> None:
        if backend not in BACKENDS:
            raise ValueError(f'backend {backend!r} is none of {", ".join(BACKENDS)}')
        self.root, self.layer = Path(root), layer
        folder, packed = self.root / layer, self.root / f'{layer}.lmdb'
        self.packed = backend == 'lmdb' or (backend == 'auto' and (packed / 'data.mdb').is_file())
        self.path = packed if self.packed else folder
        if not (self.path / 'data.mdb' if self.packed else self.path).exists():
            raise FileNotFoundError(f'{self.path} does not exist; layers of this data set: '
                                    f'{", ".join(layers_of(self.root)) or "none"}')

    def frame(self, clip: str, index: int) -> np.ndarray:
        """Frame `index` of a clip, uint8 BGR (h, w, 3). Raises MissingEntryError."""
        key = frame_name(clip, index)
        image = cv2.imdecode(np.frombuffer(self._bytes(key, '.png'), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise MissingEntryError(f'{key!r} in {self.path} is no readable image; prepare this clip again')
        return image

    def array(self, clip: str) -> np.ndarray:
        """The array of a clip (see the layout above for shape and type). Raises MissingEntryError."""
        return np.load(io.BytesIO(self._bytes(clip, '.npy')), allow_pickle=False)

    def _bytes(self, key: str, ending: str) -> bytes:
        if self.packed:
            with open_lmdb(self.path).begin() as transaction:
                value = transaction.get(key.encode())
            if value is None:
                raise MissingEntryError(f'no key {key!r} in {self.path}; is it packed from another data set?')
            return value
        try:
            return (self.path / f'{key}{ending}').read_bytes()
        except FileNotFoundError:
            raise MissingEntryError(f'no file {key}{ending} in {self.path}') from None


def layers_of(root: str | os.PathLike[str]) -> list[str]:
    """Names of the layers a data set folder holds, in either form."""
    root = Path(root)
    if not root.is_dir():
        return []
    folders = {path.name.removesuffix('.lmdb') for path in root.iterdir() if path.is_dir()}
    return sorted(name for name in folders if not name.startswith('.'))


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a folder beside `path` that takes its place once complete; clears what a killed writer left."""
    part, old = path.with_name(f'.{path.name}.part'), path.with_name(f'.{path.name}.old')
    for left in (part, old):
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if path.exists():
            path.rename(old)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


class ClipWriter:
    """Writes a data set folder (its layout heads this module); every file or folder is whole or absent."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)

    def has(self, layer: str, clip: str) -> bool:
        """Whether the clip's frames or array are there (as files)."""
        return self._path(layer, clip).exists()

    def frames(self, layer: str, clip: str, images: Iterable[np.ndarray]) -> int:
        """Writes uint8 BGR frames as they come, returns their number. On an error none is left."""
        count = 0
        with _atomic_folder(self._path(layer, clip)) as folder:
            for image in images:
                name = folder / f'{count:08d}.png'
                if not cv2.imwrite(str(name), image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]):
                    raise OSError(f'cannot write {name}')
                count += 1
            if not count:
                raise ValueError(f'{layer}/{clip}: no frames to write')
        return count

    def array(self, layer: str, clip: str, values: np.ndarray) -> None:
        """Writes one of ARRAY_LAYERS."""
        with atomic_path(self._path(layer, clip)) as part:
            np.save(part, values)

    def remove(self, layer: str, clip: str) -> None:
        """Removes a clip's frames or array, if there."""
        path = self._path(layer, clip)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def meta(self, split: str, entries: Iterable[ClipEntry]) -> None:
        """Writes meta_info_<split>.txt."""
        lines = [f'{entry}\n' for entry in entries]
        with atomic_path(self.root / f'meta_info_{split}.txt') as part:
            part.write_text(''.join(lines), encoding='utf-8')

    def stats(self, values: dict[str, Any]) -> None:
        """Writes stats.json."""
        with atomic_path(self.root / 'stats.json') as part:
            part.write_text(json.dumps(values, indent=2) + '\n', encoding='utf-8')

    def _path(self, layer: str, clip: str) -> Path:
        check_clip_id(clip)
        return self.root / layer / (f'{clip}.npy' if layer in ARRAY_LAYERS else clip)


def pack(root: str | os.PathLike[str], layers: Sequence[str]) -> list[Path]:
    """Packs layers into LMDBs, all splits together; returns their paths. What is up to date is left alone."""
    entries = [entry for split in SPLITS if (Path(root) / f'meta_info_{split}.txt').is_file()
               for entry in read_meta(root, split)]
    return [_pack_layer(Path(root), layer, entries) for layer in layers]


def _pack_layer(root: Path, layer: str, entries: Sequence[ClipEntry]) -> Path:
    target = root / f'{layer}.lmdb'
    lines = dict(_meta_lines(layer, entries))
    text = ''.join(f'{lines[key]}\n' for key in sorted(lines))
    ending = '.npy' if layer in ARRAY_LAYERS else '.png'
    if _is_current(target, text, [root / layer / entry.clip for entry in entries], ending):
        return target
    with _atomic_folder(target) as part:
        _write_lmdb(part, ((key, root / layer / f'{key}{ending}') for key in sorted(lines)))
        (part / 'meta_info.txt').write_text(text, encoding='utf-8')
    return target


def _is_current(target: Path, text: str, clips: Iterable[Path], ending: str) -> bool:
    """Whether an LMDB holds just these keys and no clip was written after it."""
    listing = target / 'meta_info.txt'
    if not listing.is_file() or listing.read_text(encoding='utf-8') != text:
        return False
    packed = listing.stat().st_mtime
    sources = (clip.with_name(clip.name + ending) if ending == '.npy' else clip for clip in clips)
    return all(source.stat().st_mtime <= packed for source in sources if source.exists())


def _meta_lines(layer: str, entries: Iterable[ClipEntry]) -> Iterator[tuple[str, str]]:
    """Key and line of meta_info.txt, as BasicSR writes them: name with ending, shape, compression level."""
    for entry in entries:
        if layer in ARRAY_LAYERS:
            yield entry.clip, f'{entry.clip}.npy ({entry.n_frames}) 0'
            continue
        shape = ','.join(map(str, entry.shape))
        for index in range(entry.n_frames):
            key = frame_name(entry.clip, index)
            yield key, f'{key}.png ({shape}) {PNG_LEVEL}'


def _write_lmdb(folder: Path, items: Iterable[tuple[str, Path]]) -> None:
    """Commits in batches; the map starts small and grows as needed, so that no disk is claimed ahead."""
    with lmdb.open(str(folder), map_size=64 << 20) as environment:
        batch: list[tuple[bytes, bytes]] = []
        for key, path in items:
            batch.append((key.encode(), path.read_bytes()))
            if len(batch) == _BATCH:
                _commit(environment, batch)
                batch = []
        _commit(environment, batch)
        environment.sync()


def _commit(environment: lmdb.Environment, batch: Sequence[tuple[bytes, bytes]]) -> None:
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()['map_size'])
