"""The device that networks run on, and what it can compute."""
import torch

from gavn.errors import ExitCode, GavnError

SLOW_BFLOAT16 = 'bfloat16 may take ten times as long as float32: no instructions for it were found'


class DeviceError(GavnError):
    """The device is not available."""

    exit_code = ExitCode.USAGE


def find_device(name: str = 'auto') -> torch.device:
    """Returns a device; `auto` selects a GPU if there is one, else the CPU.

    Raises:
        DeviceError: the device is not available.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f'device {name} is not available ({str(error).splitlines()[0]})\n'
                          'use --device auto or cpu') from error
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Returns whether a device has known instructions for bfloat16. Others may emulate it, which is slow."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == 'cpu' and getattr(torch.cpu, '_is_avx512_bf16_supported', bool)()


def default_dtype(device: torch.device) -> str:
    """Returns `bfloat16` if the device has instructions for it, else `float32`."""
    return 'bfloat16' if has_bfloat16(device) else 'float32'
