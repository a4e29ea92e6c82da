"""LPIPS: distance of two images in the features of a network."""
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from gavn.checkpoints.checkpoint import PathLike, load_state, load_strict
from gavn.metrics.frame import check_shapes
from gavn.metrics.missing import UndefinedMetricError, weights_file
from gavn.runtime.optional_packages import optional_package
from gavn.runtime.tensors import to_tensor

MIN_SIDE = 31  # pixels; AlexNet's pooling needs as many
_FEATURES = 'features.'


class LPIPS:
    """LPIPS (Zhang et al. 2018, arXiv:1801.03924), version 0.1, with AlexNet; 0 if equal, lower is better.

    The package `lpips` contains the linear layers. AlexNet's weights, trained on ImageNet, are torchvision's
    and come from a file. Nothing is downloaded.

    Args:
        weights: torchvision's `alexnet-owt-7be5be79.pth`, or a file with the same names. Default: the model
            of `gavn models fetch alexnet`.

    Raises:
        MissingWeightsError, MissingPackageError: weights or package are absent.
        CheckpointError: the file is not AlexNet's.
    """

    def __init__(self, weights: PathLike | None = None, device: torch.device | str = 'cpu') -> None:
        package = optional_package('lpips', 'evaluate', 'the metric lpips')
        path = weights_file('alexnet', weights)
        self.device = device
        self.network = _build_without_backbone(package.LPIPS)
        _load_backbone(self.network.get_submodule('net'), load_state(path), str(path))
        self.network.to(device).requires_grad_(False)

    @torch.inference_mode()
    def __call__(self, restored: np.ndarray, truth: np.ndarray) -> float:
        """Distance of two images, uint8 BGR (h, w, 3).

        Raises:
            ValueError: the shapes differ.
            UndefinedMetricError: a side is under 31 pixels.
        """
        check_shapes(restored, truth)
        height, width = truth.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise UndefinedMetricError(f'LPIPS needs {MIN_SIDE} pixels per side, got {width} x {height}')
        return float(self.network(*(to_tensor(image)[None].to(self.device) * 2 - 1  # RGB in [-1, 1]
                                    for image in (restored, truth))))


def _build_without_backbone(build: type[nn.Module]) -> nn.Module:
    """Builds the package's network with its linear layers and a random AlexNet, in eval mode.

    The random state of the run does not change. Deprecation warnings of the package are ignored.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return build(net='alex', version='0.1', pnet_rand=True, verbose=False)


def _load_backbone(slices: nn.Module, alexnet: dict[str, Tensor], name: str) -> None:
    """Loads AlexNet's convolutions.

    The package divides torchvision's `features` into five slices and keeps the layer numbers:
    `features.3.weight` becomes `slice2.3.weight`. The classifier is not used.
    """
    names = {key.partition('.')[2]: key for key in slices.state_dict()}
    features = {key.removeprefix(_FEATURES): value for key, value in alexnet.items()
                if key.startswith(_FEATURES)}
    load_strict(slices, {names.get(key, key): value for key, value in features.items()}, name)
