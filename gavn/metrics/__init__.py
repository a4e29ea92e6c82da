"""Metrics of frames and clips. Importing this package fills BasicSR's METRIC_REGISTRY."""
from gavn.metrics import clip_metrics, evaluate
from gavn.metrics.frame import niqe, psnr, ssim
from gavn.metrics.table import METRICS, MetricInfo, metric_of

__all__ = ['METRICS', 'MetricInfo', 'clip_metrics', 'evaluate', 'metric_of', 'niqe', 'psnr', 'ssim']
