"""Replacement of basicsr.utils.dist_util.init_dist."""
import os
import subprocess
from typing import Any

import torch
import torch.distributed as dist


def init_dist(launcher: str, port: int | None = None, **options: Any) -> None:
    """Joins the process group of launcher `pytorch` (torchrun) or `slurm`.

    Defect: basicsr selects the GPU by `rank % device_count`, which is wrong for machines with different
    numbers of GPUs and divides by zero on a CPU. It accepts the backend nccl only.

    Args:
        launcher: `pytorch` or `slurm`.
        port: of the first host, for Slurm. Default: MASTER_PORT, else 29500.
        **options: of `torch.distributed.init_process_group`, `backend` for instance.
    """
    if launcher == 'slurm':
        _set_slurm_environment(port)
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    dist.init_process_group(**{'backend': 'nccl' if has_gpu else 'gloo', **options})


def _set_slurm_environment(port: int | None) -> None:
    """Sets torch's environment variables from Slurm's. The first host of the job is the master."""
    env = os.environ
    hosts = subprocess.run(['scontrol', 'show', 'hostnames', env['SLURM_NODELIST']],
                           capture_output=True, text=True, check=True)
    env['MASTER_ADDR'] = hosts.stdout.splitlines()[0]
    env['MASTER_PORT'] = str(port or env.get('MASTER_PORT', 29500))
    env.update(RANK=env['SLURM_PROCID'], WORLD_SIZE=env['SLURM_NTASKS'], LOCAL_RANK=env['SLURM_LOCALID'])
