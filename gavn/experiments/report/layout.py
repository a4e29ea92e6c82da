"""Layout of the paper's tables: tasks and levels, methods and ablations in order, columns."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gavn.metrics.table import COLUMNS


@dataclass(frozen=True)
class Task:
    """A task of the paper's table 1."""

    token: str  # in names of option files
    title: str  # in tables
    layer: str  # of the data set with its input
    parameter: str  # of the levels of table 2
    levels: dict[str, int]  # layer -> level


TASKS = {task.token: task for task in (
    Task('car', 'Compression Artifact Removal', 'car_crf45', 'CRF', {f'car_crf{n}': n for n in (35, 40, 45)}),
    Task('deblur', 'Deblur', 'blur', 'kernel in pixels', {f'blur_k{n}': n for n in (17, 21, 25)}),
    Task('sr', 'Super Resolution', 'sr', 'factor', {f'sr_x{n}': n for n in (2, 4, 8)}),
)}
LEVELS = {layer: task for task in TASKS.values() for layer in task.levels}
REAL = ''  # degradation of real videos without ground truth

GAVN = 'GAVN'
METHODS = {'DBPN': 'dbpn', 'EDVR': 'edvr', 'EDVR-L': 'edvr_l', 'BasicVSR++': 'basicvsrpp',
           'DAVD-Net': 'davdnet', 'DAVD-Net (ours)': 'davdnet', 'VRT': 'vrt', GAVN: 'gavn'}
"""Methods in the paper's order -> their tokens in names of option files."""
COMPARED = ('DBPN', 'EDVR', 'BasicVSR++', 'DAVD-Net (ours)', 'VRT', GAVN)  # tables 1 and 4
SWEPT = ('EDVR', 'BasicVSR++', 'DAVD-Net (ours)', GAVN)  # table 2
ABLATIONS = {'GAVN w/o IF': 'wo_if', 'GAVN w/o AF': 'wo_af', 'GAVN zero audio (trained)': 'zero_audio',
             'GAVN shuffled audio (trained)': 'shuffled_audio', 'GAVN zero audio (test only)': 'silenced',
             'GAVN shuffled audio (test only)': 'other_voice', 'GAVN inject': 'inject', GAVN: ''}
"""Rows of table 3 -> their tokens in names of option files."""


def in_order(methods: Iterable[str]) -> list[str]:
    """Returns methods in the order of tables, each once: the paper's, then the others."""
    order = {name: place for place, name in enumerate(METHODS)}
    return sorted(dict.fromkeys(methods), key=lambda name: order.get(name, len(METHODS)))


QUALITY = ('psnr', 'ssim', 'ms_ssim', 'lpips', 'sync_c', 'sync_d')  # tables 1 and 3
NATURAL = ('niqe', 'sync_c', 'sync_d')  # table 4
PAPER_DECIMALS = 4  # of all figures in the paper


def decimals(measure: str) -> int:
    """Decimals of a metric's figures, as in the paper if it has the metric."""
    return PAPER_DECIMALS if measure in (*QUALITY, *NATURAL) else COLUMNS[measure].decimals
