"""Training of GAVN in its two stages."""
from typing import Any

from basicsr.archs import build_network
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn

from gavn.archs.gavn_reconstruction import FeatureTransform
from gavn.checkpoints.checkpoint import WAITING
from gavn.models.av_video_model import AVVideoModel
from gavn.models.schedule import Phase


@MODEL_REGISTRY.register()
class GAVNModel(AVVideoModel):
    """One GAVN throughout, trained by `train.phases` as the paper has it.

    The first stage trains the temporal module with the head of the reconstruction (`temporal_only`). The
    second adds the identity module, at first with the temporal one frozen, then all together. Frozen
    parameters stay as they are to the last bit, and nothing is kept for the backward pass of a frozen
    temporal module: neither its input nor its parameters ask for gradients.

    In several processes, `inject` with a `share_align` other than `all` leaves some parameters unused and
    needs `find_unused_parameters: true`.
    """

    def _idle(self, network: nn.Module, phase: Phase) -> set[str]:
        """The feature transforms wait for identity features, as does the identity module itself."""
        waiting = self._waiting(network) if phase.temporal_only else ()
        return {name for name, _ in network.named_parameters() if name.startswith(waiting)}

    @staticmethod
    def _waiting(network: nn.Module) -> tuple[str, ...]:
        """Prefixes of what the first stage leaves out."""
        return tuple(f'{name}.' for name, module in network.named_modules()
                     if isinstance(module, FeatureTransform) or name == 'identity')

    def notes(self) -> dict[str, Any]:
        """Also, of a checkpoint of the first stage, what it holds untrained (see `load_trained`)."""
        waiting = list(self._waiting(self.get_bare_model(self.net_g))) if self._switches() else []
        return super().notes() | ({WAITING: waiting} if waiting else {})

    def _switches(self) -> dict[str, Any]:
        return {'temporal_only': True} if self._phase is not None and self._phase.temporal_only else {}

    def _released(self) -> tuple[dict[str, Any], nn.Module]:
        """In the first stage, the network of that stage: what is not trained yet must not restore."""
        options, network = super()._released()
        if not self._switches():
            return options, network
        options = {**options, 'use_identity': False}
        stage = build_network(options)
        state = network.state_dict()
        stage.load_state_dict({key: state[key] for key in stage.state_dict()})
        return options, stage
