"""`Restorer`: networks with their weights that restore face crops or whole frames in memory."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import zip_longest
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gavn.archs.inputs import layout_of
from gavn.archs.network_runner import NetworkRunner
from gavn.audio.mfcc import SAMPLE_RATE, silence
from gavn.checkpoints import pretrained
from gavn.checkpoints.checkpoint import (
    BUDGET,
    CheckpointError,
    load_bundle,
    load_trained,
    save_bundle,
    training_budget,
)
from gavn.config.option_file import read_options
from gavn.errors import ArgumentError
from gavn.faces.geometry import CROP_SIZE, detector_view
from gavn.restoration.degradation import DegradationEstimate
from gavn.restoration.in_memory import restore_in_memory
from gavn.restoration.model_spec import (
    DETECTOR,
    GENERATOR,
    ModelSpec,
    RestoreError,
    weight_files,
)
from gavn.restoration.protocols import Channels
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import Choice, check_task_fits
from gavn.runtime.batching import Batch, tensor_of
from gavn.runtime.compilation import MODES, compile_in_place
from gavn.runtime.devices import SLOW_BFLOAT16, default_dtype, find_device, has_bfloat16
from gavn.runtime.files import sha256
from gavn.runtime.project import project_root, searched
from gavn.runtime.tensors import channels_last, to_tensor
from gavn.runtime.windows import Layout, Sample

PathLike = str | os.PathLike[str]
_log = logging.getLogger(__name__)
_notice_lock = Lock()  # calls run in parallel
DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}
AUTO = 'auto'
MAX_WINDOW = 256  # frames; published networks use at most 15


def check_computation(dtype: str, batch: int | None, compile: str | None) -> None:
    """Raises ArgumentError if an argument of `Restorer` is out of range or not one of the choices."""
    if dtype not in (AUTO, *DTYPES):
        raise ArgumentError(f'dtype {dtype} is not one of {", ".join((AUTO, *DTYPES))}')
    if batch is not None and batch < 1:
        raise ArgumentError(f'batch must be at least 1, not {batch}')
    if compile and compile not in MODES:
        raise ArgumentError(f'compile {compile} is not one of {", ".join(MODES)}')


class Restorer(NetworkRunner):
    """Networks with their weights, ready to restore. Create it with one of its class methods.

    Args:
        spec: the options that the networks were built from.
        networks: `network_g` and, if it takes landmarks, `network_l`; on `device`, in eval mode.
        device: see `find_device`.
        dtype: `float32` (also `auto`, but see `from_pretrained`), or `bfloat16` for autocast. Per-frame
            `features` of a network stay in float32, because deblurring needs the precision.
        batch: windows per call of the network; None = default of the device. It is halved, with a notice, if
            the memory is too small. On a CPU several calls may run in parallel; see `parallel_calls`.
        compile: a mode of `torch.compile`, see `compile_in_place`; None = not compiled. Useful for long
            videos on a GPU; the first window takes minutes.
        weights: the files of the weights: path -> SHA-256.
        budget: iterations and minutes of training; None if unknown.

    Attributes:
        spec: as given.
        networks: as given.
        device (torch.device): the device that was found.
        dtype: `float32` or `bfloat16`.
        batch (int): windows per call of the network.
        compile: as given.
        weights: as given; {} for None.
        budget: as given; {} for None.
        layout (Layout): how the windows of the network lie over a clip.
        notices: messages about what differs from the request.
        name: name of pretrained weights; None for others.

    Raises:
        ArgumentError: `dtype` or `compile` is not one of the above, or `batch` is below 1.
        DeviceError: the device is not available.
    """

    def __init__(self, spec: ModelSpec, networks: dict[str, nn.Module], device: str | torch.device = 'auto',
                 dtype: str = AUTO, batch: int | None = None, compile: str | None = None,
                 weights: Mapping[str, str] | None = None, budget: Mapping[str, float | None] | None = None,
                 ) -> None:
        check_computation(dtype, batch, compile)
        self.spec, self.networks, self.compile = spec, networks, compile
        device = find_device(str(device))
        self.dtype = 'float32' if dtype == AUTO else dtype
        if self.dtype == 'bfloat16' and not has_bfloat16(device):
            _log.warning(SLOW_BFLOAT16)
        self.weights, self.budget = dict(weights or {}), dict(budget or {})
        self.notices: list[str] = []
        self.name: str | None = None
        for network in networks.values():
            channels_last(network.to(device).eval().requires_grad_(False))
            if compile:
                compile_in_place(network, compile)
        super().__init__(networks[GENERATOR], _layout_of(networks[GENERATOR], spec.window), spec.inputs,
                         device, networks.get(DETECTOR), batch)

    @property
    def uses_audio(self) -> bool:
        """Whether the network or its landmark detector takes audio."""
        return bool({'audio', 'landmarks'} & set(self.spec.inputs))

    @classmethod
    def load(cls, weights: PathLike, device: str = 'auto', dtype: str = AUTO, batch: int | None = None,
             compile: str | None = None) -> Restorer:
        """Loads a bundle: weights with their options (see `save_bundle`).

        Raises:
            CheckpointError: the weights are unreadable or do not fit the network.
            RestoreError: the options are invalid.
        """
        options, states = load_bundle(weights)
        spec = ModelSpec.parse_bundle(options, weights)
        networks = spec.build_with({name: (state, f'{weights} ({name})') for name, state in states.items()})
        return cls(spec, networks, device, dtype, batch, compile, {str(weights): sha256(weights)},
                   options.get(BUDGET) or {})

    @classmethod
    def from_pretrained(cls, name: str = 'mixed', device: str = 'auto', dtype: str = AUTO,
                        batch: int | None = None, compile: str | None = None) -> Restorer:
        """Loads pretrained weights; `gavn models list` shows their names.

        `dtype` auto is `default_dtype`: bfloat16 changes PSNR by less than 0.01 dB (docs/performance.md).

        Raises:
            ModelError: the name is unknown, or the SHA-256 of the file is wrong.
        """
        dtype = default_dtype(find_device(device)) if dtype == AUTO else dtype
        restorer = cls.load(pretrained.weights_of(name), device, dtype, batch, compile)
        restorer.name = name
        return restorer

    @classmethod
    def from_options(cls, opt_path: PathLike, weights: PathLike | None = None,
                     landmark_weights: PathLike | None = None, device: str = 'auto', dtype: str = AUTO,
                     batch: int | None = None, compile: str | None = None,
                     options: Mapping[str, Any] | None = None) -> Restorer:
        """Loads an option file and its checkpoints.

        Args:
            opt_path: the option file that trained (or tests) the network.
            weights: checkpoint of `network_g`; by default `gavn.restoration.model_spec.weight_files`.
            landmark_weights: checkpoint of `network_l`; by default `path.pretrain_network_l`.
            device: see the class.
            dtype: see the class.
            batch: see the class.
            compile: see the class.
            options: the options of `opt_path` with changes, as `gavn.config.overlays.resolve_options` makes
                them; by default the file is read.

        Raises:
            CheckpointError: the weights are missing or unreadable, or do not fit the network.
            RestoreError, OptionError: the options are invalid.
        """
        if options is None:
            options, _ = read_options(opt_path)
        spec = ModelSpec.from_options(options, opt_path)
        files, given = weight_files(options), {GENERATOR: weights, DETECTOR: landmark_weights}
        networks, loaded, paths = {}, {}, {}
        for name, network in spec.networks.items():
            path = given[name] or _found(files[name], name, opt_path)
            networks[name], state = load_trained(path, network)
            loaded[name], paths[name] = (state, str(path)), str(path)
        spec = replace(spec, networks=networks)
        sums = {path: sha256(path) for path in paths.values()}
        return cls(spec, spec.build_with(loaded), device, dtype, batch, compile, sums,
                   training_budget(paths[GENERATOR]))

    def save(self, path: PathLike, half: bool = False) -> None:
        """Writes networks and options as a bundle for `load`; with float16 weights if `half`."""
        spec = self.spec
        meta = {'task': spec.task, 'network_inputs': list(spec.inputs), 'window': spec.window,
                'sources': self.weights, BUDGET: self.budget}
        networks = {name: (spec.networks[name], network) for name, network in self.networks.items()}
        save_bundle(path, networks, meta, half)

    def choose_weights(self, estimator: Callable[[], DegradationEstimate], force: bool = False
                       ) -> Choice:
        """Checks that pretrained weights suit the degradation; see `VideoRestorer.choose_weights`."""
        return check_task_fits(self, estimator, force)

    def restore_frames(self, frames: Iterable[np.ndarray], fps: float | Fraction,
                       audio: np.ndarray | None = None, *, channels: Channels = 'rgb',
                       sample_rate: int = SAMPLE_RATE, settings: Settings | None = None) -> list[np.ndarray]:
        """Restores the faces in consecutive frames of a video, in memory.

        Args:
            frames: uint8 (h, w, 3) of equal size, or an array (n, h, w, 3).
            fps: frames per second; aligns the audio with the frames.
            audio: mono samples (n,) from the first frame on, int16 or floats in [-1, 1]; None = silence.
            channels: order in the frames and in the result: `rgb` (PIL, torchvision) or `bgr` (OpenCV).
            sample_rate: of `audio`, in Hz.
            settings: faces, strength and scale (which enlarges the frames); other settings are ignored.

        Returns:
            As many frames. Pixels outside the faces do not change, unless the frames are enlarged.

        Raises:
            ArgumentError: frames or audio have another type or shape, or another argument is out of range.
            NoFace: no face was found.
            ChoiceError: the selected faces do not exist.
            TaskError: the weights are certainly for another kind of degradation.
            RestoreError: the network fails.
        """
        return restore_in_memory(self, frames, fps, audio, channels, sample_rate, settings)

    def restore(self, frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None = None
                ) -> Iterator[np.ndarray]:
        """Restores consecutive crops of one face. Memory does not grow with their number.

        Args:
            frames: uint8 BGR (h, w, 3) of equal size, cropped as for training: CROP_SIZE x CROP_SIZE pixels
                of `crop_box` for pretrained weights, square crops for other networks that take landmarks.
                Use `restore_frames` for whole frames.
            audio: one raw MFCC window (1, 13, 20) per frame, at the time of the frame; None = silence.

        Yields:
            A uint8 BGR image of the same size per frame.

        Raises:
            ArgumentError: a crop has another type or size, or there are more crops than audio windows or vice
                versa.
            RestoreError: the network returns values that are not finite.
        """
        for frame, residual in self._with_residuals(map(self._checked_crop, frames), audio):
            yield (frame + residual).round().clip(0, 255).astype(np.uint8)

    def residuals(self, frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None = None
                  ) -> Iterator[np.ndarray]:
        """Like `restore`, but yields the change of each frame: float32 BGR (h, w, 3), units of 1/255.

        Frames may have any size that the networks take.
        """
        for _, residual in self._with_residuals(frames, audio):
            yield residual

    def _with_residuals(self, frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None
                        ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        def clip() -> Iterator[tuple[tuple[np.ndarray, Tensor], Sample]]:
            for image, window in _paired(frames, audio):
                sample = {key: value.to(self.device) for key, value in self._sample(image, window).items()}
                yield (image, sample['lq']), sample

        for (image, lq), restored in self.run_windows(clip()):
            yield image, (restored - lq).mul_(255).flip(0).permute(1, 2, 0).cpu().numpy()

    def _checked_crop(self, image: np.ndarray) -> np.ndarray:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ArgumentError(f'a face crop must be uint8 (h, w, 3), not {image.dtype} {image.shape}')
        height, width = image.shape[:2]
        fits = height == width or 'landmarks' not in self.spec.inputs
        if not fits or (self.name and height != CROP_SIZE):
            size = f'{CROP_SIZE} x {CROP_SIZE}' if self.name else 'square'
            raise ArgumentError(f'a face crop for these networks must be {size}, not {width} x {height} '
                                'pixels\nuse restore_frames for whole frames')
        return image

    def _sample(self, image: np.ndarray, mfcc: Tensor) -> Sample:
        sample = {'lq': to_tensor(image), 'audio': mfcc}
        if 'landmarks' in self.spec.inputs:
            sample['face'] = to_tensor(detector_view(image))
        return sample

    def _chunked(self, call: Callable[[Batch], Sequence[Tensor]], batch: Batch, share: int = 1
                 ) -> list[Tensor]:
        try:
            return super()._chunked(call, batch, share)
        except torch.OutOfMemoryError as error:
            raise RestoreError(f'the memory of {self.device} is too small for one window\n'
                               'close other programs that use it, or use --device cpu') from error

    def _reduce_batch(self, size: int) -> None:
        super()._reduce_batch(size)
        self._notice(f'the memory of {self.device} is too small: the batch is reduced to {size} windows')

    def _call(self, batch: Batch) -> list[Tensor]:
        result = self._computed(batch, self.dtype)
        expected = tensor_of(batch, 'lq').shape[-3:]
        if result.shape[-3:] != expected:
            raise RestoreError(f'the network returns {tuple(result.shape[-3:])} for a frame of '
                               f'{tuple(expected)}: it must keep the size\nuse a network with upscale: 1')
        if not torch.isfinite(result).all() and self.dtype != 'float32':
            self._notice(f'{self.dtype} overflows in some windows: they are computed in float32')
            result = self._computed({key: batch[key] for key in batch if key != 'features'}, 'float32')
        if not torch.isfinite(result).all():
            raise RestoreError('the network returned values that are not finite\n'
                               'use other weights: the training may have diverged')
        return [result]

    def _notice(self, message: str) -> None:
        with _notice_lock:
            if message not in self.notices:
                self.notices.append(message)
                _log.warning(message)

    def _computed(self, batch: Batch, dtype: str) -> Tensor:
        with torch.inference_mode(), torch.autocast(self.device.type, DTYPES[dtype],
                                                    enabled=dtype != 'float32'):
            try:
                return super()._call(batch)[0].float()
            except (TypeError, ValueError) as error:
                raise RestoreError(f'the network does not accept {", ".join(self.inputs)}: {error}\n'
                                   'network_inputs must match the options of the network') from error


def _found(file: str | None, network: str, opt_path: PathLike) -> str:
    """Returns the checkpoint that an option file stands for. Raises CheckpointError if there is none."""
    if file and os.path.exists(file):
        return file
    why = f'{opt_path} names none'
    if file:
        why = f'{file} does not exist (looked in {searched(project_root())})'
    argument = {GENERATOR: '--weights', DETECTOR: '--landmark-weights'}[network]
    raise CheckpointError(f'no weights for {network}: {why}\ngive the checkpoint as {argument}')


def _layout_of(network: nn.Module, window: str | None) -> Layout:
    try:
        layout = layout_of(network, window)
    except ValueError as error:
        raise RestoreError(str(error)) from error
    if layout.inputs > MAX_WINDOW:
        raise RestoreError(f'the window of the network has {layout.inputs:,} frames, more than '
                           f'{MAX_WINDOW}\nuse a network with shorter windows')
    return layout


def _paired(frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None
            ) -> Iterator[tuple[np.ndarray, Tensor]]:
    silent = silence([0.])[0]
    pairs = ((frame, silent) for frame in frames) if audio is None else zip_longest(frames, audio)
    for frame, window in pairs:
        if frame is None or window is None:
            raise ArgumentError('there must be as many audio windows as crops')
        yield frame, window
