"""As many windows at once as a device has memory for."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gavn.runtime.parallel_calls import side_by_side

Batch = dict[str, Tensor | list[Tensor]]
WINDOWS_ON_GPU = 16  # one at a time leaves a GPU waiting for launches; on a CPU several crowd the caches


def default_batch(device: torch.device) -> int:
    """How many windows to give a device per call where nobody says otherwise."""
    return WINDOWS_ON_GPU if device.type == 'cuda' else 1


def chunked_forward(call: Callable[[Batch], Sequence[Tensor]], batch: Batch, size: int, share: int = 1,
                whole: bool = False, calls: int = 1) -> tuple[list[Tensor], int]:
    """Calls with some entries of a batch at a time.

    One call after the other takes `size * share` entries, and `size` is halved when the memory is too small.
    Side by side each takes `size`: so all are busy, and a result does not depend on the entries beside it.

    Args:
        call: takes a batch, and returns tensors with as many entries.
        batch: tensors, or lists of them, with `lq` among them; all have their entries along the first axis.
        size: 1 or more.
        share: entries per unit of `size`.
        whole: fill the last portion up with repeats of its last entry, which are cut off again: what is
            compiled wants one shape. Its results are copied, because CUDA graphs write over them.
        calls: at the same time, see `side_by_side`; more than one only on a CPU, and not with `whole`.

    Returns what `call` returned, for all entries, and the size that the memory took. Raises
    torch.OutOfMemoryError where a size of 1 is too large.
    """
    count = len(batch['lq'])
    if calls > 1:
        results = side_by_side(call, [_entries(batch, start, size) for start in range(0, count, size)], calls)
    else:
        results, size = _one_by_one(call, batch, size, share, whole)
    if len(results) == 1:
        return [tensor[:count] for tensor in results[0]], size
    return [torch.cat(parts)[:count] for parts in zip(*results, strict=True)], size


def _one_by_one(call: Callable[[Batch], Sequence[Tensor]], batch: Batch, size: int, share: int, whole: bool
                ) -> tuple[list[Sequence[Tensor]], int]:
    results, done = [], 0
    while done < len(batch['lq']):
        few = size * share
        try:
            found = call(_entries(batch, done, few, whole))
            results.append([tensor.clone() for tensor in found] if whole else found)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            continue
        done += few
    return results, size


def _entries(batch: Batch, start: int, few: int, whole: bool = False) -> Batch:
    return {key: _part(value, start, few, whole) for key, value in batch.items()}


def _part(value: Tensor | list[Tensor], start: int, few: int, whole: bool) -> Tensor | list[Tensor]:
    if isinstance(value, list):
        return [_part(one, start, few, whole) for one in value]
    part = value[start:start + few]
    missing = few - len(part) if whole else 0
    return torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
