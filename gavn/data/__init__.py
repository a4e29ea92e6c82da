"""Data sets, their folder and preparation; fills BasicSR's DATASET_REGISTRY if BasicSR is installed."""
from gavn.registry import basicsr_installed

if basicsr_installed():  # degradations and preparation do without
    from gavn.data.av_clip_dataset import AVClipDataset
    from gavn.data.av_video_dataset import AVVideoDataset

    __all__ = ['AVClipDataset', 'AVVideoDataset']
