"""What training writes for other programs: wandb without a network."""
from pathlib import Path

import linear_training
import pytest
from linear_training import run, write_options

IN_THE_CURRENT_FOLDER = f"""
import sys
sys.path[:0] = {[str(Path(linear_training.__file__).parent), str(linear_training.ROOT)]}
import gavn.runtime.project
from pathlib import Path
gavn.runtime.project.project_root = Path.cwd
import linear_training
linear_training.main()
"""


def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('wandb', reason='needs wandb (the extra [wandb])')
    for key, value in {'WANDB_MODE': 'offline', 'WANDB_DIR': str(tmp_path)}.items():
        monkeypatch.setenv(key, value)
    settings = {'use_tb_logger': True, 'print_freq': 1, 'save_checkpoint_freq': 4, 'wandb': {'project': 'p'}}
    script = tmp_path / 'here.py'
    script.write_text(IN_THE_CURRENT_FOLDER)
    run('train', '-opt', str(write_options(tmp_path, logger=settings)), cwd=tmp_path, script=script)
    [kept] = tmp_path.glob('wandb/offline-run-*/run-*.wandb')
    content = kept.read_bytes()  # the scalars are read from tensorboard's folder
    assert b'l_pix' in content and str(tmp_path / 'tb_logger/stand_in').encode() in content
