"""What training loops share: which parameters move, and when a run has lost itself."""
import math
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn

from gavn.models.schedule import Phase
from gavn.ops import DeformableAlignPack, offset_magnitudes
from gavn.utils.errors import RunError
from gavn.utils.option_file import OptionError


class TrainingDiverged(RunError):  # noqa: N818 (it reads as what happened)
    """Training went wrong beyond repair; the message says what to change."""


def check_phases(network: nn.Module, phases: Iterable[Phase]) -> None:
    """Raises OptionError if a phase trains a part that the network does not have."""
    names = [name for name, _ in network.named_parameters()]
    for phase in phases:
        for prefix in phase.train:
            if not any(f'{name}.'.startswith(f'{prefix}.') for name in names):
                parts = ', '.join(name for name, _ in network.named_children())
                raise OptionError(f'train.phases, {phase.name}: train names {prefix!r}, but '
                                  f'{type(network).__name__} has no such part; it has {parts}')


def train_only(network: nn.Module, phase: Phase, idle: Collection[str] = ()) -> int:
    """Makes the parameters of a phase trainable and freezes the others, whose gradients are dropped.

    An optimizer skips parameters without a gradient, so that what is frozen stays as it is to the last bit.

    Args:
        network: not wrapped.
        phase: names what is trained.
        idle: names of parameters that the network does not use in this phase; frozen in any case.

    Returns how many numbers are trained.
    """
    count = 0
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(phase.trains(name) and name not in idle)
        parameter.grad = None
        count += parameter.numel() if parameter.requires_grad else 0
    return count


def parameter_groups(network: nn.Module, dcn_lr_mul: float = 1.0) -> list[tuple[list[nn.Parameter], float]]:
    """All parameters with what their learning rate is multiplied by: deformable layers with `dcn_lr_mul`.

    The groups do not depend on the factor, so that a run may resume with another.
    """
    deformable = {id(parameter) for module in network.modules() if isinstance(module, DeformableAlignPack)
                  for parameter in module.parameters()}
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for parameter in network.parameters():
        groups[id(parameter) in deformable].append(parameter)
    return [(groups[is_dcn], dcn_lr_mul if is_dcn else 1.0) for is_dcn in groups if groups[is_dcn]]


def read_offsets(network: nn.Module) -> Tensor | None:
    """The largest mean |offset| in pixels of any deformable layer since the last call; None without one."""
    magnitudes = offset_magnitudes(network)
    return torch.stack(list(magnitudes.values())).max() if magnitudes else None


def check_health(log: Mapping[str, float], iteration: int, offset_limit: float | None) -> None:
    """Raises TrainingDiverged if a value of the log is not finite, or the offsets are out of hand.

    Deformable networks are known to lose themselves for good once their offsets leave the picture.
    """
    lost = [name for name, value in log.items() if not math.isfinite(value)]
    if lost:
        raise TrainingDiverged(f'iteration {iteration}: {", ".join(lost)} is not finite. Resume from an '
                               'earlier state with a lower lr, a longer warmup_iter or a smaller grad_clip')
    offset = log.get('offset', 0.0)
    if offset_limit is not None and offset > offset_limit:
        raise TrainingDiverged(f'iteration {iteration}: a deformable layer moves its taps by {offset:.1f} '
                               f'pixels on average, above offset_limit: {offset_limit}. Resume from an '
                               'earlier state with a lower lr, dcn_lr_mul: 0.25 or a longer warmup_iter')
