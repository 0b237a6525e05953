"""How much of a capture a site has: what stays true over a restart is kept elsewhere."""

from typing import NamedTuple, Protocol, override

from ...model.capture import Capture


class Sent(NamedTuple):
    """How many of a capture's frames and points a site has, or does not want."""

    frames: int = 0
    points: int = 0


class Progress(Protocol):
    """Remembers for each capture how much of it was acknowledged, until all of it is."""

    def sent(self, capture: Capture, capture_id: int) -> Sent:
        """Return how much of a capture is there."""
        ...

    async def note(self, capture: Capture, capture_id: int, sent: Sent) -> None:
        """Remember how much is there; return once that would outlast a restart."""
        ...

    async def done(self, capture_id: int) -> None:
        """Note that all of a capture is there."""
        ...


class Volatile(Progress):
    """Remembers for as long as it lives."""

    def __init__(self) -> None:
        self._sent: dict[int, Sent] = {}

    @override
    def sent(self, capture: Capture, capture_id: int) -> Sent:
        return self._sent.get(capture_id, Sent())

    @override
    async def note(self, capture: Capture, capture_id: int, sent: Sent) -> None:
        self._sent[capture_id] = sent

    @override
    async def done(self, capture_id: int) -> None:
        self._sent.pop(capture_id, None)
