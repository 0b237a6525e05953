"""What is sent in one piece: a capture, or several that the destination takes joined."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Self

from ..cloud.destination import JoinsCaptures
from ..model.capture import Capture
from ..model.identity import DeviceKey
from ..outbox.model import Item


@dataclass(frozen=True, slots=True)
class Load:
    """What goes to a destination as ``capture``; ``items`` are of one device, in their order."""

    items: Sequence[Item]
    capture: Capture

    @classmethod
    def of(cls, item: Item) -> Self:
        """Return a capture that goes alone."""
        return cls((item,), item.capture)

    @classmethod
    def next(
        cls, items: Sequence[Item], before: Item | None, joins: JoinsCaptures | None, apart: int
    ) -> Self:
        """Return as many of the first of *items*, at least one, as go in one piece.

        ``before`` is what was sent right before them; up to the capture ``apart`` each goes alone.
        What goes on from another one, or may repeat it, does so too: joined, it would go on from
        something else.
        """
        free = list(takewhile(lambda item: item.capture_id > apart and not item.goes_on, items))
        if joins is not None and before is not None and len(free) > 1:
            joined = joins.join(before.capture, [item.capture for item in free])
            if joined is not None:
                return cls(tuple(free[: joined.count]), joined.capture)
        return cls.of(items[0])

    @property
    def key(self) -> DeviceKey:
        """The device it is from."""
        return self.items[0].key

    @property
    def joined(self) -> bool:
        """Whether it is made of several captures."""
        return len(self.items) > 1

    @property
    def saved(self) -> int:
        """By how many bytes it is shorter than what it is made of."""
        return sum(len(item.capture.data) for item in self.items) - len(self.capture.data)
