"""The weights that come with the package: bundled, and measured on speakers that no training saw."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from gavn.data.av_video_dataset import AVVideoDataset, Clip
from gavn.data.degradation import compress_crf
from gavn.metrics.evaluate import RESTORED, ClipScores, EvaluatedFrame, evaluate_clip
from gavn.metrics.measures import instruments
from gavn.metrics.results_file import DEGRADED, RunInfo, write_results
from gavn.metrics.table import STANDARD
from gavn.pipeline.automatic import name_for
from gavn.pipeline.damage import estimate
from gavn.pipeline.restorer import Restorer
from gavn.utils import shipped
from gavn.utils.files import atomic_path, sha256
from gavn.utils.option_file import read_options

LAYERS = ('car_crf45', 'blur', 'sr', 'mixed', 'mixed_v1')
STORED, _STORED_CRF = {'clean': 'gt', 'blur_stored': 'blur', 'sr_stored': 'sr'}, 18
"""Layers as a good encoder leaves them, by the name that they then have."""
FIGURES = ('psnr', 'ssim', 'psnr_mouth')
AUTO = 'auto'
RESULTS = 'validation.csv'
_LOOKS = 8  # frames of a clip by which `auto` judges it


def make(name: str, opt_path: str | Path) -> Path:
    """Bundles what a training made, in 16 bits, with its options; returns the bundle.

    Args:
        name: of `shipped.WHAT`.
        opt_path: the option file of the training, whose experiment stands under the current folder.

    Raises what `Restorer.from_options` does, and ValueError for another name.
    """
    if name not in shipped.WHAT:
        raise ValueError(f'{name} is none of {", ".join(shipped.WHAT)}')
    target = shipped.FOLDER / f'{name}.safetensors'
    Restorer.from_options(opt_path, device='cpu').save(target, half=True)
    options, _ = read_options(opt_path)
    header = f'# The options that made {target.name}, merged from {Path(opt_path).as_posix()}.\n'
    _write(target.with_suffix('.yml'), header + yaml.safe_dump(options, sort_keys=False))
    sums = [f'{sha256(path)}  {path.name}\n' for path in sorted(shipped.FOLDER.glob('*.safetensors'))]
    _write(shipped.FOLDER / shipped.SUMS, ''.join(sums))
    return target


def measure(root: str | Path, frames: int, device: str = 'auto') -> Path:
    """Measures all weights that come with gavn, and their choice by `auto`, on clips for validation.

    Args:
        root: a prepared data set with the layers `LAYERS`; those of `STORED` are made of it.
        frames: of each clip, from its first.
        device: see `find_device`.

    Returns the file of results beside the weights: a row for each clip, layer and name of weights.
    """
    restorers: dict[str, Restorer | None] = {
        name: Restorer.from_pretrained(name, device) for name in shipped.names()}
    rows = {}
    for layer in (*LAYERS, *STORED):
        for clip in _clips(root, layer, frames):
            scores = {name: _scores(clip, restorer) for name, restorer in restorers.items()}
            chosen = _chosen(clip, lossless=layer not in STORED)
            scores[AUTO] = scores[chosen] if chosen else _scores(clip, None)
            for method, found in scores.items():
                for row in found.rows(RunInfo(Path(root).name, layer, method), clip.key):
                    rows[layer, row.run.method, clip.key] = row  # inputs are the same for all methods
    write_results(shipped.FOLDER / RESULTS, rows.values())
    return shipped.FOLDER / RESULTS


def _clips(root: str | Path, layer: str, frames: int) -> Iterator[Clip]:
    data = AVVideoDataset({'root': str(root), 'degradation': STORED.get(layer, layer), 'max_frames': frames})
    for index in range(len(data)):
        clip = data.clip(index)
        if layer in STORED:
            images = compress_crf([clip.lq(i) for i in range(clip.n_frames)], _STORED_CRF)
            clip = replace(clip, lq=images.__getitem__)
        yield clip


def _chosen(clip: Clip, lossless: bool) -> str | None:
    """The weights that `auto` takes; None leaves the clip as it is."""
    damage = estimate(clip.lq(i) for i in range(0, clip.n_frames, max(1, clip.n_frames // _LOOKS)))
    return None if damage.kind == 'clean' else name_for(damage, lossless)


def _scores(clip: Clip, restorer: Restorer | None) -> ClipScores:
    gauges = instruments({key: STANDARD[key] for key in FIGURES}, 'cpu')
    return evaluate_clip(_judged(clip, restorer), gauges, subjects=(RESTORED, DEGRADED))


def _judged(clip: Clip, restorer: Restorer | None) -> Iterator[EvaluatedFrame]:
    inputs = (clip.lq(i) for i in range(clip.n_frames))
    outputs = inputs if restorer is None else restorer.restore(inputs, clip.audio)
    for i, restored in enumerate(outputs):
        yield EvaluatedFrame(restored, clip.lq(i), clip.gt(i), true_landmarks=clip.landmarks[i])


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding='utf-8')
