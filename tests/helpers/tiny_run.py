"""A tiny data set, tiny networks and option files for tests that train."""
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from gavn.archs.pfld_arch import PFLDAV
from gavn.data.clip_store import ClipEntry, ClipWriter

SIDE = 32
TRAIN = {'anna/one': 13, 'bob': 11}
VAL = {'carl': 7, 'dora/two': 2, 'emil': 1}
DETECTOR = {'type': 'PFLDAV', 'width': 0.125}
NETWORK = {'type': 'GAVN', 'num_feat': 8, 'radius': 0, 'num_extract_block': 1,
           'num_reconstruct_block': [1, 1], 'deformable_groups': 2}
PHASES = [
    {'name': 'temporal', 'epochs': 1, 'lr': 4e-4, 'train': ['temporal', 'reconstruction'],
     'temporal_only': True},
    {'name': 'warmup', 'iters': 2, 'lr': 4e-4, 'train': ['identity', 'reconstruction']},
    {'name': 'finetune', 'iters': 3, 'lr': 2e-4, 'train': ['temporal', 'identity', 'reconstruction']},
]


def make_data(root: Path, layers: Sequence[str] = ('blur',), side: int = SIDE) -> Path:
    """A data set folder of drifting noise, clean and blurred (under each name of `layers`); returns it."""
    draw = np.random.default_rng(0)
    writer = ClipWriter(root)
    for clip, length in {**TRAIN, **VAL}.items():
        noise = draw.integers(0, 256, (side + 48, side + 48, 3), dtype=np.uint8)
        texture = cv2.GaussianBlur(noise, (0, 0), 1.5)
        frames = [texture[i:i + side, 2 * i:2 * i + side] for i in range(length)]
        writer.frames('gt', clip, frames)
        for layer in layers:
            writer.frames(layer, clip, (cv2.GaussianBlur(frame, (5, 5), 0) for frame in frames))
        writer.array('mfcc', clip, draw.normal(size=(4 * length - 1, 13)).astype(np.float32))
        writer.array('landmarks', clip, draw.uniform(4, 28, (length, 68, 2)).astype(np.float32))
        writer.array('audio', clip, draw.integers(-9000, 9000, 640 * length).astype(np.int16))
    for split, clips in (('train', TRAIN), ('val', VAL)):
        writer.meta(split, [ClipEntry(clip, length, (side, side, 3)) for clip, length in clips.items()])
    writer.stats({'mfcc_mean': [0.5] * 13, 'mfcc_std': [2.0] * 13})
    return root


def make_detector(path: Path) -> Path:
    """Weights of an untrained landmark detector; returns their file."""
    torch.manual_seed(5)
    options = {key: value for key, value in DETECTOR.items() if key != 'type'}
    torch.save({'params': PFLDAV(**options).state_dict()}, path)
    return path


def options(data: Path, detector: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """An option file for training in four epochs of two iterations; `changes` replace whole sections."""
    val = {'name': 'val', 'type': 'AVVideoDataset', 'root': str(data), 'split': 'val', 'degradation': 'blur'}
    opt = {
        'name': 'tiny', 'model_type': 'GAVNModel', 'num_gpu': 0, 'manual_seed': 3,
        'network_inputs': ['lq', 'audio', 'landmarks', 'region'],
        'datasets': {
            'train': {'name': 'train', 'type': 'AVClipDataset', 'root': str(data), 'degradation': 'blur',
                      'num_frame': 5, 'gt_frames': 'valid', 'use_hflip': True, 'num_worker_per_gpu': 0,
                      'batch_size_per_gpu': 2},
            'val': val},
        'network_g': NETWORK, 'network_l': DETECTOR,
        'path': {'pretrain_network_l': str(detector), 'experiments_root': str(folder / 'experiments')},
        'train': {'ema_decay': 0.9, 'phases': PHASES, 'warmup_iter': 2, 'grad_clip': 0.5, 'offset_limit': 50,
                  'optim_g': {'type': 'Adam', 'betas': [0.9, 0.999], 'weight_decay': 0},
                  'pixel_opt': {'type': 'CharbonnierLoss', 'loss_weight': 1.0, 'eps': 1e-6}},
        'val': {'val_freq': 100,
                'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0},
                            'ssim': {'type': 'calculate_ssim', 'crop_border': 0},
                            'nme': {'type': 'landmark_nme'}}},
        'logger': {'print_freq': 2, 'save_checkpoint_freq': 100, 'use_tb_logger': False},
    }
    return copy.deepcopy({**opt, **changes})


def write(opt: dict[str, Any], path: Path) -> Path:
    """Writes an option file; returns it."""
    path.write_text(yaml.safe_dump(opt, sort_keys=False), encoding='utf-8')
    return path
