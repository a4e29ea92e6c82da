"""As many windows at once as a device has memory for."""
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Batch = dict[str, Tensor | list[Tensor]]
WINDOWS_ON_GPU = 16  # one at a time leaves a GPU waiting for launches; on a CPU several crowd the caches
_Result = TypeVar('_Result')


def windows_at_once(device: torch.device) -> int:
    """How many windows to give a device per call where nobody says otherwise."""
    return WINDOWS_ON_GPU if device.type == 'cuda' else 1


def in_portions(call: Callable[[Batch], _Result], batch: Batch, size: int, share: int = 1
                ) -> tuple[list[_Result], int]:
    """Calls with `size * share` entries of a batch at a time; `size` is halved when the memory is too small.

    Args:
        call: takes a batch.
        batch: tensors, or lists of them, with `lq` among them; all have their entries along the first axis.
        size: 1 or more.
        share: entries per unit of `size`.

    Returns the results in order and the size that the memory took. Raises torch.OutOfMemoryError where a size
    of 1 is too large.
    """
    results, done = [], 0
    while done < len(batch['lq']):
        few = size * share
        try:
            results.append(call({key: _part(value, done, done + few) for key, value in batch.items()}))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            continue
        done += few
    return results, size


def _part(value: Tensor | list[Tensor], start: int, end: int) -> Tensor | list[Tensor]:
    return [one[start:end] for one in value] if isinstance(value, list) else value[start:end]
