"""Metrics, and the one place where a clip is measured; importing this room fills METRIC_REGISTRY."""
from gavn.metrics import evaluate, measures
from gavn.metrics.frame import frame_metric, niqe, psnr, ssim
from gavn.metrics.table import METRICS, Metric, metric_of

__all__ = ['METRICS', 'Metric', 'evaluate', 'frame_metric', 'measures', 'metric_of', 'niqe', 'psnr', 'ssim']
