"""Restores videos one after the other, hoards the last one, and prints the most memory so far after each.

Usage: `python memory_restore.py FOLDER VIDEO ...`
"""
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gavn.restoration import job, restore_video  # first: it makes basicsr importable
from gavn.restoration.face_clip import FrameBuffer
from gavn.restoration.restorer import Restorer
from gavn.restoration.settings import Settings
from gavn.runtime.windows import Layout

# isort: split
from restore_fakes import fixed_face


class Still(Restorer):
    """What a restoration asks of a restorer; it changes nothing."""

    uses_audio = True

    def __init__(self) -> None:
        self.name, self.weights, self.notices, self.layout = None, {}, [], Layout(1, 2)
        self.device, self.dtype = torch.device('cpu'), 'float32'
        self.batch, self.calls, self.compile = 1, 1, None

    def residuals(self, crops: Iterable[np.ndarray], _: Iterable[object] | None = None
                  ) -> Iterator[np.ndarray]:
        for image in crops:
            yield np.zeros_like(image, np.float32)


def most_memory() -> int:
    """Peak of this program's resident memory in bytes (getrusage would tell of its parent's, too)."""
    status = Path('/proc/self/status').read_text(encoding='utf-8')
    return 1024 * int(re.search(r'VmHWM:\s+(\d+) kB', status)[1])


if __name__ == '__main__':
    folder, *sources = map(Path, sys.argv[1:])
    job.follow_faces = fixed_face()
    for number, source in enumerate(sources):
        if number == len(sources) - 1:
            FrameBuffer.forget_before = lambda *_: None
        restore_video.restore_video(source, folder / f'{number}.mp4', Still(), Settings(preset='ultrafast'))
        print(most_memory())
