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
    """Trains one GAVN network in the stages of the paper, given by `train.phases`.

    The first stage trains the temporal module with the head of the reconstruction (`temporal_only`). The
    second stage adds the identity module, first with the temporal module frozen, then with all modules.
    Frozen parameters do not change by a single bit. A frozen temporal module stores no activations, because
    neither its input nor its parameters require gradients.

    In several processes, `inject` with a `share_align` other than `all` leaves some parameters unused and
    needs `find_unused_parameters: true`.
    """

    def _idle(self, network: nn.Module, phase: Phase) -> set[str]:
        """In the first stage, the parameters of the identity module and of the feature transforms."""
        prefixes = self._second_stage_prefixes(network) if phase.temporal_only else ()
        return {name for name, _ in network.named_parameters() if name.startswith(prefixes)}

    @staticmethod
    def _second_stage_prefixes(network: nn.Module) -> tuple[str, ...]:
        """Prefixes of the parameters that the first stage does not use."""
        return tuple(f'{name}.' for name, module in network.named_modules()
                     if isinstance(module, FeatureTransform) or name == 'identity')

    def checkpoint_metadata(self) -> dict[str, Any]:
        """Adds the untrained parts of a first-stage checkpoint (see `load_trained`)."""
        metadata = super().checkpoint_metadata()
        untrained = list(self._second_stage_prefixes(self.get_bare_model(self.net_g)))
        return metadata | {WAITING: untrained} if self._forward_options() and untrained else metadata

    def _forward_options(self) -> dict[str, Any]:
        return {'temporal_only': True} if self._phase is not None and self._phase.temporal_only else {}

    def _network_to_release(self) -> tuple[dict[str, Any], nn.Module]:
        """In the first stage, a network without the identity module, which is not trained yet."""
        options, network = super()._network_to_release()
        if not self._forward_options():
            return options, network
        options = {**options, 'use_identity': False}
        stage = build_network(options)
        state = network.state_dict()
        stage.load_state_dict({key: state[key] for key in stage.state_dict()})
        return options, stage
