"""`scripts/gpu/run.py` to its end on any machine, with a small network."""
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from option_files import load

from gavn.audio.mfcc import mfcc
from gavn.data.clip_store import ClipEntry, ClipWriter
from gavn.data.portable import pack_data_set
from gavn.data.preparation import statistics
from gavn.restoration.restorer import Restorer

pytest.importorskip('skimage', reason='the drawn heads need a photograph: pip install "gavn[demo]"')
ROOT = Path(__file__).resolve().parents[2]


def pack_heads(folder: Path) -> Path:
    from gavn.experiments.synthetic.head import make_clip
    writer = ClipWriter(folder / 'data')
    for split, identity in (('train', 'ada'), ('val', 'ben')):
        clip = make_clip(identity, seed=1, seconds=0.4)
        features = mfcc(clip.audio).numpy()
        writer.frames('gt', identity, clip.frames)
        writer.array('landmarks', identity, clip.landmarks)
        writer.array('mfcc', identity, features)
        writer.meta(split, [ClipEntry(identity, len(clip.frames), (224, 224, 3))])
    writer.stats(statistics([features]))
    pack_data_set(folder / 'data', folder / 'heads.zip', {'train': None, 'val': 2})
    return folder / 'heads.zip'


def small_options(folder: Path) -> Path:
    options = load('pretrained/train_gavn_wide')
    options['network_g'] |= {'num_feat': 8, 'num_extract_block': 1, 'num_reconstruct_block': [1, 1]}
    options['datasets'] = {name: options['datasets'][name] for name in ('train', 'val')}
    options['datasets']['train'] |= {'degradation': ['blur', 'gt'], 'crop_size': 32, 'num_worker_per_gpu': 0,
                                     'prefetch_mode': None, 'pin_memory': False}
    options['datasets']['val'] |= {'degradation': 'blur', 'max_frames': 1}
    file = folder / 'small.yml'
    file.write_text(yaml.safe_dump(options), encoding='utf-8')
    return file


@pytest.mark.slow
def test_a_run_ends_in_time_with_weights_and_tables(tmp_path):
    budget = 300
    heads, options = pack_heads(tmp_path), small_options(tmp_path)
    command = (sys.executable, str(ROOT / 'scripts/gpu/run.py'), str(heads), '--opt', str(options), '-o',
               str(tmp_path / 'out'), '--budget', str(budget), '--step', '20', '--workers', '1',
               '--batches', '1', '2')
    done = subprocess.run(command, capture_output=True, text=True, timeout=budget + 30)
    out = tmp_path / 'out'
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in out.iterdir()} == {'summary.md', 'weights.safetensors', 'train.yml',
                                                     'logs.zip'}
    assert Restorer.load(out / 'weights.safetensors', 'cpu')
    summary = (out / 'summary.md').read_text()
    for name in ('unpack', 'train_start', 'train', 'bundle'):
        assert f'| {name} | ok |' in summary, summary
    with zipfile.ZipFile(out / 'logs.zip') as logs:
        names = logs.namelist()
    assert {'train.log', 'tests.log', 'bench.log'} <= set(names)
    assert any('metrics/val_' in name for name in names)
