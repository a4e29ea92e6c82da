"""Three degraded example videos of a synthetic talking head; nothing is downloaded."""
from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gavn.web.limits import RefusalError

SECONDS = 3.
_SIZE = 480, 360  # pixels
_STORED_CRF = 12  # adds hardly any degradation


@dataclass(frozen=True)
class Example:
    """An example: file stem, button label, and degradation (see `gavn.data.degradation`)."""

    name: str
    label: str
    degradation: str


EXAMPLES = (
    Example('compressed', 'Compressed (x264, CRF 45)', 'car_crf45'),
    Example('blurred', 'Blurred (21 pixels)', 'blur_k21'),
    Example('small', 'Small (a quarter, enlarged)', 'sr_x4'),
)


def draw(folder: Path, seconds: float = SECONDS) -> list[Path]:
    """Writes the examples as .mp4: the same clip with audio and three degradations."""
    from gavn.audio.rates import FRAME_RATE
    from gavn.data.degradation import degrade
    from gavn.media import VideoWriter
    from gavn.synthetic.head import identities, make_clip, place_on_background
    clip = make_clip(identities()[0], seed=1000, seconds=seconds, words='test')
    frames = place_on_background(clip, *_SIZE)
    folder.mkdir(exist_ok=True)
    for example in EXAMPLES:
        degraded, _ = degrade(list(frames), example.degradation, 'example')
        with VideoWriter(folder / f'{example.name}.mp4', *_SIZE, FRAME_RATE, clip.audio,
                         crf=_STORED_CRF) as writer:
            for image in degraded:
                writer.write(image)
    return [folder / f'{example.name}.mp4' for example in EXAMPLES]


@dataclass
class Examples:
    """The examples of a server. They are generated in a thread, so that the page opens at once."""

    folder: Path
    draw: Callable[[Path], list[Path]] = draw
    _ready: threading.Event = field(default_factory=threading.Event, repr=False)
    _files: list[Path] = field(default_factory=list, repr=False)
    _error: Exception | None = field(default=None, repr=False)

    def begin(self) -> None:
        """Starts the thread; call it once."""
        threading.Thread(target=self._draw, name='examples', daemon=True).start()

    def _draw(self) -> None:
        try:
            self._files = self.draw(self.folder)
        except Exception as error:  # reported by `file`
            self._error = error
        self._ready.set()

    @property
    def ready(self) -> bool:
        """Whether generation has finished or failed."""
        return self._ready.is_set()

    def file(self, number: int, seconds: float = 120.) -> Path:
        """Waits for the examples and returns the path of one.

        Raises:
            RefusalError: generation failed, or is not finished within `seconds`.
        """
        if not self._ready.wait(seconds):
            raise RefusalError('The examples are not ready yet. Try again in a moment.')
        if self._error is not None:
            raise RefusalError(f'The examples could not be generated: {self._error}') from self._error
        return self._files[number]
