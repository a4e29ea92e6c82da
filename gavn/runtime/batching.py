"""Batches of windows that fit into the memory of a device."""
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gavn.runtime.parallel_calls import parallel_calls

Batch = dict[str, Tensor | list[Tensor]]
WINDOWS_ON_GPU = 16  # a single window does not use a GPU fully; on a CPU several exceed the caches


def tensor_of(batch: Mapping[str, Tensor | list[Tensor]], key: str) -> Tensor:
    """Returns an entry of a batch that is a tensor: all but `features`."""
    value = batch[key]
    assert isinstance(value, Tensor), f'{key} is a list of tensors'
    return value


def default_batch(device: torch.device) -> int:
    """Returns the default number of windows per call."""
    return WINDOWS_ON_GPU if device.type == 'cuda' else 1


def chunked_forward(call: Callable[[Batch], Sequence[Tensor]], batch: Batch, size: int, share: int = 1,
                    whole: bool = False, calls: int = 1) -> tuple[list[Tensor], int]:
    """Calls a function for chunks of a batch and concatenates the results.

    Sequential calls take `size * share` entries each; `size` is halved if the memory is too small. Parallel
    calls take `size` entries each, so that a result does not depend on the other entries.

    Args:
        call: takes a batch and returns tensors with as many entries.
        batch: tensors or lists of tensors, including `lq`; the first axis has the entries.
        size: chunk size, at least 1.
        share: entries per unit of `size`.
        whole: pad the last chunk by repeating its last entry, because compiled networks need one shape. The
            results are copied, because CUDA graphs overwrite them.
        calls: parallel calls (see `parallel_calls`); more than one only on a CPU and without `whole`.

    Returns:
        The results for all entries, and the size that fits into the memory.

    Raises:
        torch.OutOfMemoryError: a size of 1 is too large.
    """
    count = len(batch['lq'])
    if calls > 1:
        chunks = [_entries(batch, start, size) for start in range(0, count, size)]
        results = parallel_calls(call, chunks, calls)
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
    return {key: [_part(one, start, few, whole) for one in value] if isinstance(value, list)
            else _part(value, start, few, whole) for key, value in batch.items()}


def _part(value: Tensor, start: int, few: int, whole: bool) -> Tensor:
    part = value[start:start + few]
    missing = few - len(part) if whole else 0
    return torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
