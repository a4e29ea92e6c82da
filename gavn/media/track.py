"""What takes the packets of one stream into another."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from av import Packet
from av.stream import Stream


class Track(ABC):
    """A stream of an output, and how the packets of its source become its own."""

    stream: Stream

    @abstractmethod
    def __call__(self, packet: Packet) -> Sequence[Packet]:
        """The packets that one of the source's becomes, at their own times."""

    def rest(self) -> Sequence[Packet]:
        """What is left at the end."""
        return ()


class CopiedTrack(Track):
    """Takes packets as they are."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __call__(self, packet: Packet) -> Sequence[Packet]:
        """The packet itself."""
        return (packet,)
