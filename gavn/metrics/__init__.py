"""Metrics of frames and clips. Importing this package fills BasicSR's METRIC_REGISTRY."""
from gavn.metrics import evaluate, measures
from gavn.metrics.frame import frame_metric, niqe, psnr, ssim
from gavn.metrics.table import METRICS, MetricInfo, metric_of

__all__ = ['METRICS', 'MetricInfo', 'evaluate', 'frame_metric', 'measures', 'metric_of', 'niqe', 'psnr',
           'ssim']
