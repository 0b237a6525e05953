"""The modes of the gateway: what a site wants of it, and what becomes of that.

| mode | how it is entered | what follows |
|---|---|---|
| initial | the account is loaded | config *active* makes it active |
| active | config *active* | config *restart*, *shutdown* or *terminate* is done |
| restart | config *restart* | the account is loaded anew, and begins in *initial* |
| shutdown, terminate | config of that name | the destination is off until a person has it on |

A config that still says *restart* after the restart does nothing: the gateway is not active. So
does a ``last_start`` that was answered with a restart before.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from .status import read_stamp, stamp


class Mode(StrEnum):
    """How the gateway is operated."""

    INITIAL = "initial"
    ACTIVE = "active"
    RESTART = "restart"
    SHUTDOWN = "shutdown"
    TERMINATE = "terminate"


_ENDS = frozenset({Mode.RESTART, Mode.SHUTDOWN, Mode.TERMINATE})


class Lifecycle:
    """The present mode, and how often the gateway was started.

    ``on_end`` is called once, with the mode that a site wants and the ``last_start`` that it was
    wanted for; it publishes the state before it does what the mode means. ``answered`` is the
    ``last_start`` of an earlier config that led to a restart.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        on_end: Callable[[Mode, str], None],
        *,
        last_start: datetime,
        restart_count: int,
        answered: str = "",
    ) -> None:
        self.mode = Mode.INITIAL
        self._changed = changed
        self._on_end = on_end
        self._last_start = last_start
        self._restart_count = restart_count
        self._answered = answered

    def wish(self, mode: object, last_start: object) -> None:
        """Take what a config says; what is no mode, and what can't be done now, is left alone."""
        if self.mode in _ENDS:
            return
        if mode == Mode.ACTIVE and self.mode is Mode.INITIAL:
            self.mode = Mode.ACTIVE
            self._changed()
        if self.mode is not Mode.ACTIVE:
            return
        if isinstance(mode, str) and mode in _ENDS:
            self._end(Mode(mode), "")
        elif isinstance(last_start, str) and last_start != self._answered:
            try:
                later = read_stamp(last_start) > self._last_start
            except ValueError:
                return
            if later:
                self._end(Mode.RESTART, last_start)

    def _end(self, mode: Mode, last_start: str) -> None:
        self.mode = mode
        self._changed()
        self._on_end(mode, last_start)

    def state(self) -> Mapping[str, Any]:
        """Return what stands in the state."""
        return {
            "operational": self.mode not in _ENDS,
            "last_start": stamp(self._last_start),
            "restart_count": self._restart_count,
            "mode": self.mode.value,
        }
