"""Several processes, on GPUs or on CPUs alone."""
import os
import subprocess
from typing import Any

import torch
import torch.distributed as dist
from basicsr.models.base_model import BaseModel
from basicsr.utils import dist_util
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def init_dist(launcher: str, port: int | None = None, **options: Any) -> None:
    """Joins the other processes: launcher `pytorch` (torchrun) or `slurm`.

    The stock function takes the GPU by `rank % device_count`, wrong on uneven machines and a division by zero
    on a CPU, and knows the backend nccl only.
    """
    if launcher == 'slurm':
        _adopt_slurm(port)
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    dist.init_process_group(**{'backend': 'nccl' if gpu else 'gloo', **options})


def _adopt_slurm(port: int | None) -> None:
    """Gives torch's environment variables the values of Slurm's; the first host of the job is the master."""
    env = os.environ
    hosts = subprocess.run(['scontrol', 'show', 'hostnames', env['SLURM_NODELIST']],
                           capture_output=True, text=True, check=True)
    env['MASTER_ADDR'] = hosts.stdout.splitlines()[0]
    env['MASTER_PORT'] = str(port or env.get('MASTER_PORT', 29500))
    env.update(RANK=env['SLURM_PROCID'], WORLD_SIZE=env['SLURM_NTASKS'], LOCAL_RANK=env['SLURM_LOCALID'])


def model_to_device(self: BaseModel, net: nn.Module) -> nn.Module:
    """Moves a network to the device and wraps it for several processes or for `num_gpu` GPUs.

    Stock asks for a GPU in every process, and spreads over all GPUs however many are asked for.
    """
    net = net.to(self.device)
    if self.opt['dist']:
        ids = [torch.cuda.current_device()] if self.device.type == 'cuda' else None
        unused = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net, device_ids=ids, find_unused_parameters=unused)
    count = self.opt['num_gpu']
    return DataParallel(net, device_ids=list(range(count))) if count > 1 else net


def install() -> None:
    """Puts the functions of this file in the place of the stock ones."""
    dist_util.init_dist = init_dist
    BaseModel.model_to_device = model_to_device
