"""What trains a network faster, or in less memory, and leaves it what it is."""
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
    """Makes parts forget what they computed between their ends, and compute it again on the way back.

    Results and gradients stay the same to the last bit on one device. A copy of the network that is made
    afterwards must not be used.

    Args:
        network: not wrapped.
        parts: names of its modules, `temporal.aligns.all` for instance.

    Raises OptionError for a name that it does not have.
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
    """A batch in equal parts, one at a time; those that a loss is averaged over. `parts` divides its size."""
    chunks: dict[str, Any] = {key: value.chunk(parts) for key, value in batch.items()}
    for index in range(parts):
        yield {key: values[index] for key, values in chunks.items()}


def peak_memory(device: torch.device) -> float | None:
    """GiB that tensors took on a GPU at most, so far; for the CPU what the process did (Windows: None)."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / _GIB
    if sys.platform == 'win32':
        return None
    import resource
    unit = 1 if sys.platform == 'darwin' else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _GIB
