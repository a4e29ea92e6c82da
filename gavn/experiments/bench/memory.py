"""Memory for restoring a video, by its length."""
from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor, nn

from gavn.audio.rates import SAMPLE_RATE
from gavn.experiments.bench.rows import RATE, BenchRow
from gavn.experiments.bench.timing import STATUS, status_mib
from gavn.faces.geometry import Box
from gavn.media import VideoWriter
from gavn.restoration import job
from gavn.restoration.model_spec import GENERATOR, ModelSpec
from gavn.restoration.restore_video import restore_video
from gavn.restoration.restorer import Restorer
from gavn.restoration.settings import Settings

WIDTH, HEIGHT = 96, 80
_FACE, _WAY = (36, 48), 40  # pixels: sides of the fake face, and how far it moves


class UnchangedImages(nn.Module):
    """A network of single images that changes nothing."""

    def forward(self, lq: Tensor) -> Tensor:
        """Returns the images."""
        return lq


def videos(minutes: tuple[float, ...]) -> Iterator[BenchRow]:
    """Peak memory of a process that restores a video, for several lengths, each in a new process.

    The videos have small images with audio and a tracked face; the network does nothing, on a CPU. There are
    no rows on systems other than Linux, which do not report peak memory.
    """
    for length in minutes if STATUS.exists() else ():
        with tempfile.TemporaryDirectory() as folder:
            video, frames = Path(folder, 'video.mp4'), round(length * 60 * RATE)
            _write(video, frames)
            with ProcessPoolExecutor(1, get_context('spawn')) as fresh:
                seconds, mib = fresh.submit(_restore, video).result()
        yield BenchRow('memory', f'a video of {length:g} minutes', 'cpu', '', 'fp32', '',
                       1000 * seconds / frames, 0., frames, frames / seconds, mib)


def _write(path: Path, frames: int) -> None:
    """Writes a video of a bright moving rectangle and a tone."""
    audio = (8000 * np.sin(0.2 * np.arange(frames * SAMPLE_RATE // RATE))).astype(np.int16)
    with VideoWriter(path, WIDTH, HEIGHT, RATE, audio=audio, preset='ultrafast') as writer:
        for index in range(frames):
            image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
            x = 10 + abs(index % (2 * _WAY) - _WAY)
            image[16:16 + _FACE[1], x:x + _FACE[0]] = 240
            writer.write(image)


def _restore(video: Path) -> tuple[float, float]:
    """Seconds, and peak MiB of this process."""
    job.follow_faces = partial(job.follow_faces, detect=_bright)
    spec = ModelSpec({GENERATOR: {'type': UnchangedImages.__name__}}, window='frame')
    restorer = Restorer(spec, {GENERATOR: UnchangedImages()}, 'cpu')
    start = time.perf_counter()
    restore_video(video, video.with_name('restored.mp4'), restorer, Settings(preset='ultrafast'))
    return time.perf_counter() - start, status_mib('VmHWM')


def _bright(image: np.ndarray) -> list[tuple[Box, float]]:
    """A fake face detector."""
    x, y, width, height = cv2.boundingRect((image[..., 0] > 150).astype(np.uint8))
    return [(Box(x, y, x + width, y + height), 1.)]
