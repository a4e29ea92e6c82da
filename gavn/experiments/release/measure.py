"""Measures pretrained weights, their choice by `auto`, and other methods on speakers unseen in training."""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from gavn.checkpoints import pretrained
from gavn.data.av_video_dataset import AVVideoDataset, Clip
from gavn.experiments.release.peers import PEERS
from gavn.media import compress
from gavn.metrics.clip_metrics import metric_factories
from gavn.metrics.evaluate import RESTORED, ClipScores, EvaluatedFrame, evaluate_clip
from gavn.metrics.results_file import DEGRADED, ResultRow, RunInfo, read_results, write_results
from gavn.metrics.table import STANDARD
from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.degradation import estimate
from gavn.restoration.restorer import Restorer
from gavn.restoration.weight_selection import weights_for

AUTO = 'auto'
RESULTS = 'validation.csv'
FIGURES = ('psnr', 'ssim', 'psnr_mouth')
LAYERS = ('car_crf45', 'blur', 'sr_x4', 'sr', 'call', 'mixed', 'mixed_v1')
STORED = {'clean': 'gt', 'blur_stored': 'blur', 'sr_stored': 'sr_x4'}
"""Name -> layer that is encoded once more at high quality."""
_STORED_CRF = 18
_SAMPLES = 16  # frames of a clip that `auto` classifies

ALL_LAYERS = (*LAYERS, *STORED)
ALL_METHODS = (*pretrained.WHAT, AUTO, *(peer.name for peer in PEERS))
ALONE, SILENT = ', each frame alone', ', silent'
CONTROLS = tuple(name + control for name in pretrained.WHAT for control in (ALONE, SILENT))
"""Pretrained weights without the neighbouring frames, or without the audio."""

Frames = Iterator[np.ndarray]
_Restore = Callable[[Clip], Frames]


def measure(root: str | Path, layers: Collection[str] = ALL_LAYERS, methods: Collection[str] = ALL_METHODS,
            frames: int | None = None) -> Path:
    """Measures methods on degradations and replaces their rows in the results file; other rows stay.

    Prints a line and writes the results after each layer and method, so that a long run may be stopped.

    Args:
        root: a prepared data set with these layers.
        layers: degradations, of `LAYERS` and `STORED`.
        methods: of `ALL_METHODS` and `CONTROLS`.
        frames: of each clip, from its first. None: all.

    Returns:
        The results file: a row for each clip, layer and method.

    Raises:
        MissingPackageError: a selected peer is not installed.
    """
    path = pretrained.FOLDER / RESULTS
    for layer in layers:
        for method, restore in _restorers(layer, methods):
            rows = [row for clip in _clips(root, layer, frames)
                    for row in _scores(clip, restore).rows(RunInfo(Path(root).name, layer, method), clip.key)]
            _merge(path, rows)
            print(_summary(layer, method, rows))
    return path


def _restorers(layer: str, methods: Collection[str]) -> Iterator[tuple[str, _Restore]]:
    """The methods for a layer: all of gavn's, and some others."""
    for name in pretrained.list_pretrained():
        forms: dict[str, Callable[[Restorer], _Restore]] = {'': _ours, ALONE: _alone, SILENT: _silent}
        for suffix in (suffix for suffix in forms if name + suffix in methods):
            yield name + suffix, forms[suffix](Restorer.from_pretrained(name))
    if AUTO in methods:
        restorer = AutoRestorer()
        yield AUTO, lambda clip: _chosen(clip, restorer)
    for peer in PEERS:
        if peer.name in methods and layer in peer.layers:
            yield peer.name, peer.restore


def _ours(restorer: Restorer) -> _Restore:
    return lambda clip: restorer.restore(_inputs(clip), clip.audio)


def _alone(restorer: Restorer) -> _Restore:
    """Each frame is a clip of its own, so its neighbours are copies of it."""
    def restore(clip: Clip) -> Frames:
        for frame, window in zip(_inputs(clip), clip.audio, strict=True):
            yield from restorer.restore([frame], [window])
    return restore


def _silent(restorer: Restorer) -> _Restore:
    return lambda clip: restorer.restore(_inputs(clip))


def _chosen(clip: Clip, restorer: AutoRestorer) -> Frames:
    """Restores a clip with the weights that `auto` chooses, or returns it unchanged."""
    found = estimate(clip.lq(i) for i in range(0, clip.n_frames, max(1, clip.n_frames // _SAMPLES)))
    if found.kind == 'clean':
        return _inputs(clip)
    return _ours(restorer.named(weights_for(found)))(clip)


def _clips(root: str | Path, layer: str, frames: int | None) -> Iterator[Clip]:
    data = AVVideoDataset({'root': str(root), 'degradation': STORED.get(layer, layer), 'max_frames': frames})
    for index in range(len(data)):
        clip = data.clip(index)
        if layer in STORED:
            images = compress(list(_inputs(clip)), _STORED_CRF)
            clip = replace(clip, lq=images.__getitem__)
        yield clip


def _inputs(clip: Clip) -> Frames:
    return (clip.lq(i) for i in range(clip.n_frames))


def _scores(clip: Clip, restore: _Restore) -> ClipScores:
    states = metric_factories({key: STANDARD[key] for key in FIGURES}, 'cpu')
    truth, points = clip.gt, clip.landmarks
    assert truth is not None and points is not None, 'the data set folder has both'
    frames = (EvaluatedFrame(image, clip.lq(i), truth(i), true_landmarks=points[i])
              for i, image in enumerate(restore(clip)))
    return evaluate_clip(frames, states, subjects=(RESTORED, DEGRADED))


def _merge(path: Path, rows: list[ResultRow]) -> None:
    def key(row: ResultRow) -> tuple[str, str, str]:
        return row.run.degradation, row.run.method, row.clip
    old = [row for row in read_results(path) if row.is_clip] if path.exists() else []
    write_results(path, ({key(row): row for row in old} | {key(row): row for row in rows}).values())


def _value(row: ResultRow, figure: str) -> float:
    value = row.values[figure]
    assert value is not None, f'{row.clip} has no {figure}'
    return value


def _summary(layer: str, method: str, rows: list[ResultRow]) -> str:
    """Mean gains over the input, and the smallest gain of a clip in PSNR."""
    before = {row.clip: row for row in rows if row.run.method == DEGRADED}
    restored = [row for row in rows if row.run.method == method]
    gains = {figure: [_value(row, figure) - _value(before[row.clip], figure) for row in restored]
             for figure in FIGURES}
    means = ', '.join(f'{np.mean(values):+.4f} {figure}' for figure, values in gains.items())
    return f'{layer}, {method}: {means}; worst clip {min(gains["psnr"]):+.2f} dB'
