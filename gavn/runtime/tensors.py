"""Conversion between OpenCV images and network tensors."""
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gavn.errors import ArgumentError


def to_tensor(images: np.ndarray | Sequence[np.ndarray]) -> Tensor:
    """Converts uint8 BGR images (..., h, w, 3) to a float32 RGB tensor (..., 3, h, w) in [0, 1].

    A list of images of equal size is stacked.

    Raises:
        ArgumentError: the images are not uint8 with three channels.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-1] != 3:
        raise ArgumentError(f'expected uint8 images (..., h, w, 3), got {images.dtype} {images.shape}')
    planes = np.moveaxis(images[..., ::-1], -1, -3)
    return torch.from_numpy(np.ascontiguousarray(planes)).float().div_(255)


def to_images(tensor: Tensor) -> np.ndarray:
    """Converts a float RGB tensor (..., 3, h, w) to uint8 BGR images (..., h, w, 3); clamps and rounds.

    NaN becomes black: check the output of a network before.
    """
    if tensor.dim() < 3 or tensor.shape[-3] != 3:
        raise ArgumentError(f'expected a tensor (..., 3, h, w), got {tuple(tensor.shape)}')
    levels = tensor.detach().float().clamp(0, 1).mul(255).round().nan_to_num(0).to(torch.uint8)
    return np.ascontiguousarray(levels.movedim(-3, -1).flip(-1).cpu().numpy())


def channels_last(network: nn.Module) -> None:
    """Converts the weights of 2-D convolutions to the memory format channels_last, which is faster.

    Results have the same format and differ only by rounding.
    """
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
