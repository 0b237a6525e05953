"""When the state of a device goes out.

| state | how it is entered | how it is left |
|---|---|---|
| shut | in the beginning | the first config, or `latch` seconds after the first connection |
| quiet | nothing has changed since the last state | a change |
| due | a change, at `due_at` | the state is sent |

Invariants: two states of a device are at least `APART` seconds apart; a change is gathered with
those of the next `GATHER` seconds, and waits no longer than that and `APART`; a state that was not
acknowledged is due again.
"""

from typing import Final

from .block import Clock

APART: Final = 1.0
GATHER: Final = 0.3
CONFIG_WITHIN: Final = 5.0
"""Seconds within which a site expects a config to be acknowledged in the state."""


class StateTimer:
    """When one device's state is due, by the clock that is handed in (seconds)."""

    def __init__(self, clock: Clock, latch: float) -> None:
        self._clock = clock
        self._latch = latch
        self._opens_at: float | None = None
        self._open = False
        self._changed_at: float | None = None
        self._sent_at: float | None = None

    @property
    def open(self) -> bool:
        """Whether the first config has come, or was waited for long enough."""
        opened = self._opens_at is not None and self._clock() >= self._opens_at
        return self._open or opened

    def connected(self) -> None:
        """Note a connection: the site may have missed what was sent before."""
        if self._opens_at is None:
            self._opens_at = self._clock() + self._latch
        self.changed()

    def configured(self) -> None:
        """Note a config."""
        self._open = True
        self.changed()

    def changed(self) -> None:
        """Note that there is another state to be sent."""
        if self._changed_at is None:
            self._changed_at = self._clock()

    def due_at(self) -> float | None:
        """Return when the state goes, None while nothing has changed."""
        if self._changed_at is None:
            return None
        at = self._changed_at + GATHER
        if self._sent_at is not None:
            at = max(at, self._sent_at + APART)
        if not self._open:
            if self._opens_at is None:
                return None
            at = max(at, self._opens_at)
        return at

    def hurry_at(self) -> float:
        """Return when a state may go that can't be gathered with others."""
        now = self._clock()
        return now if self._sent_at is None else max(now, self._sent_at + APART)

    def sending(self) -> None:
        """Note that the state goes now; what changes from here on is another one."""
        self._changed_at = None
        self._sent_at = self._clock()

    def failed(self) -> None:
        """Note that the state did not arrive."""
        self.changed()
