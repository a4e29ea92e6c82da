"""Registers the networks, data sets, losses, metrics and models of gavn with BasicSR.

BasicSR imports this module at its first lookup after `import gavn` (see `gavn.basicsr_hook`). Code that lists
the registries imports it itself.
"""
from gavn.archs import basicsr_archs
from gavn.data import av_clip_dataset, av_video_dataset
from gavn.losses import pfld_loss
from gavn.metrics import clip_metrics
from gavn.models import av_video_model, gavn_model, landmark_model

__all__ = ['av_clip_dataset', 'av_video_dataset', 'av_video_model', 'basicsr_archs', 'clip_metrics',
           'gavn_model', 'landmark_model', 'pfld_loss']
