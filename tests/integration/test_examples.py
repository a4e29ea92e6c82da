"""The notebooks in examples/ run from top to bottom, with small parameters in place of their own."""
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gavn.audio.rates import FRAME_RATE
from gavn.data.degradation import degrade
from gavn.media import VideoWriter

pytest.importorskip('skimage', reason='needs scikit-image, whose photograph is drawn from')
EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'
FRAMES, SIZE = 5, (320, 240)


def run_notebook(path: Path, **parameters: Any) -> dict[str, Any]:
    """Executes the code cells in order, `parameters` after the cell with that tag; returns all variables."""
    variables = {}
    for number, cell in enumerate(json.loads(path.read_text(encoding='utf-8'))['cells']):
        if cell['cell_type'] == 'code':
            exec(compile(''.join(cell['source']), f'{path.name}, cell {number}', 'exec'), variables)
            if 'parameters' in cell['metadata'].get('tags', ()):
                assert parameters.keys() <= variables.keys(), 'parameters that the notebook does not have'
                variables |= parameters
    return variables


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> tuple[Path, list[np.ndarray]]:
    """A blurred video of a drawn talking head, and its true frames (RGB)."""
    from gavn.experiments.synthetic.head import identities, make_clip, place_on_background
    drawn = make_clip(identities()[0], seed=1000, seconds=FRAMES / FRAME_RATE, words='test')
    frames = place_on_background(drawn, *SIZE)
    path = tmp_path_factory.mktemp('clip') / 'talk.mp4'
    with VideoWriter(path, *SIZE, FRAME_RATE, drawn.audio, crf=1) as writer:
        for image in degrade(frames, 'blur_k21', 'example')[0]:
            writer.write(image)
    return path, [image[..., ::-1] for image in frames]


def psnr(images: list[np.ndarray], truth: list[np.ndarray]) -> float:
    error = np.stack(images).astype(float) - np.stack(truth)
    return 10 * np.log10(255 ** 2 / np.square(error).mean())


def test_restore_frames_restores_a_blurred_clip(clip, capsys):
    video, truth = clip
    found = run_notebook(EXAMPLES / 'restore_frames.ipynb', video=str(video), task='mixed', count=FRAMES)
    frames, restored = found['frames'], found['restored']
    assert len(frames) == len(restored) == FRAMES
    assert psnr(restored, truth) > psnr(frames, truth) + 0.2
    assert found['comparison'].size == (2 * SIZE[0], 3 * SIZE[1])
    assert f'{FRAMES} frames of 320 x 240 at 25.00' in capsys.readouterr().out


def test_notebooks_are_stored_without_outputs():
    for path in EXAMPLES.glob('*.ipynb'):
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        assert not any(cell.get('outputs') or cell.get('execution_count') for cell in cells), path.name
