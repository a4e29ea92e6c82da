"""Training windows of consecutive frames with audio features and landmarks."""
from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import torch
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from gavn.data.clip_store import ClipEntry, ClipStore, read_meta
from gavn.data.samples import Audio, AudioSource, Backend, Split, check_clips, check_sizes, parse_options
from gavn.faces import landmarks
from gavn.faces.geometry import detector_view
from gavn.runtime.tensors import to_tensor
from gavn.runtime.windows import CONTEXT

_logger = logging.getLogger('basicsr')  # basicsr's get_root_logger would configure it too early
_START_STREAM, _LAYER_STREAM = 1, 2  # streams of random numbers: a clip's first frame, a window's layer


@DATASET_REGISTRY.register()
class AVClipDataset(Dataset):
    """Training windows of a prepared data set folder.

    An epoch contains as many non-overlapping windows as fit into each clip, from a random first frame per
    clip and epoch. The index contains the epoch: `epoch, i = divmod(index, len(self))`. All random numbers
    come from `numpy.random.default_rng([manual_seed, epoch, i])`, so that samples do not depend on workers,
    order or resuming.

    A sample, with t = num_frame and m = t, t - 4 or 1 frames of ground truth:
        lq (t, 3, h, w), gt (m, 3, h, w): float32 RGB in [0, 1], with the same crop
        audio (m, 1, 13, 20): MFCC windows; landmarks (m, 68, 2): in the unit square of the full frame
        face (m, 3, 112, 112): the full degraded frames, resized: input of the landmark detector
        region (4,): x0, y0, x1, y1 of the crop in the unit square of the full frame
        key: '<clip>/<first frame>'

    With `use_hflip`, half of the samples are mirrored with their landmarks; `region` refers to the mirrored
    frame.

    Raises:
        ValueError: an option is wrong.
        FileNotFoundError: folder, split or layer is absent.
        DataError: clips are absent, damaged or of wrong size.
    """

    @dataclass(frozen=True)
    class Options:
        """Options of a section of type AVClipDataset."""

        root: str  # data set folder
        # layer of the input frames, or a list from which each window takes one at random. The first names the
        # task; `gt` means undegraded frames.
        degradation: str | list[str]
        split: Split = 'train'  # train, val or test
        io_backend: Backend = field(default_factory=Backend)  # {type: disk | lmdb | auto}
        num_frame: int = 7  # t, frames of a window
        gt_frames: Literal['all', 'valid', 'center'] = 'valid'  # all (t), valid (t - 4) or center (1)
        crop_size: int | None = None  # side of a square crop in pixels; null: full frames
        crop_step: int = 1  # crops begin at multiples of it, in pixels
        use_hflip: bool = True  # whether to mirror half of the samples
        audio: Audio = True  # true, zeros (digital silence) or shuffled (audio of another clip)
        manual_seed: int = 0  # of all random numbers; runs set it to theirs unless it is given

        def layers(self) -> list[str]:
            """Layers of the input frames."""
            if not self.degradation:
                raise ValueError('degradation names no layer')
            return [self.degradation] if isinstance(self.degradation, str) else self.degradation

        def outputs(self) -> slice:
            """The frames of a window that have ground truth."""
            choices = {'all': slice(0, self.num_frame), 'valid': slice(CONTEXT, self.num_frame - CONTEXT),
                       'center': slice(self.num_frame // 2, self.num_frame // 2 + 1)}
            if self.gt_frames not in choices:
                raise ValueError(f'gt_frames: {self.gt_frames!r} is not one of {", ".join(choices)}')
            if not range(self.num_frame)[choices[self.gt_frames]]:
                raise ValueError(f'gt_frames: {self.gt_frames} of num_frame: {self.num_frame} leaves '
                                 'no frame')
            return choices[self.gt_frames]

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.options = parse_options(self.Options, opt, 'AVClipDataset')
        self.outputs = self.options.outputs()
        root, backend = self.options.root, self.options.io_backend.type
        self.entries = self._drop_short(read_meta(root, self.options.split))
        self._check_crop()
        self.lq = [ClipStore(root, layer, backend) for layer in self.options.layers()]
        self.gt = ClipStore(root, 'gt', backend)
        self.landmarks = ClipStore(root, 'landmarks', backend)
        self.audio = AudioSource.open(root, backend, self.entries, self.options.audio)
        stores = (*self.lq, self.gt, self.landmarks, self.audio.store)
        rank, processes = get_dist_info()  # each process checks its share of the clips
        check_clips(self.entries[rank::processes], [store for store in stores if store is not None])
        counts = [entry.n_frames // self.options.num_frame for entry in self.entries]
        self.first = np.cumsum([0, *counts])  # index of each clip's first window

    def __len__(self) -> int:
        """Windows of one epoch."""
        return int(self.first[-1])

    def __iter__(self) -> Iterator[dict[str, Tensor | str]]:
        """The samples of epoch 0. (Indices have no upper limit.)"""
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        epoch, i = divmod(index, len(self))
        entry, start = self._window(epoch, i)
        generator = np.random.default_rng([self.options.manual_seed, epoch, i])
        frames = range(start, start + self.options.num_frame)
        outputs = frames[self.outputs]
        mirrored = self.options.use_hflip and generator.random() < 0.5
        lq, gt = self._layer(epoch, i).frames(entry.clip, frames), self.gt.frames(entry.clip, outputs)
        check_sizes(entry.clip, start, entry.shape[:2], lq, gt)
        if mirrored:  # OpenCV copies; stacking reversed views is slow
            lq, gt = ([cv2.flip(image, 1) for image in images] for images in (lq, gt))
        pixels = self.landmarks.array(entry.clip)[outputs.start:outputs.stop]
        points = torch.from_numpy(landmarks.to_unit(pixels, width=entry.shape[1], height=entry.shape[0]))
        box, region = self._crop(entry.shape, generator)
        return {
            'lq': to_tensor([image[box] for image in lq]),
            'gt': to_tensor([image[box] for image in gt]),
            'audio': self.audio.windows(entry, outputs, generator),
            'landmarks': landmarks.flip(points) if mirrored else points,
            'face': to_tensor([detector_view(image) for image in lq[self.outputs]]),
            'region': region,
            'key': f'{entry.clip}/{start:08d}',
        }

    def _window(self, epoch: int, i: int) -> tuple[ClipEntry, int]:
        """Clip and first frame of window i of an epoch."""
        number = int(np.searchsorted(self.first, i, side='right')) - 1
        entry, first, length = self.entries[number], int(self.first[number]), self.options.num_frame
        generator = np.random.default_rng([self.options.manual_seed, epoch, first, _START_STREAM])
        return entry, int(generator.integers(entry.n_frames % length + 1)) + (i - first) * length

    def _layer(self, epoch: int, i: int) -> ClipStore:
        """Layer of the input frames of window i."""
        generator = np.random.default_rng([self.options.manual_seed, epoch, i, _LAYER_STREAM])
        return self.lq[generator.integers(len(self.lq))]

    def _crop(self, shape: tuple[int, int, int], generator: np.random.Generator
              ) -> tuple[tuple[slice, slice], Tensor]:
        """Slices of a random crop, and its region in the unit square."""
        height, width, _ = shape
        size = self.options.crop_size
        if size is None:
            return (slice(height), slice(width)), torch.tensor([0.0, 0.0, 1.0, 1.0])
        step = self.options.crop_step
        y, x = (step * int(generator.integers((side - size) // step + 1)) for side in (height, width))
        region = torch.tensor([x / width, y / height, (x + size) / width, (y + size) / height])
        return (slice(y, y + size), slice(x, x + size)), region

    def _check_crop(self) -> None:
        if self.options.crop_step < 1:
            raise ValueError(f'crop_step: {self.options.crop_step} is not positive')
        for height, width, _ in {entry.shape for entry in self.entries}:
            if self.options.crop_size is not None and not 0 < self.options.crop_size <= min(height, width):
                raise ValueError(f'crop_size: {self.options.crop_size} does not fit into the frames '
                                 f'({height}x{width}) of {self.options.root}')

    def _drop_short(self, entries: list[ClipEntry]) -> list[ClipEntry]:
        """Removes clips that are shorter than a window, with a warning."""
        length = self.options.num_frame
        kept = [entry for entry in entries if entry.n_frames >= length]
        place = f'{self.options.root}, split {self.options.split}'
        if not kept:
            raise ValueError(f'{place}: none of {len(entries)} clips has num_frame: {length} frames')
        if len(kept) < len(entries):
            _logger.warning('%s: %d of %d clips have fewer than num_frame: %d frames and are not used',
                            place, len(entries) - len(kept), len(entries), length)
        return kept
