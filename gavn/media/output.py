"""Files in the making: containers, streams and encoders, and what to say when they do not fit together."""
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar

import av
from av import Packet
from av.container import OutputContainer
from av.stream import Stream

from gavn.media.container import TAGS, EmptyVideo, MediaError, StrPath, file_url
from gavn.runtime.files import atomic_path

# x264's macroblock tree reads past its rows with AVX2 and AVX-512, so that two runs over the same smooth
# pictures differ; with SSE2 they do not, and give what its plain C code gives (a few percent slower).
REPEATABLE = 'asm=MMX2,SSE2' if platform.machine() in ('x86_64', 'AMD64') else 'asm=0'

_W = TypeVar('_W', bound='Writer')


def opened_output(part: Path, path: Path, form: str | None = None, **options: str) -> OutputContainer:
    """A container to write to, chosen by the ending of the name or `form`; MediaError, naming `path`."""
    try:
        return av.open(file_url(part), 'w', format=form, container_options=options, **TAGS)
    except ValueError as error:
        raise MediaError(f'{path}: no container has this ending; use .mp4 or .mkv') from error


def added_stream(path: Path, add: Callable[[], Stream], what: str) -> Stream:
    """The stream that `add` adds, or a MediaError that says that the file cannot hold it."""
    try:
        return add()
    except ValueError as error:  # also what PyAV raises for an unknown codec
        raise MediaError(f'{path}: cannot hold {what} ({error}); write to .mkv') from error


class Writer(ABC):
    """One encoded video stream in a file that appears, under its name, only when it is complete."""

    form: str | None = None  # of the container; None goes by the ending
    container_options: ClassVar[dict[str, str]] = {'movflags': '+faststart'}

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self.frames = 0

    def __enter__(self: _W) -> _W:
        with ExitStack() as stack:
            part = stack.enter_context(atomic_path(self.path))
            self._output: OutputContainer = stack.enter_context(
                opened_output(part, self.path, self.form, **self.container_options))
            self._prepare()
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @abstractmethod
    def _prepare(self) -> None:
        """Adds the streams; `_stream` is the video."""

    def _mux(self, packets: Iterable[Packet]) -> None:
        self._output.mux(list(packets))

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        if not self.frames:
            raise EmptyVideo(f'{self.path}: no frame was written to it; nothing is left behind')
        self._mux(self._stream.encode(None))
