"""Output tracks: copy or convert the packets of an input stream."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from av import Packet
from av.stream import Stream


class Track(ABC):
    """An output stream and the conversion of packets for it."""

    stream: Stream

    @abstractmethod
    def __call__(self, packet: Packet) -> Sequence[Packet]:
        """Converts a packet of the source; returns the packets that are complete."""

    def rest(self) -> Sequence[Packet]:
        """Returns the remaining packets at the end."""
        return ()


class CopiedTrack(Track):
    """Copies packets."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __call__(self, packet: Packet) -> Sequence[Packet]:
        """Returns the packet."""
        return (packet,)
