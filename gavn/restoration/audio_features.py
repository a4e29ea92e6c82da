"""MFCC features of a video's audio track."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from gavn.audio.mfcc import SAMPLE_RATE, StoredMFCC
from gavn.media import AudioGap, VideoInfo, VideoReader, iter_audio, silence_or_gap
from gavn.restoration.progress import Progress

Block = np.ndarray | AudioGap
Notify = Callable[[str], None]
NOTABLE_GAP = 0.1  # seconds; a smaller difference between audio and video length is not reported


def extract_features(video: VideoReader, notify: Notify, folder: Path, progress: Progress | None = None
                     ) -> StoredMFCC:
    """Computes the MFCC of the audio and stores them in a temporary file.

    Missing audio is replaced by silence up to the end of the video.

    Args:
        video: the video, with its audio.
        notify: receives a message if audio is missing or has another length than the video.
        folder: holds the temporary file.
        progress: is called for each block of audio.
    """
    blocks = None if video.audio_path is None else iter_audio(video.audio_path, SAMPLE_RATE, True)
    if blocks is None:
        notify(f'{video.path} has no readable audio track: faces are restored with silence as audio')
        return silence(folder)
    blocks = blocks if progress is None else _with_progress(blocks, video.info, progress)
    return StoredMFCC(_padded_to_video(blocks, video, notify), folder)


def _with_progress(blocks: Iterable[Block], info: VideoInfo, progress: Progress) -> Iterator[Block]:
    """Yields the blocks and reports progress in video frames."""
    samples, total = 0, info.frames or round(info.duration * info.frame_rate)
    for block in blocks:
        yield block
        samples += len(block)
        progress.step('reading audio', min(total, int(samples / SAMPLE_RATE * info.frame_rate) + 1), total)


def silence(folder: Path) -> StoredMFCC:
    """Returns the MFCC of silence, stored in `folder`."""
    return StoredMFCC([], folder)


def _padded_to_video(blocks: Iterable[Block], video: VideoReader, notify: Notify) -> Iterator[Block]:
    """Yields the audio blocks, then zeros up to the end of the video."""
    samples = 0
    for block in blocks:
        samples += len(block)
        yield block
    if not samples:
        notify(f'the audio of {video.audio_path} cannot be decoded: faces are restored with silence as audio')
        yield from silence_or_gap(round(video.info.duration * SAMPLE_RATE), SAMPLE_RATE)
        return
    missing = video.info.duration - samples / SAMPLE_RATE
    if missing > NOTABLE_GAP:
        notify(f'the audio of {video.audio_path} ends {missing:.1f} s before the video; silence follows')
    elif video.audio is not None and -missing > NOTABLE_GAP:
        notify(f'the audio of {video.audio_path} ends {-missing:.1f} s after the video; it is copied whole')
    yield from silence_or_gap(round(missing * SAMPLE_RATE), SAMPLE_RATE)
