"""SSIM and MS-SSIM of batches of images on any device.

Gaussian means use OpenCV in float32 on a CPU and convolutions in float64 elsewhere. Both equal BasicSR's SSIM
and MS-SSIM of the package pytorch-msssim to 1e-5.
"""
import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = cv2.getGaussianKernel(11, 1.5)
WINDOW_SIZE = len(WINDOW)  # smallest side in pixels for SSIM
MS_MIN_SIDE = (WINDOW_SIZE - 1) * 16  # sides must be larger for MS-SSIM, which halves them four times
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights, from fine to coarse
_RADIUS = WINDOW_SIZE // 2
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@torch.inference_mode()
def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, eq. 13) with a Gaussian window of 11 x 11, sigma 1.5.

    Args:
        x, y: images (n, c, h, w) in 0..255.

    Returns:
        (n,), each at most 1: mean over channels and positions where the window lies inside the image.
    """
    luminance, structure = _terms(x, y)
    return (luminance * structure).mean((1, 2, 3), dtype=torch.float64).clamp(max=1)


@torch.inference_mode()
def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity on five scales (Wang et al. 2003).

    Each scale averages 2 x 2 pixels of the one before, with zero padding of odd sides as in pytorch-msssim.

    Args:
        x, y: images (n, c, h, w) in 0..255, sides above `MS_MIN_SIDE`.

    Returns:
        (n,), each at most 1.
    """
    x, y = (images.to(_type(images)) for images in (x, y))
    product = torch.ones(x.shape[:2], dtype=torch.float64, device=x.device)
    for level, weight in enumerate(SCALES):
        luminance, structure = _terms(x, y)
        last = level == len(SCALES) - 1
        value = (luminance * structure if last else structure).mean((2, 3), dtype=torch.float64)
        product *= value.relu() ** weight
        if not last:
            x, y = _downsample(x), _downsample(y)
    return product.mean(1).clamp(max=1)


def _downsample(planes: Tensor) -> Tensor:
    """Means of 2 x 2 pixels. torch's pooling takes five times as long on a CPU."""
    odd = [side % 2 for side in planes.shape[2:]]
    if any(odd):
        planes = F.pad(planes, (odd[1], odd[1], odd[0], odd[0]))
    height, width = (side // 2 * 2 for side in planes.shape[2:])
    rows = planes[..., 0:height:2, :] + planes[..., 1:height:2, :]
    return (rows[..., 0:width:2] + rows[..., 1:width:2]) / 4


def _type(images: Tensor) -> torch.dtype:
    return torch.float32 if images.device.type == 'cpu' else torch.float64


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM, (n, c, h - 10, w - 10) each.

    Each is computed as 1 minus a term of the difference u = x - y, with 2 cov(x, y) = var(x) + var(y) -
    var(u). The term is small in flat regions, where rounding would matter.
    """
    middle_x, middle_y = (images.mean((2, 3), keepdim=True, dtype=_type(x)) for images in (x, y))
    planes = torch.empty((4, *x.shape), dtype=_type(x), device=x.device)  # allocation is the slowest part
    torch.sub(x, middle_x, out=planes[0])  # float32 is more precise for centred values
    torch.sub(y, middle_y, out=planes[1])
    torch.sub(planes[0], planes[1], out=planes[2]).square_()
    torch.square(planes[0], out=planes[3]).addcmul_(planes[1], planes[1])
    mean_x, mean_y, differences, squares = _means(planes.flatten(0, 1)).unflatten(0, (4, -1))
    changes = differences - (mean_x - mean_y).square()  # var(u)
    variances = squares - mean_x.square() - mean_y.square()
    mean_x, mean_y = mean_x + middle_x, mean_y + middle_y
    luminance = 1 - (mean_x - mean_y).square() / (mean_x.square() + mean_y.square() + _C1)
    return luminance, 1 - changes / (variances + _C2)


def _means(planes: Tensor) -> Tensor:
    """Gaussian means of planes (n, c, h, w), (n, c, h - 10, w - 10)."""
    return _filter_with_opencv(planes) if planes.device.type == 'cpu' else _filter_with_torch(planes)


def _filter_with_opencv(planes: Tensor) -> Tensor:
    """Filters all planes as one tall image. Rows that mix two planes are cut off."""
    tall = planes.reshape(-1, planes.shape[-1]).numpy()
    filtered = torch.from_numpy(cv2.sepFilter2D(tall, cv2.CV_32F, WINDOW, WINDOW)).view_as(planes)
    return filtered[..., _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]


def _filter_with_torch(planes: Tensor) -> Tensor:
    n, c, h, w = planes.shape
    window = torch.from_numpy(WINDOW[:, 0]).to(planes)
    rows = F.conv2d(planes.reshape(n * c, 1, h, w), window.view(1, 1, -1, 1))
    return F.conv2d(rows, window.view(1, 1, 1, -1)).view(n, c, h - WINDOW_SIZE + 1, w - WINDOW_SIZE + 1)
