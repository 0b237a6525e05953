"""How long a session may hold its slot."""

from dataclasses import dataclass

FIRST = 120.0
"""Seconds for the way to the first byte: the connection alone may take 60 s."""
LONGEST = 900.0
SLOWEST = 200.0
"""Bytes a second that earn a session its time; a bad link through a proxy brings 500."""


@dataclass(slots=True)
class SessionCap:
    """The end of one session: it moves on as the session brings bytes, but not for ever.

    ``began`` is a moment on any monotonic clock, in seconds.
    """

    began: float
    first: float = FIRST
    longest: float = LONGEST
    _bytes: int = 0
    _under_way: int = 0

    def brought(self, done: int) -> None:
        """Take note that *done* bytes of the capture under way are here."""
        if done < self._under_way:
            self._bytes += self._under_way
        self._under_way = done

    @property
    def ends_at(self) -> float:
        """The moment at which the session has had its time."""
        earned = (self._bytes + self._under_way) / SLOWEST
        return self.began + min(self.longest, self.first + earned)
