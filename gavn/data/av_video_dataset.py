"""Whole clips, read frame by frame, for validation and tests."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from gavn.audio.mfcc import FRAME_RATE, SAMPLE_RATE, silence
from gavn.data.clip_store import ClipStore, layers_of, read_meta
from gavn.data.samples import Audio, AudioSource, Backend, Split, check_clips, parse_options
from gavn.errors import DataError
from gavn.faces import landmarks
from gavn.faces.geometry import detector_view
from gavn.runtime.file_names import in_order, is_image
from gavn.runtime.images import read_image
from gavn.runtime.tensors import to_tensor

Reader = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """One clip, whose frames are read on demand."""

    key: str  # name of the clip
    n_frames: int  # number of frames
    # lq, gt: functions that read frame i, uint8 BGR (h, w, 3). `gt` is None without ground truth.
    lq: Reader
    gt: Reader | None
    audio: Tensor  # MFCC windows (n_frames, 1, 13, 20)
    landmarks: Tensor | None  # (n_frames, 68, 2) in the unit square; None: unknown
    # reads the int16 samples at 16 kHz of the clip; None if there are none
    read_audio: Callable[[], np.ndarray | None] = lambda: None

    def frames(self) -> Iterator[dict[str, Tensor]]:
        """Yields for each frame lq, gt (3, h, w), audio (1, 13, 20), landmarks (68, 2), face (3, 112, 112).

        Images are RGB in [0, 1]. Unknown entries (gt, landmarks) are absent.

        Raises:
            DataError: lq and gt differ in size.
        """
        for i in range(self.n_frames):
            image = self.lq(i)
            sample = {'lq': to_tensor(image), 'audio': self.audio[i], 'face': to_tensor(detector_view(image))}
            if self.gt is not None:
                sample['gt'] = to_tensor(self.gt(i))
                if sample['gt'].shape != sample['lq'].shape:
                    raise DataError(f'{self.key}, frame {i}: lq is {tuple(sample["lq"].shape[1:])} but gt '
                                    f'{tuple(sample["gt"].shape[1:])} pixels; their sizes must be equal')
            if self.landmarks is not None:
                sample['landmarks'] = self.landmarks[i]
            yield sample


@DATASET_REGISTRY.register()
class AVVideoDataset(Dataset):
    """Whole clips of a prepared data set folder, or of folders of images.

    `self[i]` is {'key', 'index'}, which basicsr's loader can collate; `clip(i)` opens the clip. Folders of
    images (`dataroot_lq`, and `dataroot_gt` if there is ground truth) contain the images of one clip, or a
    subfolder for each clip, ordered by number. Their audio is digital silence.

    Raises:
        ValueError: an option is wrong.
        FileNotFoundError: folder, split or layer is absent.
        DataError: clips are absent, damaged or of wrong size.
    """

    @dataclass(frozen=True)
    class Options:
        """Options of a section of type AVVideoDataset."""

        root: str | None = None  # data set folder
        degradation: str | None = None  # layer of the input frames
        split: Split = 'val'  # train, val or test
        io_backend: Backend = field(default_factory=Backend)  # {type: disk | lmdb | auto}
        audio: Audio = True  # true, zeros (digital silence) or shuffled (audio of another clip)
        dataroot_lq: str | None = None  # folder of degraded images, instead of root and degradation
        dataroot_gt: str | None = None  # folder of true images; null: no ground truth
        max_frames: int | None = None  # number of frames of each clip; null: all
        manual_seed: int = 0  # of shuffled audio; runs set it to theirs unless it is given

        def __post_init__(self) -> None:
            prepared = self.root is not None and self.degradation is not None
            if prepared == (self.dataroot_lq is not None):
                raise ValueError('AVVideoDataset takes either root and degradation or dataroot_lq')
            if self.max_frames is not None and self.max_frames < 1:
                raise ValueError(f'max_frames: {self.max_frames} must be at least 1')

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.opt = opt  # basicsr's test pipeline reads the name
        self.options = parse_options(self.Options, opt, 'AVVideoDataset')
        self.source = _Folders(self.options) if self.options.dataroot_lq else _Prepared(self.options)
        if not len(self.source):
            raise ValueError(f'{self.options.dataroot_lq or self.options.root}: no clips '
                             f'(split {self.options.split})')

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[dict[str, str | int]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, str | int]:
        return {'key': self.source.key(index), 'index': index}

    def clip(self, index: int) -> Clip:
        """Opens a clip. Reads its audio features and landmarks, but no frame."""
        return self.source.clip(index)

    @property
    def folder(self) -> str:
        """Name of the folder that the clips come from."""
        return Path(str(self.options.root or self.options.dataroot_lq)).absolute().name


class _Prepared:
    """Clips of a data set folder."""

    def __init__(self, options: AVVideoDataset.Options) -> None:
        root, backend = str(options.root), options.io_backend.type
        self.options = options
        self.entries = read_meta(root, options.split)
        self.lq = ClipStore(root, str(options.degradation), backend)
        self.gt = ClipStore(root, 'gt', backend)
        self.landmarks = ClipStore(root, 'landmarks', backend)
        self.audio_source = AudioSource.open(root, backend, self.entries, options.audio)
        self.samples = ClipStore(root, 'audio', backend) if 'audio' in layers_of(root) else None
        stores = (self.lq, self.gt, self.landmarks, self.audio_source.store)
        check_clips(self.entries, [store for store in stores if store is not None])

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, index: int) -> str:
        return self.entries[index].clip

    def clip(self, index: int) -> Clip:
        entry = self.entries[index]
        n_frames = min(entry.n_frames, self.options.max_frames or entry.n_frames)
        height, width, _ = entry.shape
        points = self.landmarks.array(entry.clip)[:n_frames]
        generator = np.random.default_rng([self.options.manual_seed, index])
        return Clip(key=entry.clip, n_frames=n_frames,
                    lq=partial(self.lq.frame, entry.clip), gt=partial(self.gt.frame, entry.clip),
                    audio=self.audio_source.windows(entry, range(n_frames), generator),
                    read_audio=partial(self._samples, entry.clip, n_frames),
                    landmarks=torch.from_numpy(landmarks.to_unit(points, width=width, height=height)))

    def _samples(self, clip: str, n_frames: int) -> np.ndarray | None:
        if self.samples is None:
            return None
        return self.samples.array(clip)[:n_frames * SAMPLE_RATE // FRAME_RATE]


class _Folders:
    """Clips as folders of images."""

    def __init__(self, options: AVVideoDataset.Options) -> None:
        self.options = options
        self.lq = _list_images(Path(str(options.dataroot_lq)))
        self.gt = _list_images(Path(options.dataroot_gt)) if options.dataroot_gt else None
        self.keys = sorted(self.lq)
        if self.gt is not None:
            for key in self.keys:
                self._check_pair(key, self.lq[key], self.gt.get(key, []))

    def _check_pair(self, key: str, degraded: Sequence[Path], clean: Sequence[Path]) -> None:
        if len(degraded) != len(clean):
            raise ValueError(f'clip {key!r} has {len(degraded)} images in {self.options.dataroot_lq} but '
                             f'{len(clean)} in {self.options.dataroot_gt}')
        files = degraded[0], clean[0]
        lq, gt = ('{1}x{0}'.format(*read_image(file).shape) for file in files)
        if lq != gt:
            raise DataError(f'clip {key!r}: {files[0]} is {lq} pixels, {files[1]} {gt}; their '
                            'sizes must be equal')

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def clip(self, index: int) -> Clip:
        key = self.keys[index]
        degraded, clean = self.lq[key], None if self.gt is None else self.gt[key]
        n_frames = min(len(degraded), self.options.max_frames or len(degraded))
        return Clip(key=key, n_frames=n_frames, lq=lambda i: read_image(degraded[i]),
                    gt=None if clean is None else lambda i: read_image(clean[i]),
                    audio=silence(np.arange(n_frames) / FRAME_RATE), landmarks=None)


def _list_images(root: Path) -> dict[str, list[Path]]:
    """Maps clip names to images, ordered by number. A folder that contains images only is one clip."""
    if not root.is_dir():
        raise FileNotFoundError(f'{root} is not a folder')
    clips: dict[str, list[Path]] = {}
    for path in in_order(root.rglob('*')):
        if is_image(path):
            folder = path.parent.relative_to(root)
            clips.setdefault(folder.as_posix() if folder.parts else root.name, []).append(path)
    return clips
