"""A good training option file, and ways to change and to check it."""
from pathlib import Path
from typing import Any

import yaml
from linear_training import StandInNet  # noqa: F401  (makes basicsr importable and registers)

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.basicsr_patches.utils_options import registries
from gavn.config.check import check_options
from gavn.config.option_file import read_options

TRAINING = """\
name: gavn_car
model_type: GAVNModel
scale: 1
num_gpu: auto
manual_seed: 0
datasets:
  train:
    name: voices
    type: AVClipDataset
    root: datasets/voices
    degradation: car_crf45
    num_frame: 7
    gt_frames: valid
    crop_size: ~
    io_backend: {type: auto}
    num_worker_per_gpu: 4
    batch_size_per_gpu: 8
    prefetch_mode: cuda
    pin_memory: true
  val:
    name: speakers
    type: AVVideoDataset
    root: datasets/voices
    degradation: car_crf45
network_g:
  type: GAVN
  num_feat: 64
network_l:
  type: PFLDAV
network_inputs: [lq, audio, landmarks, region]
path:
  pretrain_network_l: weights/pfld.pth
  strict_load_g: true
train:
  ema_decay: 0.999
  phases:
    - {name: temporal, epochs: 20, lr: 4e-4, train: [temporal, reconstruction], temporal_only: true}
    - {name: warmup, iters: 500, lr: 4e-4, train: [identity, reconstruction]}
  optim_g: {type: Adam, betas: [0.9, 0.999], weight_decay: 0}
  warmup_iter: 2000
  grad_clip: 0.5
  dcn_lr_mul: 0.25
  offset_limit: 50
  amp: bf16
  pixel_opt: {type: CharbonnierLoss, loss_weight: 1.0, reduction: mean, eps: 1e-6}
val:
  val_freq: 5e3
  metrics:
    psnr: {type: calculate_psnr, crop_border: 0, test_y_channel: false}
    nme: {type: landmark_nme, better: lower}
logger:
  print_freq: 100
  save_checkpoint_freq: 5000
  keep_checkpoints: 3
  use_tb_logger: true
""".replace('5e3', '5000')


def check(text: str, folder: Path, is_train: bool = True) -> None:
    file = folder / 'options.yml'
    file.write_text(text, encoding='utf-8')
    options, source = read_options(file)
    check_options(options, source, registries(), is_train)


def changed(place: str, value: Any, text: str = TRAINING) -> str:
    """The option file with a key 'train.phases.0.lr' set, or taken out by None."""
    options = yaml.safe_load(text.replace('4e-4', '4.0e-4').replace('1e-6', '1.0e-6'))
    *path, last = (int(part) if part.isdigit() else part for part in place.split('.'))
    section = options
    for part in path:
        section = section[part]
    if value is None:
        del section[last]
    else:
        section[last] = value
    return yaml.safe_dump(options, sort_keys=False)
