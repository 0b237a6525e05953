"""What visits to a device have taught: how often it has something, and whether it is in trouble."""

from collections.abc import Iterable
from datetime import timedelta

from ..outbox.model import Added
from ..radio.interval import next_interval


class Experience:
    """Forgotten with a restart, and soon made again; ``troubled`` is of the last visit."""

    def __init__(self) -> None:
        self.troubled = False
        self._empty_visits = 0

    def visited(self, added: Iterable[Added], *, crashed: bool) -> None:
        """Note what a visit brought: a duplicate is nothing."""
        self._empty_visits = 0 if any(each.size for each in added) else self._empty_visits + 1
        self.troubled |= crashed

    def interval(self, usual: timedelta, *, adaptive: bool, awaited: bool) -> timedelta:
        """Return how long until the next visit (see `next_interval`).

        One that is ``awaited`` is not put off: what it is to be told may have ended before.
        """
        seconds = next_interval(
            usual.total_seconds(),
            empty_visits=0 if awaited else self._empty_visits,
            troubled=self.troubled,
            adaptive=adaptive,
        )
        return timedelta(seconds=seconds)
