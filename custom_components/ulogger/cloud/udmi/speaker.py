"""One device of UDMI on the wire: its state when that is due, and its entries if they matter."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .block import Block, Clock, Now
from .config_state import StateTimer
from .device import UdmiDevice
from .lifecycle import Lifecycle
from .system import System

MOST_GATHERED: Final = 32
MOST_KEPT: Final = 256
"""Entries that wait for the next second; what comes beyond that is left out and counted."""
GATHER: Final = 1.0


class Speaker:
    """A gateway or a proxy.

    ``publish`` takes its events. ``attached`` says whether it is spoken for on this connection,
    ``left_out`` counts entries for which there were too many others.
    """

    def __init__(
        self,
        device_id: str,
        *,
        identity: Callable[[], Mapping[str, Any]],
        publish: Callable[[str, str, Mapping[str, Any]], None],
        changed: Callable[[], None],
        clock: Clock,
        now: Now,
        latch: float,
        lifecycle: Lifecycle | None = None,
        measure: Callable[[], None] | None = None,
        blocks: Sequence[Block] = (),
    ) -> None:
        self.id = device_id
        self.attached = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.left_out = 0
        self.timer = StateTimer(clock, latch)
        self.system = System(self._state_changed, clock, lifecycle, measure)
        self.device = UdmiDevice(device_id, [self.system, *blocks], now=now, identity=identity)
        self.device.on_changed = self._state_changed
        self.device.on_config = self._configured
        self.device.on_entry = self.tell
        self._publish = publish
        self._changed = changed
        self._clock = clock
        self._entries: list[Mapping[str, Any]] = []
        self._entries_since = 0.0

    @property
    def sending(self) -> bool:
        """Whether its state is on the way."""
        return not self.idle.is_set()

    @sending.setter
    def sending(self, sending: bool) -> None:
        if sending:
            self.idle.clear()
        else:
            self.idle.set()

    # For the blocks

    def changed(self) -> None:
        """Note that the state of a block is another one."""
        self._state_changed()

    def publish(self, subfolder: str, payload: Mapping[str, Any]) -> None:
        """Publish an event of this device."""
        self._publish(self.id, subfolder, payload)

    # Entries

    def tell(self, entry: Mapping[str, Any]) -> None:
        """Have an entry sent, if the site wants to hear of such."""
        if entry["level"] < self.system.min_loglevel:
            return
        if len(self._entries) >= MOST_KEPT:
            self.left_out += 1
            return
        if not self._entries:
            self._entries_since = self._clock()
        self._entries.append(entry)
        self._changed()

    def _flush(self) -> None:
        while self._entries:
            some, self._entries = self._entries[:MOST_GATHERED], self._entries[MOST_GATHERED:]
            self.publish("system", {"logentries": some})

    # Time

    def wake_at(self) -> float | None:
        """Return when `wake` wants to be called."""
        moments = [self.device.wake_at()]
        if self._entries:
            moments.append(self._entries_since + GATHER)
        return min((each for each in moments if each is not None), default=None)

    def wake(self) -> None:
        """Do what is due."""
        self.device.wake(self._clock)
        if self._entries and self._entries_since + GATHER <= self._clock():
            self._flush()

    def due_at(self) -> float | None:
        """Return when its state goes, None while nothing has changed or nobody could hear it."""
        if not self.attached or self.sending:
            return None
        return self.timer.due_at()

    # What the device says

    def _state_changed(self) -> None:
        self.timer.changed()
        self._changed()

    def _configured(self, good: bool) -> None:  # noqa: FBT001
        # A bad one is reported, too, and nothing else need be waited for.
        self.timer.configured()
        self._changed()
