"""The table of measures: what each judges, in which direction, and what it looks at."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A measure by the name it has in option files.

    `level` is what it judges at once (frame or clip), `better` the direction (higher or lower), `needs` what
    it looks at beside the restored pictures: truth, landmarks or audio.
    """

    name: str
    level: str
    better: str
    needs: tuple[str, ...]


METRICS = {metric.name: metric for metric in (
    Metric('calculate_psnr', 'frame', 'higher', ('truth',)),
    Metric('calculate_ssim', 'frame', 'higher', ('truth',)),
    Metric('calculate_niqe', 'frame', 'lower', ()),
    Metric('landmark_nme', 'frame', 'lower', ('landmarks',)),
)}
