"""As many windows at once as a device has memory for."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Batch = dict[str, Tensor | list[Tensor]]
WINDOWS_ON_GPU = 16  # one at a time leaves a GPU waiting for launches; on a CPU several crowd the caches


def windows_at_once(device: torch.device) -> int:
    """How many windows to give a device per call where nobody says otherwise."""
    return WINDOWS_ON_GPU if device.type == 'cuda' else 1


def in_portions(call: Callable[[Batch], Sequence[Tensor]], batch: Batch, size: int, share: int = 1,
                whole: bool = False) -> tuple[list[Tensor], int]:
    """Calls with `size * share` entries of a batch at a time; `size` is halved when the memory is too small.

    Args:
        call: takes a batch, and returns tensors with as many entries.
        batch: tensors, or lists of them, with `lq` among them; all have their entries along the first axis.
        size: 1 or more.
        share: entries per unit of `size`.
        whole: fill the last portion up with repeats of its last entry, which are cut off again: what is
            compiled wants one shape. Its results are copied, because CUDA graphs write over them.

    Returns what `call` returned, for all entries, and the size that the memory took. Raises
    torch.OutOfMemoryError where a size of 1 is too large.
    """
    results, done, count = [], 0, len(batch['lq'])
    while done < count:
        few = size * share
        try:
            found = call({key: _part(value, done, few, whole) for key, value in batch.items()})
            results.append([tensor.clone() for tensor in found] if whole else found)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            continue
        done += few
    if len(results) == 1:
        return [tensor[:count] for tensor in results[0]], size
    return [torch.cat(parts)[:count] for parts in zip(*results, strict=True)], size


def _part(value: Tensor | list[Tensor], start: int, few: int, whole: bool) -> Tensor | list[Tensor]:
    if isinstance(value, list):
        return [_part(one, start, few, whole) for one in value]
    part = value[start:start + few]
    missing = few - len(part) if whole else 0
    return torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
