"""Metrics, and the one place where a clip is measured; importing this room fills METRIC_REGISTRY."""
from gavn.metrics import evaluate

__all__ = ['evaluate']
