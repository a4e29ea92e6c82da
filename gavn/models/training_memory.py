"""Options that save memory in training without changing results."""
from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gavn.config.option_file import OptionError

_GIB = 2**30


def recompute(network: nn.Module, parts: Iterable[str]) -> None:
    """Enables activation checkpointing: parts recompute their activations in the backward pass.

    Results and gradients are identical to the bit on one device. Copy the network before this call only.

    Args:
        network: not wrapped.
        parts: names of its modules, `temporal.aligns.all` for instance.

    Raises:
        OptionError: the network has no such module.
    """
    for name in parts:
        try:
            part = network.get_submodule(name)
        except AttributeError as error:
            own = ', '.join(child for child, _ in network.named_modules() if child.count('.') < 2 and child)
            raise OptionError(f'train.recompute: {type(network).__name__} has no part {name!r}; it has {own}'
                              ) from error
        part.forward = partial(checkpoint, part.forward, use_reentrant=False)


def split_batch(batch: dict[str, Tensor], parts: int) -> Iterator[dict[str, Tensor]]:
    """Yields a batch in equal parts for gradient accumulation. `parts` divides the batch size."""
    chunks: dict[str, Any] = {key: value.chunk(parts) for key, value in batch.items()}
    for index in range(parts):
        yield {key: values[index] for key, values in chunks.items()}


def peak_memory(device: torch.device) -> float | None:
    """Peak memory in GiB: of tensors on a GPU, of the process on a CPU (None on Windows)."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / _GIB
    if sys.platform == 'win32':
        return None
    import resource
    unit = 1 if sys.platform == 'darwin' else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _GIB
