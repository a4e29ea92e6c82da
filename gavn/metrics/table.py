"""The tables of measures: what each judges and looks at, and how its columns are called, ranked and shown."""
from dataclasses import dataclass

from basicsr.utils.registry import METRIC_REGISTRY

from gavn.metrics.registered_calls import supplied_to

_NEEDS = {'img2': 'truth', 'landmarks': 'landmarks', 'true_landmarks': 'true_landmarks'}


@dataclass(frozen=True)
class Metric:
    """A measure by the name it has in option files.

    `level` is what it judges at once (frame or clip), `better` the direction (higher or lower), `needs` what
    it looks at beside the restored pictures: truth, landmarks, true_landmarks or audio. An entry
    `<key>: {type: <name>}` of `val.metrics` gives the columns `<key><ending>`; `better` is the direction of
    the first.
    """

    name: str
    level: str
    better: str
    needs: tuple[str, ...]
    endings: tuple[str, ...] = ('',)

    def columns(self, key: str) -> tuple[str, ...]:
        """The columns of an entry of `val.metrics`."""
        return tuple(f'{key}{ending}' for ending in self.endings)


METRICS = {metric.name: metric for metric in (
    Metric('calculate_psnr', 'frame', 'higher', ('truth',)),
    Metric('calculate_ssim', 'frame', 'higher', ('truth',)),
    Metric('calculate_ms_ssim', 'frame', 'higher', ('truth',)),
    Metric('lpips', 'frame', 'lower', ('truth',)),
    Metric('calculate_niqe', 'frame', 'lower', ()),
    Metric('sync', 'clip', 'higher', ('audio',), ('_c', '_d')),
    Metric('mouth_psnr', 'frame', 'higher', ('truth', 'true_landmarks')),
    Metric('landmark_nme', 'frame', 'lower', ('landmarks', 'true_landmarks'), ('', '_mouth')),
    Metric('warping_error', 'clip', 'lower', ()),
    Metric('identity', 'frame', 'higher', ('truth',)),
)}


def metric_of(name: str) -> Metric:
    """What is known of a registered metric, ours, stock or a user's, which judges frames one by one.

    What such a one needs follows from its arguments. It counts up unless an attribute `better` of the
    function, or its entry in `val.metrics`, says `lower`. Raises ValueError for another name.
    """
    if name in METRICS:
        return METRICS[name]
    registered = dict(iter(METRIC_REGISTRY))
    if name not in registered:
        raise ValueError(f'no metric is called {name!r}; there are {", ".join(registered)}')
    function = registered[name]
    needs = tuple(_NEEDS[argument] for argument in supplied_to(function, must=True) if argument in _NEEDS)
    return Metric(name, 'frame', getattr(function, 'better', 'higher'), needs)


@dataclass(frozen=True)
class Column:
    """How a column of results is headed, which direction is better, and how many decimals are shown."""

    title: str
    better: str
    decimals: int


COLUMNS = {
    'psnr': Column('PSNR', 'higher', 2),
    'ssim': Column('SSIM', 'higher', 4),
    'psnr_y': Column('PSNR-Y', 'higher', 2),
    'ssim_y': Column('SSIM-Y', 'higher', 4),
    'psnr_mouth': Column('PSNR mouth', 'higher', 2),
    'ms_ssim': Column('MS-SSIM', 'higher', 4),
    'lpips': Column('LPIPS', 'lower', 4),
    'niqe': Column('NIQE', 'lower', 3),
    'sync_c': Column('Sync_c', 'higher', 3),
    'sync_d': Column('Sync_d', 'lower', 3),
    'nme': Column('Landmark input error (%)', 'lower', 2),
    'nme_mouth': Column('Mouth landmark input error (%)', 'lower', 2),
    'warp': Column('Warping error (10^-3)', 'lower', 4),
    'id': Column('ID', 'higher', 4),
}


def column_of(name: str) -> Column:
    """How a column is shown; one that is not in `COLUMNS` goes by its name, with three decimals."""
    return COLUMNS.get(name, Column(name, 'higher', 3))


STANDARD = {
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
"""The usual entries of `val.metrics`, from which the usual columns come."""
