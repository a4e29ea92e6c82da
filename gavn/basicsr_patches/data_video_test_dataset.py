"""Patches of basicsr.data.video_test_dataset."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from basicsr.data import data_util
from basicsr.data.video_test_dataset import VideoRecurrentTestDataset, VideoTestDataset
from torch import Tensor

from gavn.basicsr_patches.replace import wrap


def init_with_any_name(original: Callable[..., None]) -> Callable[..., None]:
    """Defect: VideoTestDataset accepts the names vid4, reds4 and redsofficial only and requires `cache_data`.

    The patch accepts every name and gives the other options defaults.
    """
    @wraps(original)
    def init(self: VideoTestDataset, opt: dict[str, Any]) -> None:
        opt = {'cache_data': False, 'io_backend': {'type': 'disk'}, 'num_frame': 1, **opt}
        original(self, {**opt, 'name': 'REDS4'})
        self.opt = opt
    return init


def get_recurrent_clip(self: VideoRecurrentTestDataset, index: int) -> dict[str, Tensor | str]:
    """Defect: without `cache_data` the method raises NotImplementedError; with it, all clips are in memory.

    The patch reads one clip: `lq` and `gt` (t, c, h, w), RGB in [0, 1].
    """
    folder = self.folders[index]
    lq, gt = self.imgs_lq[folder], self.imgs_gt[folder]
    if not self.cache_data:
        lq, gt = data_util.read_img_seq(lq), data_util.read_img_seq(gt)
    return {'lq': lq, 'gt': gt, 'folder': folder}


def apply() -> None:
    """Patches both test data sets."""
    wrap(VideoTestDataset, '__init__', init_with_any_name)
    VideoRecurrentTestDataset.__getitem__ = get_recurrent_clip
