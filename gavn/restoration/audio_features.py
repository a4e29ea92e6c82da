"""MFCC features of a video's audio track."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from pathlib import Path

import numpy as np

from gavn.audio.gaps import AudioGap, silence_or_gap
from gavn.audio.mfcc import SAMPLE_RATE, StoredMFCC
from gavn.media import VideoInfo, VideoReader, iter_audio
from gavn.restoration.progress import Progress

Block = np.ndarray | AudioGap
Notify = Callable[[str], None]
_AHEAD = 1.  # seconds of audio after the last frame; its MFCC window needs 0.15
_WITH_SILENCE = ': faces are restored with silence as audio'
NOTABLE_GAP = 0.1  # seconds; a smaller difference between audio and video length is not reported


def extract_features(video: VideoReader, notify: Notify, folder: Path, progress: Progress | None = None,
                     seconds: float | None = None, used: bool = True) -> StoredMFCC:
    """Computes the MFCC of the audio and stores them in a temporary file.

    Missing audio is replaced by silence up to the end of the video.

    Args:
        video: the video, with its audio.
        notify: receives a message if audio is missing or has another length than the video.
        seconds: how much of the video is restored; later audio is not read. None = all.
        used: whether the network takes audio; if not, no message says that it receives silence.
    """
    blocks = None if video.audio_path is None else iter_audio(video.audio_path, SAMPLE_RATE, True)
    if blocks is None:
        if used:
            notify(f'{video.path} has no readable audio track{_WITH_SILENCE}')
        return silent_features(folder)
    needed = inf if seconds is None else seconds + _AHEAD
    blocks = blocks if progress is None else _with_progress(blocks, video.info, progress, needed)
    return StoredMFCC(_padded_to_video(blocks, video, notify, needed, used), folder)


def _with_progress(blocks: Iterable[Block], info: VideoInfo, progress: Progress, needed: float
                   ) -> Iterator[Block]:
    """Yields the blocks and reports progress in video frames."""
    samples, total = 0, info.frames or round(info.duration * info.frame_rate)
    total = min(total, int(needed * info.frame_rate) + 1) if needed < inf else total
    for block in blocks:
        yield block
        samples += len(block)
        progress.step('reading audio', min(total, int(samples / SAMPLE_RATE * info.frame_rate) + 1), total)


def silent_features(folder: Path) -> StoredMFCC:
    """Returns the MFCC of silence, stored in `folder`."""
    return StoredMFCC([], folder)


def _padded_to_video(blocks: Iterable[Block], video: VideoReader, notify: Notify, needed: float, used: bool
                     ) -> Iterator[Block]:
    """Yields the audio blocks, then zeros up to the end of the video; ends after `needed` seconds."""
    samples = 0
    for block in blocks:
        samples += len(block)
        yield block
        if samples >= needed * SAMPLE_RATE:
            return
    if not samples:
        notify(f'the audio of {video.audio_path} cannot be decoded{_WITH_SILENCE * used}')
        yield from silence_or_gap(round(video.info.duration * SAMPLE_RATE), SAMPLE_RATE)
        return
    missing = video.info.duration - samples / SAMPLE_RATE
    if missing > NOTABLE_GAP:
        notify(f'the audio of {video.audio_path} ends {missing:.1f} s before the video; silence follows')
    elif video.audio is not None and -missing > NOTABLE_GAP:
        notify(f'the audio of {video.audio_path} ends {-missing:.1f} s after the video; it is copied whole')
    yield from silence_or_gap(round(missing * SAMPLE_RATE), SAMPLE_RATE)
