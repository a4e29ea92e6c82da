"""Whether a data set folder holds what its meta_info names, told before training and not during it."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gavn.data.clip_store import ARRAY_LAYERS, ClipEntry, ClipStore, frame_name
from gavn.errors import DataError


def check_clips(entries: Iterable[ClipEntry], stores: Sequence[ClipStore]) -> None:
    """Looks for the first and the last frame of every clip in every layer, and for its arrays.

    Raises DataError, naming the clip, where one is absent, where frames have another size than the clip's
    entry says (`gt` and the degraded ones alike), and where an array is shorter than the clip.
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
            raise DataError(f'clip {entry.clip}: {store.path} has no {key}, though meta_info names the clip '
                            f'with {entry.n_frames} frames; prepare or pack it again, or take it out of '
                            'meta_info')


def _check_size(entry: ClipEntry, store: ClipStore) -> None:
    height, width = store.size(entry.clip)
    if (height, width) != entry.shape[:2]:
        raise DataError(f'clip {entry.clip}: frames of {store.path} are {width}x{height} pixels, but the '
                        f'clip is {entry.shape[1]}x{entry.shape[0]} by its meta_info; degraded and true '
                        'frames must have one size')


def _check_length(entry: ClipEntry, points: np.ndarray, store: ClipStore) -> None:
    if len(points) < entry.n_frames:
        raise DataError(f'clip {entry.clip}: {store.path} has landmarks of {len(points)} frames, the clip '
                        f'has {entry.n_frames}; prepare this clip again')


def check_sizes(clip: str, first: int, size: tuple[int, ...], *layers: Sequence[np.ndarray]) -> None:
    """Raises DataError where a frame, counted from `first`, has another size (h, w) than its clip."""
    for images in layers:
        for index, image in enumerate(images):
            if image.shape[:2] != size:
                raise DataError(f'clip {clip}, near frame {first + index}: a frame is '
                                f'{image.shape[1]}x{image.shape[0]} pixels, the clip {size[1]}x{size[0]}; '
                                'prepare this clip again')
