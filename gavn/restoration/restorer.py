"""Face crops and sound in, restored face crops out: networks and windows, no video files."""
from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gavn.archs.inputs import layout_of, network_inputs
from gavn.audio.mfcc import silence
from gavn.checkpoints import pretrained
from gavn.checkpoints.checkpoint import (
    BUDGET,
    CheckpointError,
    load_bundle,
    load_trained,
    save_bundle,
    training_budget,
)
from gavn.faces.geometry import CROP_SIZE, detector_view
from gavn.restoration.in_memory import restore_frames
from gavn.restoration.model_spec import (
    DETECTOR,
    GENERATOR,
    DeviceError,
    ModelSpec,
    RestoreError,
    weight_files,
)
from gavn.runtime.batching import Batch, chunked_forward, default_batch
from gavn.runtime.compilation import compile_in_place
from gavn.runtime.files import sha256
from gavn.runtime.parallel_calls import parallel_call_count
from gavn.runtime.tensors import channels_last, to_tensor
from gavn.runtime.windows import run

PathLike = str | os.PathLike[str]
_log = logging.getLogger(__name__)
_noticing = Lock()  # calls run side by side
DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}
AUTO = 'auto'
MAX_WINDOW = 256  # frames; the longest of a published network here has 15


def find_device(name: str = 'auto') -> torch.device:
    """`auto` is a GPU if there is one, else the CPU. Raises DeviceError for one that is not here."""
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f'device {name} cannot be used here ({str(error).splitlines()[0]})\n'
                           'use --device auto or cpu') from error
    return device


def default_dtype(device: torch.device) -> str:
    """`bfloat16` where a device multiplies such numbers by itself, else `float32`."""
    if device.type == 'cuda':
        quick = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        quick = device.type == 'cpu' and getattr(torch.cpu, '_is_avx512_bf16_supported', bool)()
    return 'bfloat16' if quick else 'float32'


@dataclass
class Restorer:
    """Networks with their weights, ready to restore face crops; made by one of its class methods.

    Attributes:
        recipe: the options the networks were built from.
        networks: `network_g` and, where it takes landmarks, `network_l`; moved to `device`, in eval mode.
        device: see `find_device`.
        dtype: `float32` (also `auto`, but see `from_pretrained`), or `bfloat16` for autocast; what a network
            finds in single frames (its `features`) stays in float32: deblurring lives on its digits.
        batch: windows per call of the network, halved with a notice when the memory is too small; None: as
            suits the device. Of a CPU's threads several calls may each have a share, see `side_by_side`.
        compile: a mode of `torch.compile`, see `compile_in_place`; None: run as written. For long films on a
            GPU: the first window takes minutes then.
        weights: where the weights came from, with their SHA-256.
        budget: what training took: iterations, minutes; {} where that is not known.
        notices: what had to be done otherwise than asked, in words.
        name: of weights that come with the package; None for others.
    """

    recipe: ModelSpec
    networks: dict[str, nn.Module]
    device: str | torch.device = 'auto'
    dtype: str = AUTO
    batch: int | None = None
    compile: str | None = None
    weights: dict[str, str] = field(default_factory=dict)
    budget: dict[str, float | None] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    name: str | None = None

    def __post_init__(self) -> None:
        self.dtype = 'float32' if self.dtype == AUTO else self.dtype
        if self.dtype not in DTYPES:
            raise DeviceError(f'dtype {self.dtype} is not one of {", ".join(DTYPES)}')
        self.device = find_device(str(self.device))
        self.batch = self.batch or default_batch(self.device)
        for network in self.networks.values():
            channels_last(network.to(self.device).eval().requires_grad_(False))
            if self.compile:
                compile_in_place(network, self.compile)
        self.calls = parallel_call_count(self.networks.values(), self.device)
        try:
            self.layout = layout_of(self.networks[GENERATOR], self.recipe.window)
        except ValueError as error:
            raise RestoreError(str(error)) from error
        if self.layout.inputs > MAX_WINDOW:
            raise RestoreError(f'the network takes {self.layout.inputs:,} frames at once, over {MAX_WINDOW}\n'
                               'use weights of a network with shorter windows')

    @property
    def together(self) -> int:
        """How many frames come out at once."""
        return self.batch * self.calls * self.layout.outputs

    @classmethod
    def load(cls, weights: PathLike, device: str = 'auto', dtype: str = AUTO, batch: int | None = None,
             compile: str | None = None) -> Restorer:
        """From a bundle (see `save_bundle`), which holds the options that trained it.

        Raises CheckpointError for weights unreadable or not fitting, RestoreError for unusable options.
        """
        options, states = load_bundle(weights)
        recipe = ModelSpec.parse_bundle(options, weights)
        networks = recipe.build_with({name: (state, f'{weights} ({name})') for name, state in states.items()})
        return cls(recipe, networks, device, dtype, batch, compile, {str(weights): sha256(weights)},
                   options.get(BUDGET) or {})

    @classmethod
    def from_pretrained(cls, name: str = 'mixed', device: str = 'auto', dtype: str = AUTO,
                        batch: int | None = None, compile: str | None = None) -> Restorer:
        """With weights that come with the package (`gavn models list` names them).

        `dtype` auto is `default_dtype`: bfloat16 changes PSNR by less than 0.01 dB (docs/performance.md).
        Raises ModelError for a name that is not known, or a file that is not what its SHA-256 says.
        """
        dtype = default_dtype(find_device(device)) if dtype == AUTO else dtype
        restorer = cls.load(pretrained.weights_of(name), device, dtype, batch, compile)
        restorer.name = name
        return restorer

    @classmethod
    def from_options(cls, opt_path: PathLike, weights: PathLike | None = None,
                     landmark_weights: PathLike | None = None, device: str = 'auto', dtype: str = AUTO,
                     batch: int | None = None, compile: str | None = None) -> Restorer:
        """From an option file and checkpoints.

        Args:
            opt_path: the option file that trained (or tests) the network.
            weights: of `network_g`; by default those of `gavn.restoration.model_spec.weight_files`.
            landmark_weights: of `network_l`; by default `path.pretrain_network_l`.
            device, dtype, batch, compile: see the class.

        Raises CheckpointError for weights absent, unreadable or not fitting, RestoreError and OptionError for
        unusable options.
        """
        recipe, options = ModelSpec.read(opt_path)
        files, given = weight_files(options), {GENERATOR: weights, DETECTOR: landmark_weights}
        loaded, sums = {}, {}
        for name in recipe.networks:
            path = given[name] or files[name]
            if not path:
                raise CheckpointError(f'no weights for {name}: {opt_path} names none\ngive their file')
            recipe.networks[name], state = load_trained(path, recipe.networks[name])
            loaded[name] = state, str(path)
            sums[str(path)] = sha256(path)
        return cls(recipe, recipe.build_with(loaded), device, dtype, batch, compile, sums,
                   training_budget(weights or files[GENERATOR]))

    def save(self, path: PathLike, half: bool = False) -> None:
        """Writes networks and options as a bundle for `load`; `half` with 16 bits a number."""
        recipe = self.recipe
        meta = {'task': recipe.task, 'network_inputs': list(recipe.inputs), 'window': recipe.window,
                'sources': self.weights, BUDGET: self.budget}
        networks = {name: (recipe.networks[name], network) for name, network in self.networks.items()}
        save_bundle(path, networks, meta, half)

    def restore_frames(self, frames: Iterable[np.ndarray], fps: float | Fraction,
                       audio: np.ndarray | None = None, **choices: Any) -> list[np.ndarray]:
        """Restores the faces in consecutive whole frames of a video, in memory.

        Args:
            frames: uint8 RGB (h, w, 3), all of one size; BGR with `channels='bgr'`.
            fps: frames a second.
            audio: mono samples (n,) at 16 kHz, int16 or in [-1, 1], from the first frame on; None = silence.
            choices: `channels`, `sample_rate`, `settings`; see `gavn.restoration.in_memory.restore_frames`,
                which this calls.

        Returns as many frames, in the same order of channels. Raises ValueError for others than these.
        """
        return restore_frames(self, frames, fps, audio, **choices)

    def restore(self, frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None = None
                ) -> Iterator[np.ndarray]:
        """Restores consecutive face crops of one face, in memory that does not grow with their number.

        Args:
            frames: uint8 BGR (h, w, 3), all of one size, framed as the network was trained: for weights that
                come with gavn (CROP_SIZE, CROP_SIZE, 3) of `crop_box`, for others that look
                at landmarks square crops. For whole pictures there is `restore_frames`.
            audio: as many raw MFCC windows (1, 13, 20), each taken at its frame's time; None = silence.

        Yields a uint8 BGR picture of the same size per frame. Raises ValueError for other pictures, and if
        there are more of one than of the other, RestoreError if the network returns something that is not a
        number.
        """
        for frame, residual in self._with_residuals(map(self._checked_crop, frames), audio):
            yield (frame + residual).round().clip(0, 255).astype(np.uint8)

    def residuals(self, frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None = None
                  ) -> Iterator[np.ndarray]:
        """As `restore`, but yields what to add to each frame: float32 BGR (h, w, 3), units of 1/255.

        Frames may be of any size that the networks take, the same for all.
        """
        for _, residual in self._with_residuals(frames, audio):
            yield residual

    def _with_residuals(self, frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None
                        ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        waiting: deque[tuple[np.ndarray, Tensor]] = deque()

        def clip() -> Iterator[dict[str, Tensor]]:
            for image, sound in _paired(frames, audio):
                sample = {key: value.to(self.device) for key, value in self._sample(image, sound).items()}
                waiting.append((image, sample['lq']))
                yield sample

        features = self._features if hasattr(self.networks[GENERATOR], 'features') else None
        for restored in run(self._forward, clip(), self.layout, self.batch * self.calls, features):
            image, lq = waiting.popleft()
            yield image, (restored - lq).mul_(255).flip(0).permute(1, 2, 0).cpu().numpy()

    def _checked_crop(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        fits = height == width or 'landmarks' not in self.recipe.inputs
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'a face crop is uint8 (h, w, 3), not {image.dtype} {image.shape}')
        if not fits or (self.name and height != CROP_SIZE):
            size = f'{CROP_SIZE} x {CROP_SIZE}' if self.name else 'square'
            raise ValueError(f'a face crop for these networks is {size}, not {width} x {height} pixels\n'
                             'whole pictures are restored by restore_frames')
        return image

    def _sample(self, image: np.ndarray, sound: Tensor) -> dict[str, Tensor]:
        sample = {'lq': to_tensor(image), 'audio': sound}
        if 'landmarks' in self.recipe.inputs:
            sample['face'] = to_tensor(detector_view(image))
        return sample

    def _features(self, frames: Tensor) -> list[Tensor]:
        """What the network finds in single frames (k, 3, h, w), on its device."""
        return self._in_portions(self._found, {'lq': frames}, self.layout.outputs)

    def _forward(self, batch: Batch) -> Tensor:
        return self._in_portions(self._call, batch)[0]

    def _in_portions(self, call: Callable[[Batch], list[Tensor]], batch: Batch, share: int = 1
                     ) -> list[Tensor]:
        try:
            results, size = chunked_forward(
                call, batch, self.batch, share, self.compile is not None, self.calls
            )
        except torch.OutOfMemoryError as error:
            raise RestoreError(
                f'the memory of {self.device} is too small for one window\n'
                'close what else uses it, or give --device cpu'
            ) from error
        if size < self.batch:
            self.batch = size
            self._notice(f'the memory of {self.device} is too small: going on with {size} windows at once')
        return results

    def _call(self, batch: Batch) -> list[Tensor]:
        result = self._computed(batch, self.dtype)
        if result.shape[-3:] != batch['lq'].shape[-3:]:
            raise RestoreError(f'the network returns {tuple(result.shape[-3:])} for a frame of '
                               f'{tuple(batch["lq"].shape[-3:])}: it must keep the size\n'
                               'use a network that restores at the same size (upscale: 1)')
        if not torch.isfinite(result).all() and self.dtype != 'float32':
            self._notice(f'{self.dtype} overflows in places: these are computed in float32')
            result = self._computed({key: batch[key] for key in batch if key != 'features'}, 'float32')
        if not torch.isfinite(result).all():
            raise RestoreError('the network returned values that are not finite\n'
                               'use other weights: these may come from a run that diverged')
        return [result]

    def _notice(self, words: str) -> None:
        with _noticing:
            if words not in self.notices:
                self.notices.append(words)
                _log.warning(words)

    def _found(self, batch: Batch) -> list[Tensor]:
        with self._computing('float32'):
            return self.networks[GENERATOR].features(batch['lq'])

    def _computed(self, batch: Batch, dtype: str) -> Tensor:
        with self._computing(dtype):
            try:
                inputs = network_inputs(batch, self.recipe.inputs, self.networks.get(DETECTOR))
                return self.networks[GENERATOR](batch['lq'], **inputs).float()
            except (TypeError, ValueError) as error:
                raise RestoreError(f'the network cannot take {", ".join(self.recipe.inputs)}: {error}\n'
                                   'network_inputs and its own options must agree') from error

    @contextmanager
    def _computing(self, dtype: str) -> Iterator[None]:
        with torch.inference_mode(), torch.autocast(torch.device(self.device).type, DTYPES[dtype],
                                                    enabled=dtype != 'float32'):
            yield


def _paired(frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None
            ) -> Iterator[tuple[np.ndarray, Tensor]]:
    if audio is not None:
        return zip(frames, audio, strict=True)
    quiet = silence([0.])[0]
    return ((frame, quiet) for frame in frames)
