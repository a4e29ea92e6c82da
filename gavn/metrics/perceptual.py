"""LPIPS: how different two pictures look, by what a network for recognition makes of them."""
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from gavn.checkpoints.checkpoint import PathLike, load_state, load_strict
from gavn.metrics.missing import NotMeasurable, optional_package, weights_file
from gavn.runtime.tensors import to_tensor

MIN_SIDE = 31  # pixels; less does not survive AlexNet's pooling
_FEATURES = 'features.'


class LPIPS:
    """LPIPS (Zhang et al. 2018), version 0.1, over AlexNet; 0 for equal pictures, lower is better.

    The package `lpips` brings the linear layers. AlexNet's own weights, trained on ImageNet, are
    torchvision's and come from a file: nothing is downloaded here.

    Args:
        weights: torchvision's `alexnet-owt-7be5be79.pth`, or another file with the same names; by default the
            model that `gavn models fetch alexnet` brought.
        device: where it runs.

    Raises WeightsMissing where the weights or the package are absent, CheckpointError for a file that is not
    AlexNet's.
    """

    def __init__(self, weights: PathLike | None = None, device: torch.device | str = 'cpu') -> None:
        package = optional_package('lpips', 'evaluate')
        path = weights_file('alexnet', weights)
        self.device = device
        self.network = _untrained(package.LPIPS)
        _load_backbone(self.network.net, load_state(path), str(path))
        self.network.to(device).requires_grad_(False)

    @torch.inference_mode()
    def __call__(self, restored: np.ndarray, truth: np.ndarray) -> float:
        """Of two pictures, uint8 BGR (h, w, 3) of one size.

        Raises ValueError for pictures of different shapes, NotMeasurable for those under 31 pixels a side.
        """
        if restored.shape != truth.shape:
            raise ValueError(f'pictures of different shapes: {restored.shape} and {truth.shape}')
        height, width = truth.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise NotMeasurable(f'LPIPS needs {MIN_SIDE} pixels a side, got {width} x {height}')
        return float(self.network(*(to_tensor(image)[None].to(self.device) * 2 - 1  # RGB in [-1, 1]
                                    for image in (restored, truth))))


def _untrained(build: type[nn.Module]) -> nn.Module:
    """The package's network with its linear layers, over an AlexNet of random numbers, for evaluation.

    They are drawn beside the run's stream of random numbers. The package calls torch and torchvision in
    outdated ways, of which both warn.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return build(net='alex', version='0.1', pnet_rand=True, verbose=False)


def _load_backbone(slices: nn.Module, alexnet: dict[str, Tensor], name: str) -> None:
    """AlexNet's convolutions to where the package has them.

    It cuts torchvision's `features` into five slices and keeps the numbers of the layers: `features.3.weight`
    becomes `slice2.3.weight`. The classifier behind them is not used.
    """
    places = {key.partition('.')[2]: key for key in slices.state_dict()}
    features = {key.removeprefix(_FEATURES): value for key, value in alexnet.items()
                if key.startswith(_FEATURES)}
    load_strict(slices, {places.get(key, key): value for key, value in features.items()}, name)
