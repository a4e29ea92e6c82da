"""Networks traced and compiled by torch.compile."""
import torch
from torch import nn

TRACED = 'eager'  # traced like the others, but run as written: tells whether a network can be compiled


def compile_in_place(network: nn.Module, mode: str) -> None:
    """Has a network traced, and compiled unless `mode` is TRACED, when it is first called; names stay.

    `mode` is one of `torch.compile`: default, reduce-overhead (on a GPU with CUDA graphs) or max-autotune.
    Compiling takes minutes, for each shape of input anew.
    """
    if mode == TRACED:
        network.compile(backend=mode, dynamic=False)
    else:
        network.compile(mode=mode, dynamic=False)


def is_compiled(network: nn.Module) -> bool:
    """Whether `compile_in_place` was called with it."""
    return network._compiled_call_impl is not None


def quick_mode(device: torch.device) -> str:
    """The mode of `torch.compile` that suits calls of one shape on a device."""
    return 'reduce-overhead' if device.type == 'cuda' else 'default'
