"""Checks before training that a data set folder contains the clips of its meta_info."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gavn.data.clip_store import ARRAY_LAYERS, ClipEntry, ClipStore, frame_name
from gavn.errors import DataError


def check_clips(entries: Iterable[ClipEntry], stores: Sequence[ClipStore]) -> None:
    """Checks the first and last frame and the arrays of every clip in every layer.

    Args:
        entries: of meta_info.
        stores: layers.

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
