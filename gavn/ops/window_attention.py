"""Attention in many small windows, computed in chunks.

The attention weights of all windows are hundreds of times as large as the features (3.6 GB for one layer of
six frames of 256 x 256 pixels), and memory traffic takes most of the time. Here only the weights of a few
windows exist at a time; the backward pass recomputes them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gavn.ops.deform_conv import without_autocast

CHUNK_BYTES = {'cpu': 2**21}  # of attention weights in memory: fits the cache of a core
OTHER_CHUNK_BYTES = 2**28  # enough work for a GPU


@dataclass(frozen=True)
class WindowMasks:
    """Attention masks of windows."""

    masks: Tensor  # (kinds, q, k), added to the logits; the first is zero
    kinds: tuple[int, ...]  # index in `masks` of each window of a clip; the same for all clips of a batch


def window_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None,
                     masks: WindowMasks | None = None) -> Tensor:
    """Computes softmax(q k^T / sqrt(d) + bias + mask) v in every window and head.

    Products have the type of `q`, also inside autocast. The softmax is in float32, or in float64 for float64.

    Args:
        q: (windows, heads, q, d), clip by clip.
        k: (windows, heads, k, d).
        bias: (heads, q, k), the same in all windows.
        masks: of windows with pixels that must not attend to each other.

    Returns:
        (windows, heads, q, d). It can be differentiated once, by q, k, v and bias.
    """
    q = (q * q.shape[-1] ** -0.5).contiguous()
    with without_autocast(q.device.type):
        return _Attention.apply(q, k.contiguous(), v.contiguous(), bias, masks)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, masks: WindowMasks | None
                ) -> Tensor:
        out = torch.empty_like(q)
        for part in _chunks(q, k):
            torch.matmul(_weights(q, k, bias, masks, part), v[part], out=out[part])
        ctx.save_for_backward(q, k, v, bias, out)
        ctx.masks = masks
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, out = ctx.saved_tensors
        grad_out = grad_out.contiguous()
        mean = (grad_out * out).sum(dim=3, keepdim=True)  # sum of weights * their gradients
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        for part in _chunks(q, k):
            weights = _weights(q, k, bias, ctx.masks, part)
            torch.matmul(weights.transpose(2, 3), grad_out[part], out=grad_v[part])
            grad = torch.matmul(grad_out[part], v[part].transpose(2, 3))
            grad = grad.sub_(mean[part]).mul_(weights)
            torch.matmul(grad, k[part], out=grad_q[part])
            torch.matmul(grad.transpose(2, 3), q[part], out=grad_k[part])
            if grad_bias is not None:
                grad_bias += grad.sum(dim=0)
        return grad_q, grad_k, grad_v, grad_bias, None


def _chunks(q: Tensor, k: Tensor) -> list[slice]:
    """Slices of windows that are computed at a time."""
    limit = CHUNK_BYTES.get(q.device.type, OTHER_CHUNK_BYTES)
    each = q.shape[1] * q.shape[2] * k.shape[2] * q.element_size()
    size = max(1, limit // each)
    return [slice(start, start + size) for start in range(0, len(q), size)]


def _weights(q: Tensor, k: Tensor, bias: Tensor | None, masks: WindowMasks | None, part: slice) -> Tensor:
    logits = torch.matmul(q[part], k[part].transpose(2, 3))
    if bias is not None:
        logits += bias
    if masks is not None:
        kinds = [masks.kinds[i % len(masks.kinds)] for i in range(part.start, min(part.stop, len(q)))]
        if any(kinds):
            logits += torch.stack([masks.masks[kind] for kind in kinds])[:, None]
    wide = torch.promote_types(q.dtype, torch.float32)
    return logits.softmax(dim=3, dtype=wide).to(q.dtype)
