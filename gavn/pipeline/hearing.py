"""The sound of a video as the networks hear it."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from gavn.pipeline.report import Report
from gavn.utils.audio import SAMPLE_RATE, mfcc, mfcc_of_blocks
from gavn.utils.media import VideoInfo, iter_audio, silent_blocks

NOTABLE_GAP = 0.1  # seconds that sound may end before the picture without a word about it


def listen(source: Path, info: VideoInfo, report: Report) -> Tensor:
    """Cepstra (f, 13) of the sound, with silence where it is missing or ends before the picture."""
    blocks = iter_audio(source, SAMPLE_RATE)
    if blocks is None:
        report.notice(f'{source} has no sound track: its faces are restored as if they were silent')
        return mfcc(np.zeros(0))
    return mfcc_of_blocks(_to_the_end(blocks, source, info, report))


def _to_the_end(blocks: Iterable[np.ndarray], source: Path, info: VideoInfo, report: Report
                ) -> Iterator[np.ndarray]:
    """The blocks of sound, and zeros after them up to the end of the picture."""
    samples = 0
    for block in blocks:
        samples += len(block)
        yield block
    missing = info.duration - samples / SAMPLE_RATE
    if missing > NOTABLE_GAP:
        report.notice(f'the sound of {source} ends {missing:.1f} s before its picture; silence follows')
    yield from silent_blocks(round(missing * SAMPLE_RATE))
