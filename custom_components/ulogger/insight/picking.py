"""The frames of a capture that people are told about."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nlargest
from typing import Final

from ..model.level import Level
from .reading import LogFrame, Reading

MOST_EVENTS: Final = 20


@dataclass(frozen=True, slots=True)
class Picked:
    """Frames that become events, in the order they were logged; the others only a summary.

    ``left_out`` counts by level what did not become one, and is empty when all did.
    """

    frames: tuple[LogFrame, ...]
    left_out: Mapping[Level, int]

    @property
    def left_out_total(self) -> int:
        """How many frames the summary stands for."""
        return sum(self.left_out.values())


def pick_events(reading: Reading, level: Level = Level.ERROR, most: int = MOST_EVENTS) -> Picked:
    """Return the frames at or above a level, at most so many of a capture.

    Where there are more, the most severe come first, and of one level those that were logged
    first: what follows an error mostly follows from it. Metrics have no severity.
    """
    wanted = [frame for frame in reading.frames if level <= frame.level <= Level.CRITICAL]
    chosen = nlargest(most, wanted, key=lambda frame: (frame.level, -frame.number))
    chosen.sort(key=lambda frame: frame.number)
    numbers = {frame.number for frame in chosen}
    left_out = Counter(frame.level for frame in wanted if frame.number not in numbers)
    return Picked(tuple(chosen), left_out)
