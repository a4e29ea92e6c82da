"""The networks that GAVN is compared with, very small, and models that train them without a loop."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_run
import torch
import torch.nn.functional as F
from basicsr.models import build_model
from torch import Tensor, nn

from gavn.basicsr_patches.data_data_sampler import seed_iteration
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.models import AVVideoModel


@dataclass(frozen=True)
class Peer:
    """What its option file says of a network: `network_g`, `network_inputs` and the windows of its data."""

    network: dict[str, Any]
    num_frame: int
    gt_frames: str
    inputs: tuple[str, ...] = ('lq',)


PEERS = {
    'DBPN': Peer({'base_filter': 4, 'feat': 8, 'num_stages': 3, 'same_size': True}, 3, 'all'),
    'EDVR': Peer({'num_feat': 8, 'deformable_groups': 2, 'num_extract_block': 1, 'num_reconstruct_block': 1,
                  'hr_in': True, 'with_predeblur': True}, 5, 'center'),
    'BasicVSRPlusPlus': Peer({'mid_channels': 8, 'num_blocks': 1, 'is_low_res_input': False, 'min_side': 32,
                              'window': 5, 'context': 1}, 4, 'all'),
    'VRT': Peer({'img_size': [4, 32, 32], 'window_size': [4, 4, 4], 'depths': [2] * 7 + [1, 1],
                 'indep_reconsts': [8], 'embed_dims': [16] * 9, 'num_heads': [2] * 9, 'mul_attn_ratio': 0.5,
                 'deformable_groups': 2}, 4, 'all'),
    'DAVDNet': Peer({'num_feat': 8, 'num_extract_block': 1, 'num_reconstruct_block': 1,
                     'deformable_groups': 2}, 5, 'center', ('lq', 'audio', 'region')),
}


def options(name: str, data: Path, folder: Path, **train: Any) -> dict[str, Any]:
    """The option file of a peer; `train` adds to that section."""
    peer = PEERS[name]
    opt = tiny_run.options(data, folder, folder, model_type='AVVideoModel',
                           network_g={'type': name, **peer.network}, network_inputs=list(peer.inputs))
    del opt['network_l'], opt['path']['pretrain_network_l'], opt['val']['metrics']['nme']
    opt['datasets']['train'].update(num_frame=peer.num_frame, gt_frames=peer.gt_frames)
    opt['train'].update(phases=[{'name': 'all', 'iters': 4, 'lr': 4e-4}], warmup_iter=-1, **train)
    return opt


def model_of(opt: dict[str, Any], folder: Path) -> AVVideoModel:
    """The model that the training loop would build of these options, writing to `folder`."""
    opt.update(is_train='train' in opt, dist=False, rank=0, world_size=1)
    opt['path'].update({name: str(folder / name) for name in ('models', 'training_states', 'visualization')},
                       experiments_root=str(folder))
    torch.manual_seed(1)
    return build_model(opt)


def batch_of(opt: dict[str, Any]) -> dict[str, Any]:
    data = AVClipDataset(opt['datasets']['train'])
    return torch.utils.data.default_collate([data[0], data[1]])


def step(model: AVVideoModel, batch: dict[str, Any], *iterations: int) -> None:
    for iteration in iterations:
        seed_iteration(0, 0, iteration)  # as the training loop does
        model.update_learning_rate(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)


def state_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(before: dict[str, torch.Tensor], network: nn.Module) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def drifting(n: int = 2, size: int = 32) -> tuple[Tensor, Tensor]:
    """Soft colours that drift, blurred with a standard deviation of two pixels; the sharp middle frame."""
    canvas = F.interpolate(torch.rand(n, 3, 24, 24), 96, mode='bicubic').mul(1.5).sub(0.25).clamp(0, 1)
    side = size + 16
    sharp = torch.stack([canvas[..., 2 * i:2 * i + side, i:i + side] for i in range(5)], dim=1)
    profile = torch.exp(-(torch.arange(-6.0, 7.0) ** 2) / 8)
    kernel = torch.outer(profile, profile)[None, None] / profile.sum() ** 2
    blurred = F.conv2d(sharp.flatten(0, 2)[:, None], kernel, padding=6).view_as(sharp)
    inner = (..., slice(8, -8), slice(8, -8))
    return blurred[inner], sharp[:, 2][inner]
