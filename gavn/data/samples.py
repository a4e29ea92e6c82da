"""Parts that both data sets share: options, checks of their clips, and audio windows."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import numpy as np
from torch import Tensor

from gavn.audio.mfcc import FRAME_RATE, mfcc_windows, silence
from gavn.data.clip_store import ARRAY_LAYERS, ClipEntry, ClipStore, frame_name
from gavn.errors import DataError

Audio = Literal[True, 'zeros', 'shuffled']
Split = Literal['train', 'val', 'test']
T = TypeVar('T')


@dataclass(frozen=True)
class Backend:
    """`io_backend`: source of the layers."""

    type: Literal['auto', 'disk', 'lmdb'] = 'auto'  # disk: plain files; auto: an LMDB if there is one


def parse_options(kind: type[T], options: Mapping[str, Any], name: str) -> T:
    """Parses a data set's options. Other keys of the section, such as those of the loader, are ignored.

    Raises:
        ValueError: a key is missing.
    """
    own = {key: value for key, value in options.items() if key in get_type_hints(kind)}
    try:
        if isinstance(own.get('io_backend'), Mapping):
            own['io_backend'] = Backend(**own['io_backend'])
        return kind(**own)
    except TypeError as error:
        raise ValueError(f'options of {name}: {error}') from error


@dataclass(frozen=True)
class AudioSource:
    """Audio features of clips."""

    store: ClipStore | None  # the mfcc layer. None: digital silence (`audio: zeros`), whose MFCC is not zero.
    # for `audio: shuffled`, the clips to take audio from. Empty: each clip has its own audio.
    others: tuple[ClipEntry, ...] = ()

    @classmethod
    def open(cls, root: str, backend: str, entries: Sequence[ClipEntry], audio: Audio) -> AudioSource:
        """Opens the mfcc layer.

        Raises:
            ValueError: `audio` is unknown, or there are fewer than two clips to shuffle.
        """
        if audio not in get_args(Audio):
            raise ValueError(f'audio: {audio!r} is not one of true, zeros, shuffled')
        if audio == 'shuffled' and len(entries) < 2:
            raise ValueError(f'audio: shuffled needs at least two clips, {root} has {len(entries)}')
        store = None if audio == 'zeros' else ClipStore(root, 'mfcc', backend)
        return cls(store, tuple(entries) if audio == 'shuffled' else ())

    def windows(self, entry: ClipEntry, frames: range, generator: np.random.Generator) -> Tensor:
        """MFCC windows (m, 1, 13, 20) of m frames.

        Shuffled audio starts at a random frame of a random other clip and wraps around at its end.
        """
        numbers = np.array(frames)
        if self.store is None:
            return silence(numbers / FRAME_RATE)
        if self.others:
            choices = [other for other in self.others if other.clip != entry.clip]
            entry = choices[generator.integers(len(choices))]
            numbers = (numbers - frames.start + generator.integers(entry.n_frames)) % entry.n_frames
        return mfcc_windows(self.store.array(entry.clip), numbers / FRAME_RATE)


def check_clips(entries: Iterable[ClipEntry], stores: Sequence[ClipStore]) -> None:
    """Checks the first and last frame and the arrays of every clip in every layer.

    Raises:
        DataError: a frame or array is absent, the size of frames differs from the entry, or an array is
            shorter than the clip.
    """
    for entry in entries:
        for store in stores:
            _check_presence(entry, store)
            if store.layer not in ARRAY_LAYERS:
                _check_size(entry, store)
            elif store.layer == 'landmarks':
                _check_length(entry, store.array(entry.clip), store)


def _check_presence(entry: ClipEntry, store: ClipStore) -> None:
    keys = [entry.clip] if store.layer in ARRAY_LAYERS else [
        frame_name(entry.clip, index) for index in (0, entry.n_frames - 1)]
    for key in keys:
        if not store.has(key):
            raise DataError(f'clip {entry.clip}: {store.path} has no {key}, but meta_info lists the clip '
                            f'with {entry.n_frames} frames; prepare or pack it again, or remove it from '
                            'meta_info')


def _check_size(entry: ClipEntry, store: ClipStore) -> None:
    height, width = store.size(entry.clip)
    if (height, width) != entry.shape[:2]:
        raise DataError(f'clip {entry.clip}: frames of {store.path} are {width}x{height} pixels, but '
                        f'meta_info says {entry.shape[1]}x{entry.shape[0]}; degraded and clean frames must '
                        'have the same size')


def _check_length(entry: ClipEntry, points: np.ndarray, store: ClipStore) -> None:
    if len(points) < entry.n_frames:
        raise DataError(f'clip {entry.clip}: {store.path} has landmarks of {len(points)} frames, the clip '
                        f'has {entry.n_frames}; prepare this clip again')


def check_sizes(clip: str, first: int, size: tuple[int, ...], *layers: Sequence[np.ndarray]) -> None:
    """Raises DataError if a frame, counted from `first`, has another size (h, w) than its clip."""
    for images in layers:
        for index, image in enumerate(images):
            if image.shape[:2] != size:
                raise DataError(f'clip {clip}, near frame {first + index}: a frame is '
                                f'{image.shape[1]}x{image.shape[0]} pixels, the clip {size[1]}x{size[0]}; '
                                'prepare this clip again')
