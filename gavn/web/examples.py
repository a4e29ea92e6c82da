"""The example videos of the page: the same clip with three degradations."""
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

from gavn.web.limits import RefusalError

Draw = Callable[[Path], list[Path]]
"""Writes the videos of EXAMPLES into a folder, in order, and returns their paths."""


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


@dataclass
class Examples:
    """The examples of a server. `draw` writes them in a thread, so that the page opens at once."""

    folder: Path
    draw: Draw
    _files: futures.Future[list[Path]] = field(default_factory=futures.Future, repr=False)

    def begin(self) -> None:
        """Starts the thread; call it once."""
        threading.Thread(target=self._draw, name='examples', daemon=True).start()

    def _draw(self) -> None:
        try:
            self._files.set_result(self.draw(self.folder))
        except Exception as error:  # reported by `file`
            self._files.set_exception(error)

    @property
    def ready(self) -> bool:
        """Whether generation has finished or failed."""
        return self._files.done()

    def file(self, number: int, seconds: float = 120.) -> Path:
        """Waits for the examples and returns the path of one.

        Raises:
            RefusalError: generation failed, or is not finished within `seconds`.
        """
        if not futures.wait([self._files], seconds).done:
            raise RefusalError('The examples are not ready yet. Try again in a moment.')
        if error := self._files.exception():
            raise RefusalError(f'The examples could not be generated: {error}') from error
        return self._files.result()[number]
