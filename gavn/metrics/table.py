"""Tables of metrics: inputs, columns, format."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from gavn.config.metric_calls import supplied_to

_NEEDS = {'img2': 'truth', 'landmarks': 'landmarks', 'true_landmarks': 'true_landmarks'}
STANDARD: dict[str, dict[str, Any]] = {
    'psnr': {'type': 'calculate_psnr'},
    'ssim': {'type': 'calculate_ssim'},
    'psnr_y': {'type': 'calculate_psnr', 'test_y_channel': True},
    'ssim_y': {'type': 'calculate_ssim', 'test_y_channel': True},
    'psnr_mouth': {'type': 'mouth_psnr'},
    'ms_ssim': {'type': 'calculate_ms_ssim'},
    'lpips': {'type': 'lpips'},
    'niqe': {'type': 'calculate_niqe'},
    'sync': {'type': 'sync'},
    'nme': {'type': 'landmark_nme'},
    'warp': {'type': 'warping_error'},
    'id': {'type': 'identity'},
}
"""Default entries of `val.metrics`."""


@dataclass(frozen=True)
class MetricInfo:
    """What is known of a metric.

    An entry `<key>: {type: <name>}` of `val.metrics` yields the columns `<key><ending>`.
    """

    name: str  # in option files
    better: str  # direction of the first column, higher or lower
    needs: tuple[str, ...]  # inputs beside the restored images: truth, landmarks, true_landmarks, audio
    endings: tuple[str, ...] = ('',)  # of the columns

    def columns(self, key: str) -> tuple[str, ...]:
        """Column names of an entry of `val.metrics`."""
        return tuple(f'{key}{ending}' for ending in self.endings)


METRICS = {metric.name: metric for metric in (
    MetricInfo('calculate_psnr', 'higher', ('truth',)),
    MetricInfo('calculate_ssim', 'higher', ('truth',)),
    MetricInfo('calculate_ms_ssim', 'higher', ('truth',)),
    MetricInfo('lpips', 'lower', ('truth',)),
    MetricInfo('calculate_niqe', 'lower', ()),
    MetricInfo('sync', 'higher', ('audio',), ('_c', '_d')),
    MetricInfo('mouth_psnr', 'higher', ('truth', 'true_landmarks')),
    MetricInfo('landmark_nme', 'lower', ('landmarks', 'true_landmarks'), ('', '_mouth')),
    MetricInfo('warping_error', 'lower', ()),
    MetricInfo('identity', 'higher', ('truth',)),
)}


def metric_of(name: str) -> MetricInfo:
    """Describes a registered metric of gavn, of basicsr or of a user.

    Metrics of basicsr and of users evaluate single frames, and their arguments tell what they need. Higher is
    better unless the function has an attribute `better` with the value `lower`.

    Raises:
        ValueError: no metric has this name.
    """
    if name in METRICS:
        return METRICS[name]
    registered = dict(iter(METRIC_REGISTRY))
    if name not in registered:
        raise ValueError(f'no metric is called {name!r}; there are {", ".join(registered)}')
    function = registered[name]
    needs = tuple(_NEEDS[argument] for argument in supplied_to(function, must=True) if argument in _NEEDS)
    return MetricInfo(name, getattr(function, 'better', 'higher'), needs)


@dataclass(frozen=True)
class ResultColumn:
    """Title, better direction and number of decimals of a column of results."""

    title: str
    better: str
    decimals: int


COLUMNS = {
    'psnr': ResultColumn('PSNR', 'higher', 2),
    'ssim': ResultColumn('SSIM', 'higher', 4),
    'psnr_y': ResultColumn('PSNR-Y', 'higher', 2),
    'ssim_y': ResultColumn('SSIM-Y', 'higher', 4),
    'psnr_mouth': ResultColumn('PSNR mouth', 'higher', 2),
    'ms_ssim': ResultColumn('MS-SSIM', 'higher', 4),
    'lpips': ResultColumn('LPIPS', 'lower', 4),
    'niqe': ResultColumn('NIQE', 'lower', 3),
    'sync_c': ResultColumn('Sync_c', 'higher', 3),
    'sync_d': ResultColumn('Sync_d', 'lower', 3),
    'nme': ResultColumn('Landmark input error (%)', 'lower', 2),
    'nme_mouth': ResultColumn('Mouth landmark input error (%)', 'lower', 2),
    'warp': ResultColumn('Warping error (10^-3)', 'lower', 4),
    'id': ResultColumn('ID', 'higher', 4),
}


def column_of(name: str) -> ResultColumn:
    """Format of a column. Others than those of `COLUMNS` have their name as title and three decimals."""
    return COLUMNS.get(name, ResultColumn(name, 'higher', 3))
