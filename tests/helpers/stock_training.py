"""Trains by option files with basicsr's own trainer, unmodified or patched; a process of its own for tests.

    python tests/helpers/stock_training.py {stock,gavn} FOLDER FILE.yml ...

Each file trains for two iterations on FOLDER/data, with FOLDER/detector.pth, and with networks made small by
basicsr's own `--force_yml`.
Prints a line `FILE: ok` or `FILE: <error>` for each.
"""
import sys
import traceback
from pathlib import Path

import torch
import yaml

import gavn  # noqa: F401  (makes basicsr importable and registers with it)

import basicsr.train  # isort: skip

SMALL = {
    'GAVN': ['num_feat=8', 'radius=0', 'num_extract_block=1', 'num_reconstruct_block=[1,1]',
             'deformable_groups=2'],
    'EDVR': ['num_feat=8', 'deformable_groups=2', 'num_extract_block=1', 'num_reconstruct_block=1'],
    'DBPN': ['base_filter=4', 'feat=8', 'num_stages=2'],
    'BasicVSRPlusPlus': ['mid_channels=8', 'num_blocks=1', 'min_side=64'],
    'DAVDNet': ['num_feat=8', 'num_extract_block=1', 'num_reconstruct_block=1', 'deformable_groups=2'],
    'VRT': ['img_size=[6,64,64]', 'window_size=[6,4,4]', f'depths={[1] * 11}', f'embed_dims={[8] * 11}',
            f'num_heads={[2] * 11}', 'deformable_groups=2', 'indep_reconsts=[9,10]'],
}
FRAMES = {'GAVN': 5, 'BasicVSRPlusPlus': 7}


def changes(options: dict, root: Path, detector: Path) -> list[str]:
    """What the file says of data and sizes, in the small."""
    network = options['network_g']['type'] if 'network_g' in options else 'PFLDAV'
    entries = [f'datasets:{name}:root={root}' for name in options['datasets']]
    entries += ['num_gpu=0', 'datasets:train:num_worker_per_gpu=0', 'datasets:train:batch_size_per_gpu=2',
                'datasets:train:prefetch_mode=~',  # basicsr's own prefetching on a GPU needs one
                'train:total_iter=2', 'logger:print_freq=1', 'logger:use_tb_logger=false']
    entries += [f'network_g:{entry}' for entry in SMALL.get(network, ())]
    if network in FRAMES:
        entries.append(f'datasets:train:num_frame={FRAMES[network]}')
    if 'network_l' in options:
        entries.append('network_l:width=0.125')
    if network == 'GAVN':
        entries.append(f'path:pretrain_network_l={detector}')
    return entries


def train(file: Path, folder: Path, detector: Path) -> None:
    """Two iterations of one file; raises whatever basicsr raises."""
    options = yaml.safe_load(file.read_text(encoding='utf-8'))
    sys.argv = ['train.py', '-opt', str(file), '--force_yml', *changes(options, folder / 'data', detector)]
    basicsr.train.train_pipeline(str(folder))
    letter = 'g' if 'network_g' in options else 'l'
    weights = folder / f'experiments/{options["name"]}/models/net_{letter}_latest.pth'
    state = torch.load(weights, weights_only=True)['params_ema']
    assert all(bool(torch.isfinite(value).all()) for value in state.values())


def main(trainer: str, folder: Path, files: list[Path]) -> None:
    """Trains by each file in turn."""
    assert basicsr.train.parse_options.__module__ == 'basicsr.utils.options', 'basicsr is patched'
    for file in files:
        try:
            if trainer == 'gavn':
                from gavn import basicsr_patches, basicsr_plugin  # noqa: F401  (fills the registries)
                basicsr_patches.apply()
            train(file, folder, folder / 'detector.pth')
            print(f'{file.name}: ok', flush=True)
        except Exception as error:
            traceback.print_exc()
            print(f'{file.name}: {type(error).__name__}: {error}', flush=True)


if __name__ == '__main__':
    main(sys.argv[1], Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
