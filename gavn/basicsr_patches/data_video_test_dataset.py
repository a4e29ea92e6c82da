"""Replacements of the data sets in basicsr.data.video_test_dataset."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
from basicsr.data import data_util, video_test_dataset
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor

from gavn.basicsr_patches.utils_img_util import UnreadableImageError
from gavn.registry import replaces_in

_Mixin: Any = object  # basicsr's data sets have no types


class _AnyName(_Mixin):
    """Defects: only the names vid4, reds4 and redsofficial are accepted, and `cache_data` is required.

    An unreadable image raises AttributeError of None, without its name.

    The patch accepts every name, gives the other options defaults and raises UnreadableImageError.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        opt = {'cache_data': False, 'io_backend': {'type': 'disk'}, 'num_frame': 1, **opt}
        with self._named_images():
            super().__init__({**opt, 'name': 'REDS4'})
        self.opt = opt

    def __getitem__(self, index: int) -> dict[str, Any]:
        with self._named_images():
            return self._read(index)

    def _read(self, index: int) -> dict[str, Any]:
        return super().__getitem__(index)

    @contextmanager
    def _named_images(self) -> Iterator[None]:
        try:
            yield
        except AttributeError as error:
            paths = (*self.data_info['lq_path'], *self.data_info['gt_path'])
            unreadable = next((path for path in paths if cv2.imread(path) is None), None)
            if unreadable is None:
                raise
            raise UnreadableImageError(f'{unreadable} is not a readable image') from error


@replaces_in(DATASET_REGISTRY)
class VideoTestDataset(_AnyName, video_test_dataset.VideoTestDataset):
    """Windows of a clip's frames."""


@replaces_in(DATASET_REGISTRY)
class VideoTestDUFDataset(_AnyName, video_test_dataset.VideoTestDUFDataset):
    """Windows of a clip's frames, downsampled as for DUF."""


@replaces_in(DATASET_REGISTRY)
class VideoRecurrentTestDataset(_AnyName, video_test_dataset.VideoRecurrentTestDataset):
    """Whole clips.

    Defect: without `cache_data` basicsr raises NotImplementedError; with it, all clips are in memory.
    """

    def _read(self, index: int) -> dict[str, Tensor | str]:
        """Reads one clip: `lq` and `gt` (t, c, h, w), RGB in [0, 1]."""
        folder = self.folders[index]
        lq, gt = self.imgs_lq[folder], self.imgs_gt[folder]
        if not self.cache_data:
            lq, gt = data_util.read_img_seq(lq), data_util.read_img_seq(gt)
        return {'lq': lq, 'gt': gt, 'folder': folder}
