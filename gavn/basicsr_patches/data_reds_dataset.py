"""Replacements of the data sets in basicsr.data.reds_dataset."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from basicsr.data import reds_dataset
from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor

from gavn.basicsr_patches.data_paired_image_dataset import crop_errors
from gavn.errors import DataError
from gavn.registry import replaces_in
from gavn.runtime.lmdb_environment import open_lmdb

CLIP_LENGTH = 100
"""Frames that basicsr assumes in every clip. Frames after these are not used."""


class FrameKey(str):
    """`<clip>/<frame>` of a clip whose name may contain '/'.

    Basicsr splits keys at every '/' and expects two parts. `split` returns the clip and the frame, clamped so
    that a window around it, or from it, lies inside the clip.
    """

    __slots__ = ('first', 'last')
    first: int
    last: int

    def __new__(cls, clip: str, index: int, first: int = 0, last: int = CLIP_LENGTH) -> FrameKey:
        """Key of frame `index`. Windows of the clip have their centre or start from `first` to `last`."""
        key = super().__new__(cls, f'{clip}/{index:08d}')
        key.first, key.last = first, last
        return key

    def __reduce__(self) -> tuple[Any, ...]:
        clip, index = self.rsplit('/', 1)
        return FrameKey, (clip, int(index), self.first, self.last)

    def split(self, *_: Any) -> list[str]:
        """Clip name and frame number of eight digits."""
        clip, index = self.rsplit('/', 1)
        return [clip, f'{min(max(int(index), self.first), self.last):08d}']


_Mixin: Any = object  # basicsr's data sets have no types


class _AnyClips(_Mixin):
    """Defect: clips must have three-digit names and 100 frames, and a missing frame fails during training.

    The patch takes clips of any name and length and checks the first and last frame of each. It raises
    DataError for a clip that is shorter than a window or that a folder or an LMDB lacks.
    """

    keys: list[Any]

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__({'dataroot_flow': None, 'test_mode': False, 'interval_list': [1],
                          'random_reverse': False, **opt})
        self.opt = opt
        lengths = _clip_lengths(self.keys)
        reach = (self.num_frame - 1) * max(self.interval_list)
        for clip, length in lengths.items():
            if length <= reach:
                raise DataError(f'clip {clip} of {opt["meta_info_file"]} has {length} frames; windows of '
                                f'num_frame: {self.num_frame} span {reach + 1}')
            _check_ends(clip, length, {opt['dataroot_lq'], opt['dataroot_gt']}, self.is_lmdb)
        _warn_of_long_clips(type(self).__name__, lengths)
        before = reach // 2 if isinstance(self, reds_dataset.REDSDataset) else 0
        self.keys = [FrameKey(clip, int(index), before, min(lengths[clip], CLIP_LENGTH) - 1 - reach + before)
                     for clip, index in (key.rsplit('/', 1) for key in self.keys)]

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        with crop_errors(f'{self.gt_root}/{self.keys[index]}'):
            return super().__getitem__(index)


@replaces_in(DATASET_REGISTRY)
class REDSDataset(_AnyClips, reds_dataset.REDSDataset):
    """Windows around a frame."""


@replaces_in(DATASET_REGISTRY)
class REDSRecurrentDataset(_AnyClips, reds_dataset.REDSRecurrentDataset):
    """Windows from a frame on."""


def _warn_of_long_clips(kind: str, lengths: Mapping[str, int]) -> None:
    count = sum(length > CLIP_LENGTH for length in lengths.values())
    if count:
        get_root_logger().warning(
            f'{kind} reads the first {CLIP_LENGTH} frames of a clip; {count} of {len(lengths)} clips are '
            'longer: cut them (gavn prepare --cut 4), or use AVClipDataset, which reads all frames')


def _clip_lengths(keys: Iterable[str]) -> dict[str, int]:
    parts = (key.rsplit('/', 1) for key in keys)
    return {clip: int(index) + 1 for clip, index in parts}  # the last frame counts


def _check_ends(clip: str, length: int, roots: Iterable[str], is_lmdb: bool) -> None:
    for root in roots:
        for index in (0, length - 1):
            name = f'{clip}/{index:08d}'
            exists = _has_key(root, name) if is_lmdb else Path(root, f'{name}.png').is_file()
            if not exists:
                raise DataError(f'{root} has no frame {name}, which its meta_info_file names; pack or '
                                f'prepare clip {clip} again, or remove it from that file')


def _has_key(root: str, key: str) -> bool:
    with open_lmdb(root).begin(buffers=True) as transaction:
        return transaction.get(key.encode()) is not None
