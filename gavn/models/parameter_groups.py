"""Trainable parameters of a phase, and groups of parameters with learning rates of their own."""
from collections.abc import Collection

from basicsr.archs import spynet_arch
from torch import nn

from gavn.archs.spynet import FlowNetwork
from gavn.models.schedule import Phase
from gavn.ops import DeformableAlignPack

FLOW_NETWORKS = (FlowNetwork, spynet_arch.SpyNet)


def train_only(network: nn.Module, phase: Phase, idle: Collection[str] = ()) -> int:
    """Makes the parameters of a phase trainable, freezes the others and removes all gradients.

    Optimizers skip parameters without a gradient, so that frozen parameters do not change by a single bit.

    Args:
        network: not wrapped.
        idle: names of parameters that the network does not use in this phase. They are frozen.

    Returns:
        Number of trained values.
    """
    count = 0
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(phase.trains(name) and name not in idle)
        parameter.grad = None
        count += parameter.numel() if parameter.requires_grad else 0
    return count


def parameter_groups(network: nn.Module, dcn_lr_mul: float = 1.0, flow_lr_mul: float = 1.0
                     ) -> list[tuple[list[nn.Parameter], float]]:
    """Groups of parameters and the factors of their learning rates.

    The groups do not depend on the factors, so that a run can resume with other factors.

    Args:
        network: not wrapped.
        flow_lr_mul: factor for the flow network (SpyNet).
    """
    kinds = ((DeformableAlignPack, dcn_lr_mul), (FLOW_NETWORKS, flow_lr_mul))
    kind_of = {id(parameter): kind for module in network.modules() for kind, _ in kinds
               if isinstance(module, kind) for parameter in module.parameters()}
    groups: list[tuple[list[nn.Parameter], float]] = []
    for kind, factor in ((None, 1.0), *kinds):
        members = [parameter for parameter in network.parameters() if kind_of.get(id(parameter)) is kind]
        if members:
            groups.append((members, factor))
    return groups
