"""Data sets, their folder and preparation. Importing this package fills BasicSR's DATASET_REGISTRY."""
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.av_video_dataset import AVVideoDataset

__all__ = ['AVClipDataset', 'AVVideoDataset']
