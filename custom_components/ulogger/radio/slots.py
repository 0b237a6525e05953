"""The connection slots of the scanners, and the paths to a device."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

ASSUMED_SLOTS = 3
"""Slots of a scanner that does not say how many it has: what an ESPHome proxy starts with."""


@dataclass(frozen=True, slots=True)
class Path:
    """A scanner that hears a device: by the scanner's source, and how well (dBm, more is better).

    Past failures over a path may be taken off its signal.
    """

    source: str
    signal: float


@dataclass(frozen=True, slots=True)
class Scanner:
    """A scanner's connection slots; ``taken`` are the addresses it is connected to."""

    source: str
    slots: int = ASSUMED_SLOTS
    taken: AbstractSet[str] = frozenset()

    def room(self, ours: AbstractSet[str], reserve: int) -> int:
        """Return how many more sessions fit beside *ours*, the addresses of those under way here.

        The reserve is what other integrations can have of the slots, so what they hold is part
        of it. One slot is ours wherever it is free, however large the reserve.
        """
        others = len(self.taken - ours)
        usable = min(self.slots - others, max(1, self.slots - reserve))
        return max(0, usable - len(ours))
