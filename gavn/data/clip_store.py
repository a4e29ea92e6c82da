"""The data set folder: layout, writer and reader.

    ROOT/meta_info_{train,val,test}.txt  a line per clip: `<clip id> <frames> (h,w,c)`; ids may contain '/'
    ROOT/stats.json                      {"mfcc_mean": [13], "mfcc_std": [13], ...}, from the training split
    ROOT/gt/<clip>/<%08d>.png            clean frames; 8-bit, lossless
    ROOT/<degradation>/<clip>/<%08d>.png degraded frames: car, blur, sr, car_crf35 ...
    ROOT/mfcc/<clip>.npy                 (f, 13) float32 MFCC, 100 rows per second, row 0 at frame 0
    ROOT/landmarks/<clip>.npy            (T, 68, 2) float32 (x, y) in pixels of the gt frame, whole numbers at
                                         pixel centres
    ROOT/audio/<clip>.npy                int16 samples at 16 kHz, sample 0 at the time of frame 0

A folder can also be packed into `<layer>.lmdb`. Keys are the names without suffix (`<clip>/<%08d>` or
`<clip>`); values are arrays, or frames in a format of `gavn.data.storage`. BasicSR's `FileClient` reads
it too.
"""
from __future__ import annotations

import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import lmdb
import numpy as np
from PIL import Image, UnidentifiedImageError

from gavn.data import storage
from gavn.data.storage import PNG_LEVEL, STORES, Store
from gavn.errors import DataError
from gavn.runtime.files import atomic_path, write_text
from gavn.runtime.images import write_image
from gavn.runtime.lmdb_environment import close_lmdb, open_lmdb

SPLITS = ('train', 'val', 'test')
ARRAY_LAYERS = ('mfcc', 'landmarks', 'audio')
BACKENDS = ('auto', 'disk', 'lmdb')
_BATCH = 256  # LMDB writes per commit, frames in memory


class MissingEntryError(DataError):
    """The data set folder does not contain a frame or an array. The message names it and the place."""


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
        """Reads `<clip id> <frames> (h,w,c)`. Raises ValueError with the line."""
        try:
            clip, frames, shape = line.rsplit(maxsplit=2)
            h, w, c = (int(side) for side in shape.strip('()').split(','))
            return cls(clip, int(frames), (h, w, c))
        except ValueError as error:
            raise ValueError(f'not "<clip id> <frames> (h,w,c)", a meta_info line: {line!r}') from error


def check_clip_id(clip: str) -> None:
    """Raises ValueError for a clip id that is empty or a path outside of the data set folder."""
    name = PurePosixPath(clip)
    if not name.parts or name.is_absolute() or '..' in name.parts:
        raise ValueError(f'{clip!r} is not a valid clip id: give a relative path without ..')


def frame_name(clip: str, index: int) -> str:
    """Key of a frame: its path below the layer's folder without `.png`."""
    return f'{clip}/{index:08d}'


def read_meta(root: str | os.PathLike[str], split: str) -> list[ClipEntry]:
    """The clips of one split. Raises FileNotFoundError if the split does not exist."""
    path = Path(root) / f'meta_info_{split}.txt'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist: {root} is not a prepared data set or has no {split} '
                                'split. Make one with gavn prepare.')
    return [ClipEntry.parse(line) for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]


def read_all_meta(root: str | os.PathLike[str]) -> list[ClipEntry]:
    """Reads the clips of all splits that the folder has."""
    return [entry for split in SPLITS if (Path(root) / f'meta_info_{split}.txt').is_file()
            for entry in read_meta(root, split)]


def read_stats(root: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of stats.json. Raises FileNotFoundError if it is absent."""
    path = Path(root) / 'stats.json'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist: gavn prepare writes these statistics of the '
                                'MFCC as its last step; run it again')
    return json.loads(path.read_text(encoding='utf-8'))


class ClipStore:
    """Reads one layer of a data set folder from an LMDB or from files.

    Args:
        layer: 'gt', a degradation's name, or one of ARRAY_LAYERS.
        backend: 'lmdb', 'disk', or 'auto' (an LMDB if there is one).

    It has no open handle and works after pickling, fork and spawn.

    Raises:
        FileNotFoundError: the layer does not exist for this backend.
    """

    def __init__(self, root: str | os.PathLike[str], layer: str, backend: str = 'auto') -> None:
        if backend not in BACKENDS:
            raise ValueError(f'backend {backend!r} is not one of {", ".join(BACKENDS)}')
        self.root, self.layer = Path(root), layer
        folder, packed = self.root / layer, self.root / f'{layer}.lmdb'
        self.packed = backend == 'lmdb' or (backend == 'auto' and (packed / 'data.mdb').is_file())
        self.path = packed if self.packed else folder
        if not (self.path / 'data.mdb' if self.packed else self.path).exists():
            raise FileNotFoundError(f'{self.path} does not exist; layers of this data set: '
                                    f'{", ".join(layers_of(self.root)) or "none"}')

    def frame(self, clip: str, index: int) -> np.ndarray:
        """Frame `index` of a clip, uint8 BGR (h, w, 3). Raises MissingEntryError."""
        return self.frames(clip, (index,))[0]

    def frames(self, clip: str, indices: Iterable[int]) -> list[np.ndarray]:
        """Several frames of a clip (see `frame`), from an LMDB in one transaction without copies."""
        with self._values('.png') as value:
            return [self._decoded(key, value(key)) for key in (frame_name(clip, i) for i in indices)]

    def array(self, clip: str) -> np.ndarray:
        """The array of a clip (see the layout for shape and type). Raises MissingEntryError."""
        content = self.value(clip, '.npy')
        try:
            return np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise MissingEntryError(f'{clip!r} in {self.path} is not a complete array ({len(content)} '
                                    'bytes); prepare this clip again') from error

    def has(self, key: str) -> bool:
        """Whether a frame or an array exists. Its content is not read."""
        if not self.packed:
            return (self.path / f'{key}{self._ending}').is_file()
        with open_lmdb(self.path).begin() as transaction:
            return transaction.cursor().set_key(key.encode())

    @property
    def _ending(self) -> str:
        return '.npy' if self.layer in ARRAY_LAYERS else '.png'

    def size(self, clip: str) -> tuple[int, int]:
        """Height and width of a clip's first frame, read from its header. Raises MissingEntryError."""
        key = frame_name(clip, 0)
        content = self.value(key, '.png')
        try:
            with Image.open(io.BytesIO(content)) as image:
                return image.height, image.width
        except UnidentifiedImageError as error:
            raise MissingEntryError(f'{key!r} in {self.path} is not a readable image; prepare this clip again'
                                    ) from error

    def value(self, key: str, ending: str) -> bytes:
        """The value of a key, or the file of that name and suffix. Raises MissingEntryError."""
        with self._values(ending) as value:
            return bytes(value(key))

    def _decoded(self, key: str, data: bytes | memoryview) -> np.ndarray:
        image = storage.decode(data)
        if image is None:
            raise MissingEntryError(f'{key!r} in {self.path} is not a readable image; prepare this clip '
                                    'again')
        return image

    @contextmanager
    def _values(self, ending: str) -> Iterator[Callable[[str], bytes | memoryview]]:
        """Yields a function from key to value. Values are valid inside the block."""
        if not self.packed:
            yield lambda key: self._file(key, ending)
            return
        with open_lmdb(self.path).begin(buffers=True) as transaction:
            yield lambda key: self._entry(key, transaction.get(key.encode()))

    def _entry(self, key: str, value: memoryview | None) -> memoryview:
        if value is None:
            raise MissingEntryError(f'no key {key!r} in {self.path}; is it packed from another data set?')
        return value

    def _file(self, key: str, ending: str) -> bytes:
        try:
            return (self.path / f'{key}{ending}').read_bytes()
        except FileNotFoundError:
            raise MissingEntryError(f'no file {key}{ending} in {self.path}') from None


def layers_of(root: str | os.PathLike[str]) -> list[str]:
    """Names of the layers of a data set folder, as folders or LMDBs."""
    root = Path(root)
    if not root.is_dir():
        return []
    folders = {path.name.removesuffix('.lmdb') for path in root.iterdir() if path.is_dir()}
    return sorted(name for name in folders if not name.startswith('.'))


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that replaces `path` at the end. Removes remains of a killed writer."""
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
    """Writes a data set folder. Every file or folder is complete or absent."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)

    def has(self, layer: str, clip: str) -> bool:
        """Whether the clip's frames or array exist as files."""
        return self._path(layer, clip).exists()

    def frames(self, layer: str, clip: str, images: Iterable[np.ndarray]) -> int:
        """Writes uint8 BGR frames and returns their number. After an error no frame remains."""
        count = 0
        with _atomic_folder(self._path(layer, clip)) as folder:
            for image in images:
                name = folder / f'{count:08d}.png'
                write_image(name, image, (cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL))
                count += 1
            if not count:
                raise ValueError(f'{layer}/{clip}: no frames to write')
        return count

    def array(self, layer: str, clip: str, values: np.ndarray) -> None:
        """Writes one of ARRAY_LAYERS."""
        with atomic_path(self._path(layer, clip)) as part:
            np.save(part, values)

    def remove(self, layer: str, clip: str) -> None:
        """Removes a clip's frames or array if they exist."""
        path = self._path(layer, clip)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def meta(self, split: str, entries: Iterable[ClipEntry]) -> None:
        """Writes meta_info_<split>.txt."""
        write_text(self.root / f'meta_info_{split}.txt', ''.join(f'{entry}\n' for entry in entries))

    def stats(self, values: dict[str, Any]) -> None:
        """Writes stats.json."""
        write_text(self.root / 'stats.json', json.dumps(values, indent=2) + '\n')

    def _path(self, layer: str, clip: str) -> Path:
        check_clip_id(clip)
        return self.root / layer / (f'{clip}.npy' if layer in ARRAY_LAYERS else clip)


def pack(root: str | os.PathLike[str], layers: Sequence[str], store: str | None = None) -> list[Path]:
    """Packs layers of all splits into LMDBs. Current LMDBs are not written again.

    Args:
        layers: names of layers. Without a folder, the LMDB of the layer is the source.
        store: format of frames, a name of `gavn.data.storage.STORES`. None: existing LMDBs keep theirs,
            others get `storage.DEFAULT`.

    Raises:
        ValueError: the format is unknown.
        MissingEntryError: a frame is missing or damaged.
    """
    if store is not None and store not in STORES:
        raise ValueError(f'store {store!r} is not one of {", ".join(STORES)}')
    entries = read_all_meta(root)
    return [_pack_layer(Path(root), layer, _sorted(layer, entries), store) for layer in layers]


def _pack_layer(root: Path, layer: str, entries: Sequence[ClipEntry], store: str | None) -> Path:
    target = root / f'{layer}.lmdb'
    ending = '.npy' if layer in ARRAY_LAYERS else '.png'
    kept = STORES.values() if store is None else [STORES[store]]
    clips = [root / layer / entry.clip for entry in entries]
    if any(_is_current(target, _listing(layer, entries, form), clips, ending) for form in kept):
        return target
    form = STORES[store or storage.DEFAULT]
    source = ClipStore(root, layer, 'disk' if (root / layer).is_dir() else 'lmdb')
    with _atomic_folder(target) as part:
        _write_lmdb(part, _contents(source, _keys(layer, entries), ending, form))
        with (part / 'meta_info.txt').open('w', encoding='utf-8') as listing:
            listing.writelines(_listing(layer, entries, form))
        close_lmdb(target)  # readers of this process would keep the old file open
    return target


def _is_current(target: Path, lines: Iterable[str], clips: Iterable[Path], ending: str) -> bool:
    """Whether an LMDB has exactly these keys and is newer than all clips."""
    listing = target / 'meta_info.txt'
    if not listing.is_file():
        return False
    with listing.open(encoding='utf-8') as packed_lines:
        if any(ours != theirs for ours, theirs in zip_longest(packed_lines, lines)):
            return False
    packed = listing.stat().st_mtime
    sources = (clip.with_name(clip.name + ending) if ending == '.npy' else clip for clip in clips)
    return all(source.stat().st_mtime <= packed for source in sources if source.exists())


def _sorted(layer: str, entries: Iterable[ClipEntry]) -> list[ClipEntry]:
    """Entries in the order of their keys. Names of all frames of a large data set do not fit in memory."""
    return sorted(entries, key=lambda entry: next(_keys(layer, [entry])))


def _keys(layer: str, entries: Iterable[ClipEntry]) -> Iterator[str]:
    for entry in entries:
        yield from ([entry.clip] if layer in ARRAY_LAYERS else
                    (frame_name(entry.clip, index) for index in range(entry.n_frames)))


def _listing(layer: str, entries: Iterable[ClipEntry], store: Store) -> Iterator[str]:
    """Lines of BasicSR's meta_info.txt, one per key: name with suffix, shape, compression level."""
    for entry in entries:
        shape = ','.join(map(str, entry.shape))
        for key in _keys(layer, [entry]):
            yield (f'{key}.npy ({entry.n_frames}) 0\n' if layer in ARRAY_LAYERS else
                   f'{key}{store.ending} ({shape}) {store.level}\n')


def _contents(source: ClipStore, keys: Iterable[str], ending: str, store: Store
              ) -> Iterator[tuple[str, bytes]]:
    """Yields keys and values, with frames in the format `store`, encoded on all cores."""
    def content(key: str, data: bytes) -> bytes:
        try:
            return data if ending == '.npy' else storage.converted(data, store)
        except ValueError as error:
            raise MissingEntryError(f'{key!r} in {source.path}: {error}; prepare this clip again') from error

    left = iter(keys)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(left, _BATCH)):
            values = [source.value(key, ending) for key in batch]
            yield from zip(batch, pool.map(content, batch, values), strict=True)


def _write_lmdb(folder: Path, items: Iterable[tuple[str, bytes]]) -> None:
    """Writes an LMDB in batches. The map grows as needed, so that no disk space is reserved."""
    items = iter(items)
    try:
        with lmdb.open(str(folder), map_size=64 << 20) as environment:
            while batch := [(key.encode(), value) for key, value in islice(items, _BATCH)]:
                _commit(environment, batch)
            environment.sync()
    except lmdb.DiskError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error


def _commit(environment: lmdb.Environment, batch: Sequence[tuple[bytes, bytes]]) -> None:
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()['map_size'])
