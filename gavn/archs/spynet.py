"""What a flow network (SpyNet, Ranjan and Black, CVPR 2017) starts from."""

from basicsr.archs.spynet_arch import SpyNet
from torch import nn

from gavn.utils.checkpoint import PathLike, load_state, load_strict


def start_spynet(network: SpyNet, weights: PathLike | None) -> None:
    """Load published weights, or let the network see no motion at first.

    Random weights would displace everything by random amounts. Published files lack what pictures are
    normalised with, which is constant; checkpoints of networks have it.

    Raises CheckpointError if `weights` are absent, unreadable or not those of SpyNet.
    """
    if weights is not None:
        load_strict(network, {**dict(network.named_buffers()), **load_state(weights)}, str(weights))
        return
    for level in network.basic_module:
        last = level.basic_module[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
