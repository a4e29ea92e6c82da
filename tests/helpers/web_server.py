"""`gavn web` with a network that brightens, for tests that drive it from another process.

Arguments: a folder for its weights, then those of `gavn web`. The face is where `write_video` has it, the
examples are such videos. Frames take their time, so that a test can watch, and stand still while there is a
file `hold` in the folder, so that it can cancel.
"""
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from gavn.cli import main as cli  # isort: skip  (makes basicsr importable)
import numpy as np
from restore_fakes import FACE, fixed_face, make_restorer, write_video

from gavn.experiments.synthetic import web_examples
from gavn.faces.thumbnail import thumbnail
from gavn.faces.tracks import Faces
from gavn.restoration import job
from gavn.web import session_manager, videos
from gavn.web.examples import EXAMPLES
from gavn.web.progress_tracker import ProgressTracker

PAUSE = 0.02  # seconds a frame


class Unhurried(ProgressTracker):
    def step(self, what: str, done: int, total: int | None) -> None:
        super().step(what, done, total)
        time.sleep(PAUSE)
        while Path(sys.argv[1], 'hold').exists() and not self.cancelled:
            time.sleep(PAUSE)


def follow_faces(frames: Iterable[np.ndarray], **_: object) -> Faces:
    """Two faces, the second from frame 20 on."""
    frames = list(frames)
    found = fixed_face(box=FACE, cuts=(20,))(frames)
    return replace(found, faces=tuple(replace(face, thumbnail=thumbnail(frames[face.span.start], FACE))
                                      for face in found.faces))


def draw(folder: Path) -> list[Path]:
    """In place of the drawn person, which takes seconds."""
    folder.mkdir()
    return [write_video(folder / f'{example.name}.mp4', 25, audio=1.) for example in EXAMPLES]


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    weights = Path(sys.argv[1], 'w.safetensors')
    make_restorer(gain=40.).save(weights)
    job.follow_faces = videos.follow_faces = follow_faces
    session_manager.ProgressTracker = Unhurried
    web_examples.draw = draw
    sys.exit(cli.main(['web', '--weights', str(weights), *sys.argv[2:]]))
