"""SSIM and MS-SSIM of many pictures at once, on whatever device they lie.

On a CPU the Gaussian means are OpenCV's, in float32; elsewhere two convolutions in float64, which nothing
rounds to a shorter type. Both give BasicSR's SSIM and the package pytorch-msssim's MS-SSIM to 1e-5.
"""
import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = cv2.getGaussianKernel(11, 1.5)
LEAST = len(WINDOW)  # pixels a side for SSIM
HALVED = (LEAST - 1) * 16  # pixels that a window becomes on the finest of five scales
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # how much each counts, from fine to coarse
_REACH = LEAST // 2
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@torch.inference_mode()
def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of pictures (n, c, h, w) in 0..255, (n,), each at most 1.

    Gaussian window of 11 x 11, sigma 1.5, where it lies inside the picture; mean over the channels.
    """
    luminance, structure = _terms(x, y)
    return (luminance * structure).mean((1, 2, 3), dtype=torch.float64).clamp(max=1)


@torch.inference_mode()
def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity on five scales (Wang et al. 2003), (n,); pictures (n, c, h, w) in 0..255.

    Sides above `HALVED` pixels. Each scale is the one before it in means of 2 x 2, with zeros beside an odd
    side, as the package has it.
    """
    x, y = (pictures.to(_type(pictures)) for pictures in (x, y))
    product = torch.ones(x.shape[:2], dtype=torch.float64, device=x.device)
    for level, weight in enumerate(SCALES):
        luminance, structure = _terms(x, y)
        last = level == len(SCALES) - 1
        value = (luminance * structure if last else structure).mean((2, 3), dtype=torch.float64)
        product *= value.relu() ** weight
        if not last:
            x, y = _halved(x), _halved(y)
    return product.mean(1).clamp(max=1)


def _halved(planes: Tensor) -> Tensor:
    """Means of 2 x 2; torch's own pooling took five times as long on a CPU."""
    odd = [side % 2 for side in planes.shape[2:]]
    if any(odd):
        planes = F.pad(planes, (odd[1], odd[1], odd[0], odd[0]))
    height, width = (side // 2 * 2 for side in planes.shape[2:])
    rows = planes[..., 0:height:2, :] + planes[..., 1:height:2, :]
    return (rows[..., 0:width:2] + rows[..., 1:width:2]) / 4


def _type(pictures: Tensor) -> torch.dtype:
    return torch.float32 if pictures.device.type == 'cpu' else torch.float64


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM around every pixel whose window lies inside, (n, c, h - 10, w - 10) each.

    Each is written as one less what the difference u = x - y takes away (2 cov(x, y) is var(x) + var(y) -
    var(u)), which is small where rounding would show: in flat parts.
    """
    middle_x, middle_y = (pictures.mean((2, 3), keepdim=True, dtype=_type(x)) for pictures in (x, y))
    planes = torch.empty((4, *x.shape), dtype=_type(x), device=x.device)  # memory costs most here
    torch.sub(x, middle_x, out=planes[0])  # float32 keeps more digits of what is left
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
    return _filtered(planes) if planes.device.type == 'cpu' else _convolved(planes)


def _filtered(planes: Tensor) -> Tensor:
    """By OpenCV, all planes below each other: the rows that see two of them are cut off."""
    tall = planes.reshape(-1, planes.shape[-1]).numpy()
    found = torch.from_numpy(cv2.sepFilter2D(tall, cv2.CV_32F, WINDOW, WINDOW)).view_as(planes)
    return found[..., _REACH:-_REACH, _REACH:-_REACH]


def _convolved(planes: Tensor) -> Tensor:
    n, c, h, w = planes.shape
    window = torch.from_numpy(WINDOW[:, 0]).to(planes)
    rows = F.conv2d(planes.reshape(n * c, 1, h, w), window.view(1, 1, -1, 1))
    return F.conv2d(rows, window.view(1, 1, 1, -1)).view(n, c, h - LEAST + 1, w - LEAST + 1)
