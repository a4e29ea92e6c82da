"""Compilation of networks with torch.compile."""
import torch
from torch import nn

TRACED = 'eager'  # traces the network without compiling; checks whether it can be compiled
MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs', TRACED)


def compile_in_place(network: nn.Module, mode: str) -> None:
    """Compiles a network at its first call; parameter names do not change.

    Args:
        mode: a mode of `torch.compile`: default, reduce-overhead (CUDA graphs) or max-autotune; or TRACED.

    Compiling takes minutes for each input shape.
    """
    if mode == TRACED:
        network.compile(backend=mode, dynamic=False)
    else:
        network.compile(mode=mode, dynamic=False)


def is_compiled(network: nn.Module) -> bool:
    """Returns whether `compile_in_place` was called for a network."""
    return network._compiled_call_impl is not None


def default_mode(device: torch.device) -> str:
    """Returns the mode of `torch.compile` for inputs of one shape on a device."""
    return 'reduce-overhead' if device.type == 'cuda' else 'default'
