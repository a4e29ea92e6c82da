"""BasicSR's data sets on folders and LMDBs of ours: nested clip names, any length, errors with names."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from basicsr.data import transforms
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.reds_dataset import REDSDataset, REDSRecurrentDataset

from gavn.basicsr_patches.reading import replace_everywhere
from gavn.errors import DataError
from gavn.runtime.lmdb_environment import open_lmdb

_LENGTH = 100  # frames that stock takes every clip to have; of longer ones it sees the first


class FrameKey(str):
    """`<clip>/<frame>` of a clip whose name may hold '/'; stock splits it at every one.

    `split` gives the clip and the frame nearest to the key's own from which a window fits into the clip.
    """

    __slots__ = ('first', 'last')
    first: int
    last: int

    def __new__(cls, clip: str, index: int, first: int = 0, last: int = _LENGTH) -> FrameKey:
        """Frame `index` of a clip whose windows may start (or have their middle) from `first` to `last`."""
        key = super().__new__(cls, f'{clip}/{index:08d}')
        key.first, key.last = first, last
        return key

    def __reduce__(self) -> tuple[Any, ...]:
        clip, _, index = self.rpartition('/')
        return FrameKey, (clip, int(index), self.first, self.last)

    def split(self, *_: Any) -> list[str]:  # type: ignore[override]
        """Clip and frame."""
        clip, _, index = self.rpartition('/')
        return [clip, f'{min(max(int(index), self.first), self.last):08d}']


def any_clips(stock: Callable[..., None]) -> Callable[..., None]:
    """REDS data sets of clips of any name and length, whose frames are there; stock wants 100 frames each.

    Raises DataError for a clip that is too short, and for one that a folder or an LMDB lacks.
    """
    @wraps(stock)
    def init(self: REDSDataset | REDSRecurrentDataset, opt: dict[str, Any]) -> None:
        stock(self, {'dataroot_flow': None, 'test_mode': False, 'interval_list': [1], 'random_reverse': False,
                     **opt})
        self.opt = opt
        lengths = _lengths(self.keys)
        reach = (self.num_frame - 1) * max(self.interval_list)
        centred = isinstance(self, REDSDataset)
        for clip, length in lengths.items():
            if length <= reach:
                raise DataError(f'clip {clip} of {opt["meta_info_file"]} has {length} frames; windows of '
                                f'num_frame: {self.num_frame} span {reach + 1}')
            _check_ends(clip, length, {opt['dataroot_lq'], opt['dataroot_gt']}, self.is_lmdb)
        first = reach // 2 if centred else 0
        self.keys = [_key(key, lengths, first, reach - first) for key in self.keys]
    return init


def _lengths(keys: Iterable[str]) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for key in keys:
        clip, _, index = key.rpartition('/')
        lengths[clip] = int(index) + 1
    return lengths


def _key(key: str, lengths: Mapping[str, int], before: int, behind: int) -> FrameKey:
    clip, _, index = key.rpartition('/')
    return FrameKey(clip, int(index), before, min(lengths[clip], _LENGTH) - 1 - behind)


def _check_ends(clip: str, length: int, roots: Iterable[str], packed: bool) -> None:
    for root in roots:
        for index in (0, length - 1):
            name = f'{clip}/{index:08d}'
            there = _has_key(root, name) if packed else Path(root, f'{name}.png').is_file()
            if not there:
                raise DataError(f'{root} has no frame {name}, which its meta_info_file names; pack or '
                                f'prepare clip {clip} again, or take it out of that file')


def _has_key(root: str, key: str) -> bool:
    with open_lmdb(root).begin(buffers=True) as transaction:
        return transaction.get(key.encode()) is not None


def existing_files(stock: Callable[..., None]) -> Callable[..., None]:
    """Pairs of pictures that are there; stock fails on the first that is not, when it comes to it."""
    @wraps(stock)
    def init(self: PairedImageDataset, opt: dict[str, Any]) -> None:
        stock(self, opt)
        if opt['io_backend']['type'] != 'disk':
            return
        for pair in self.paths:
            for path in (pair['lq_path'], pair['gt_path']):
                if not Path(path).is_file():
                    raise DataError(f'{path} is not there, though {opt.get("meta_info_file") or opt["name"]} '
                                    'names it')
    return init


def named_crop(stock: Callable[..., Any]) -> Callable[..., Any]:
    """A paired_random_crop whose errors name the picture."""
    @wraps(stock)
    def paired_random_crop(img_gts: Any, img_lqs: Any, gt_patch_size: int, scale: int,
                           gt_path: str | None = None) -> Any:
        try:
            return stock(img_gts, img_lqs, gt_patch_size, scale, gt_path)
        except ValueError as error:
            raise DataError(f'{gt_path}: {"".join(map(str, error.args))}') from error
    return paired_random_crop


def install() -> None:
    """Puts the functions of this file in the place of the stock ones."""
    if hasattr(REDSDataset.__init__, '__wrapped__'):
        return
    for kind in (REDSDataset, REDSRecurrentDataset):
        kind.__init__ = any_clips(kind.__init__)
    PairedImageDataset.__init__ = existing_files(PairedImageDataset.__init__)
    replace_everywhere(transforms.paired_random_crop, named_crop(transforms.paired_random_crop))
