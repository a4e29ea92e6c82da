"""SSIM and MS-SSIM of two images, equal to BasicSR's SSIM and to pytorch-msssim's MS-SSIM to 1e-5."""
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = cv2.getGaussianKernel(11, 1.5)
WINDOW_SIZE = len(WINDOW)  # smallest side in pixels for SSIM
MS_MIN_SIDE = (WINDOW_SIZE - 1) * 16  # sides must be larger for MS-SSIM, which halves them four times
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights, from fine to coarse
_RADIUS = WINDOW_SIZE // 2
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004, eq. 13) with a Gaussian window of 11 x 11, sigma 1.5.

    Returns the mean over channels and positions where the window lies inside the images (h, w, c) in 0..255.
    """
    luminance, structure = _terms(_planes(x), _planes(y))
    return min(1.0, (luminance * structure).mean(dtype=torch.float64).item())


def ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Multi-scale structural similarity on five scales (Wang et al. 2003) of images (h, w, c) in 0..255."""
    planes = [_planes(x), _planes(y)]
    product = torch.ones(x.shape[2], dtype=torch.float64)
    for level, weight in enumerate(SCALES):
        planes = [_downsample(one) for one in planes] if level else planes
        luminance, structure = _terms(*planes)
        last = level == len(SCALES) - 1
        value = (luminance * structure if last else structure).mean((1, 2), dtype=torch.float64)
        product *= value.relu() ** weight
    return min(1.0, product.mean().item())


def _planes(image: np.ndarray) -> Tensor:
    """An image (h, w, c) as planes (c, h, w) in float32."""
    return torch.from_numpy(image).movedim(-1, 0).float().contiguous()


def _downsample(planes: Tensor) -> Tensor:
    """Means of 2 x 2 pixels, with zero padding of odd sides as in pytorch-msssim.

    torch's pooling takes five times as long.
    """
    odd = [side % 2 for side in planes.shape[1:]]
    planes = F.pad(planes, (odd[1], odd[1], odd[0], odd[0]))
    height, width = (side // 2 * 2 for side in planes.shape[1:])
    rows = planes[:, 0:height:2] + planes[:, 1:height:2]
    return (rows[..., 0:width:2] + rows[..., 1:width:2]) / 4


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM, (c, h - 10, w - 10) each.

    Each is computed as 1 minus a term of the difference u = x - y, with 2 cov(x, y) = var(x) + var(y) -
    var(u). The term is small in flat regions, where rounding would matter.
    """
    middle_x, middle_y = (planes.mean((1, 2), keepdim=True) for planes in (x, y))
    x, y = x - middle_x, y - middle_y  # float32 is more precise for centred values
    mean_x, mean_y, differences, squares = _means(
        torch.stack([x, y, (x - y).square(), x.square().addcmul_(y, y)]))
    changes = differences - (mean_x - mean_y).square()  # var(u)
    variances = squares - mean_x.square() - mean_y.square()
    mean_x, mean_y = mean_x + middle_x, mean_y + middle_y
    luminance = 1 - (mean_x - mean_y).square() / (mean_x.square() + mean_y.square() + _C1)
    return luminance, 1 - changes / (variances + _C2)


def _means(planes: Tensor) -> Tensor:
    """Gaussian means (..., h - 10, w - 10) of planes (..., h, w), filtered as one tall image.

    Rows that mix two planes are cut off.
    """
    tall = planes.reshape(-1, planes.shape[-1]).numpy()
    filtered = torch.from_numpy(cv2.sepFilter2D(tall, cv2.CV_32F, WINDOW, WINDOW)).view_as(planes)
    return filtered[..., _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
