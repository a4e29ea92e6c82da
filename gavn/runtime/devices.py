"""What a device can compute."""

import torch

SLOW_BFLOAT16 = 'bfloat16 may take ten times as long as float32: no instructions for it were found'


def has_bfloat16(device: torch.device) -> bool:
    """Returns whether a device has known instructions for bfloat16. Others may emulate it, which is slow."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == 'cpu' and getattr(torch.cpu, '_is_avx512_bf16_supported', bool)()
