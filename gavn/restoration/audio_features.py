"""The sound of a video as the networks hear it."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from gavn.audio.mfcc import SAMPLE_RATE, StoredMFCC
from gavn.media import AudioGap, VideoInfo, iter_audio, silence_or_hole
from gavn.restoration.progress import Progress
from gavn.restoration.report import Report
from gavn.restoration.video_source import VideoSource

Block = np.ndarray | AudioGap
NOTABLE_GAP = 0.1  # seconds that sound may end before the picture without a word about it


def extract_features(
    film: VideoSource, report: Report, folder: Path, progress: Progress | None = None
) -> StoredMFCC:
    """Cepstra of the sound, in a file of `folder`; silence where it is missing or ends before the picture."""
    blocks = None if film.heard is None else iter_audio(film.heard, SAMPLE_RATE, True)
    if blocks is None:
        report.notice(f'{film.path} has no sound track that can be read: its faces are restored as if they '
                      'were silent')
        return silence(folder)
    blocks = blocks if progress is None else _counted(blocks, film.info, progress)
    return StoredMFCC(_to_the_end(blocks, film, report), folder)


def _counted(blocks: Iterable[Block], info: VideoInfo, progress: Progress) -> Iterator[Block]:
    """The blocks, each of which is told of in the frames that go with it."""
    samples, most = 0, info.frames or round(info.duration * info.frame_rate)
    for block in blocks:
        yield block
        samples += len(block)
        progress.step('listening', min(most, int(samples / SAMPLE_RATE * info.frame_rate) + 1), most)


def silence(folder: Path) -> StoredMFCC:
    """Cepstra of no sound."""
    return StoredMFCC([], folder)


def _to_the_end(blocks: Iterable[Block], film: VideoSource, report: Report) -> Iterator[Block]:
    """The blocks of sound, and zeros after them up to the end of the picture."""
    samples = 0
    for block in blocks:
        samples += len(block)
        yield block
    if not samples:
        report.notice(f'nothing of the sound of {film.heard} can be decoded: its faces are restored as if '
                      'they were silent')
        yield from silence_or_hole(round(film.info.duration * SAMPLE_RATE), SAMPLE_RATE)
        return
    missing = film.info.duration - samples / SAMPLE_RATE
    if missing > NOTABLE_GAP:
        report.notice(f'the sound of {film.heard} ends {missing:.1f} s before its picture; silence follows')
    elif film.sound is not None and -missing > NOTABLE_GAP:
        report.notice(f'the sound of {film.heard} goes on for {-missing:.1f} s after the picture; it is '
                      'copied whole')
    yield from silence_or_hole(round(missing * SAMPLE_RATE), SAMPLE_RATE)
