"""Devices and processes of a training: local ranks, SLURM, GPUs that are asked for."""
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from basicsr.models.base_model import BaseModel
from linear_training import StandInNet, parse, stock, write_options
from torch.nn.parallel import DistributedDataParallel

from gavn import basicsr_patches, basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.basicsr_patches import models_base_model, utils_options
from gavn.basicsr_patches.utils_dist_util import init_dist
from gavn.config.option_file import OptionError, OptionSource


def test_both_spellings_of_local_rank(tmp_path: Path) -> None:
    assert parse(write_options(tmp_path), '--local-rank=1')['name'] == 'stand_in'
    assert parse(write_options(tmp_path), '--local_rank=1')['name'] == 'stand_in'


def test_the_gpu_is_the_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {}
    for key, value in {'RANK': '5', 'LOCAL_RANK': '2'}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda device: chosen.update(device=device))
    monkeypatch.setattr(dist, 'init_process_group', lambda **settings: chosen.update(settings))
    stock('utils.dist_util')._init_dist_pytorch('nccl')
    assert chosen['device'] == 1  # of rank 5 where the first machine holds 3 processes
    init_dist('pytorch')
    assert chosen == {'device': 2, 'backend': 'nccl'}


def test_processes_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '1')
    with pytest.raises((ZeroDivisionError, AssertionError, RuntimeError)):
        stock('utils.dist_util')._init_dist_pytorch('gloo')
    init_dist('pytorch', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        basicsr_patches.apply()
        model = BaseModel({'num_gpu': 0, 'is_train': True, 'dist': True})
        wrapped = model.model_to_device(StandInNet())
        assert isinstance(wrapped, DistributedDataParallel)
        wrapped(torch.ones(2, 3, 4, 4)).sum().backward()
    finally:
        dist.destroy_process_group()


def test_slurm_on_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / 'scontrol').write_text('#!/bin/sh\necho node3\necho node4\n')
    (tmp_path / 'scontrol').chmod(0o755)
    slurm = {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1', 'SLURM_NODELIST': 'node[3-4]',
             'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'RANK': '', 'WORLD_SIZE': '', 'LOCAL_RANK': '',
             'MASTER_ADDR': '', 'MASTER_PORT': ''}
    for key, value in slurm.items():
        monkeypatch.setenv(key, value)
    joined = {}
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(dist, 'init_process_group', lambda **settings: joined.update(settings))
    init_dist('slurm', port=1234)
    assert joined == {'backend': 'gloo'}
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
    assert [os.environ[name] for name in names] == ['3', '4', '1', 'node3', '1234']


def test_a_gpu_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert parse(write_options(tmp_path))['num_gpu'] == 0
    for wrong in (2, -1):
        with pytest.raises(OptionError, match=rf'num_gpu is {wrong}, this machine has 0'):
            parse(write_options(tmp_path, num_gpu=wrong))


def test_gpus_of_several_machines_may_be_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    assert utils_options._gpus(8, OptionSource('x.yml'), launched=True) == 8
    with pytest.raises(OptionError, match='num_gpu is 8, this machine has 4'):
        utils_options._gpus(8, OptionSource('x.yml'), launched=False)


def test_data_parallel_takes_as_many_gpus_as_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock spreads over all, with batches for `num_gpu`."""
    asked = {}
    monkeypatch.setattr(models_base_model, 'DataParallel',
                        lambda net, device_ids: asked.update(ids=device_ids))
    model = SimpleNamespace(opt={'dist': False, 'num_gpu': 2}, device=torch.device('cpu'))
    models_base_model.model_to_device(model, StandInNet())
    assert asked == {'ids': [0, 1]}
