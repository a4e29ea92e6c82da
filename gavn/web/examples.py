"""Three damaged videos of a drawn person, for those who have no video at hand; nothing is downloaded."""
from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gavn.web.limits import RefusalError

SECONDS = 3.
_SIZE = 480, 360  # pixels
_STORED_CRF = 12  # hides nothing of the damage


@dataclass(frozen=True)
class Example:
    """One video: the name of its file, of its button, and of its damage (`gavn.data.degradation`)."""

    name: str
    label: str
    damage: str


EXAMPLES = (
    Example('compressed', 'Compressed (x264, CRF 45)', 'car_crf45'),
    Example('blurred', 'Blurred (21 pixels)', 'blur_k21'),
    Example('small', 'Small (a quarter, enlarged)', 'sr_x4'),
)


def draw(folder: Path, seconds: float = SECONDS) -> list[Path]:
    """Writes the examples: one performance with its voice, damaged in three ways, as mp4."""
    from gavn.audio.mfcc import FRAME_RATE
    from gavn.data.degradation import degrade
    from gavn.media import VideoWriter
    from gavn.synthetic.head import identities, make_clip, place_on_background
    clip = make_clip(identities()[0], seed=1000, seconds=seconds, words='test')
    frames = place_on_background(clip, *_SIZE)
    folder.mkdir(exist_ok=True)
    for example in EXAMPLES:
        damaged, _ = degrade(frames, example.damage, 'example')
        with VideoWriter(folder / f'{example.name}.mp4', *_SIZE, FRAME_RATE, clip.audio,
                         crf=_STORED_CRF) as writer:
            for picture in damaged:
                writer.write(picture)
    return [folder / f'{example.name}.mp4' for example in EXAMPLES]


@dataclass
class Examples:
    """The examples of a server, drawn in the background so that the page is there at once."""

    folder: Path
    draw: Callable[[Path], list[Path]] = draw
    _ready: threading.Event = field(default_factory=threading.Event, repr=False)
    _files: list[Path] = field(default_factory=list, repr=False)
    _error: Exception | None = field(default=None, repr=False)

    def begin(self) -> None:
        """Starts drawing; once."""
        threading.Thread(target=self._draw, name='examples', daemon=True).start()

    def _draw(self) -> None:
        try:
            self._files = self.draw(self.folder)
        except Exception as error:  # told where an example is asked for
            self._error = error
        self._ready.set()

    @property
    def ready(self) -> bool:
        """Whether they are drawn, or never will be."""
        return self._ready.is_set()

    def file(self, number: int, seconds: float = 120.) -> Path:
        """The video, waited for. Raises RefusalError if it could not be drawn, or not in this time."""
        if not self._ready.wait(seconds):
            raise RefusalError('The examples are still being drawn; try again in a moment.')
        if self._error is not None:
            raise RefusalError(f'The examples could not be drawn: {self._error}') from self._error
        return self._files[number]
