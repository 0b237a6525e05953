"""What the activity tells of a collection: one sentence at most, whatever it brought.

A collection may bring several captures, and one that follows a device brings them all the time.
So what devices logged is gathered until the session is over and all of it was read. A crash and new
firmware are told by *Device event*: then there is no sentence beside it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from homeassistant.core import callback
from homeassistant.helpers.dispatcher import async_dispatcher_connect

from ..account.device_registry import registered_device
from ..collecting.device_state import SIGNAL_DEVICE_EVENT, DeviceEvent
from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..insight.picking import Picked
from ..insight.reading import LogFrame
from ..model.capture import CaptureKind
from ..model.identity import DeviceKey
from ..model.level import Level
from .gateway import UloggerConfigEntry

EVENT_LOGGED: Final = f"{DOMAIN}_logged"
"""Fired once for a collection with lines that are worth an event; the logbook describes it."""
LONGEST_MESSAGE: Final = 255


@dataclass(slots=True)
class _Brought:
    """What a collection brought so far, of which the activity may tell."""

    told: bool = False
    counts: Counter[Level] = field(default_factory=Counter)
    gravest: LogFrame | None = None

    def add(self, kind: CaptureKind, picked: Picked) -> None:
        """Count what a capture says; of lines as grave as each other the first one stays."""
        self.told |= kind is CaptureKind.CORE_DUMP
        self.counts += Counter(line.level for line in picked.frames) + Counter(picked.left_out)
        for line in picked.frames:
            if self.gravest is None or line.level > self.gravest.level:
                self.gravest = line


class Activity:
    """The sentences about an account's devices."""

    def __init__(self, entry: UloggerConfigEntry) -> None:
        self._entry = entry
        self._gateway = entry.runtime_data
        self._brought: dict[DeviceKey, _Brought] = {}

    @callback
    def start(self) -> None:
        """Follow sessions and what is read, until the entry is unloaded."""
        on_unload = self._entry.async_on_unload
        on_unload(self._gateway.readings.caught_up.add(self._caught_up))
        on_unload(self._gateway.async_add_device_listener(self._follow))
        on_unload(async_dispatcher_connect(self._gateway.hass, SIGNAL_DEVICE_EVENT, self._happened))

    @callback
    def _follow(self, device: DeviceCoordinator) -> None:
        device.session_ended.add(partial(self._session_ended, device))

    @callback
    def _happened(
        self, device: DeviceCoordinator, event: DeviceEvent, _attributes: Mapping[str, Any]
    ) -> None:
        ours = self._gateway.devices.get(device.identity.key) is device
        if ours and event is DeviceEvent.FIRMWARE_CHANGED and device.in_session:
            self._brought.setdefault(device.identity.key, _Brought()).told = True

    @callback
    def read(self, device: DeviceCoordinator, kind: CaptureKind, picked: Picked) -> None:
        """Take note of what a capture says that none before it has said."""
        self._brought.setdefault(device.identity.key, _Brought()).add(kind, picked)

    @callback
    def _session_ended(self, device: DeviceCoordinator) -> None:
        if not self._gateway.readings.busy:
            self._tell(device)

    @callback
    def _caught_up(self) -> None:
        for key in list(self._brought):
            if (device := self._gateway.devices.get(key)) is None:
                del self._brought[key]
            elif not device.in_session:
                self._tell(device)

    def _tell(self, device: DeviceCoordinator) -> None:
        """Have the activity say it, unless there is nothing, or something is told already."""
        brought = self._brought.pop(device.identity.key, None)
        entry = registered_device(device.hass, device.account.entry_id, device.identity)
        if brought is None or brought.told or brought.gravest is None or entry is None:
            return
        counts = brought.counts
        device.hass.bus.async_fire(
            EVENT_LOGGED,
            {
                "device_id": entry.id,
                "levels": {
                    level.name.lower(): counts[level] for level in sorted(counts, reverse=True)
                },
                "message": brought.gravest.message[:LONGEST_MESSAGE],
            },
        )
