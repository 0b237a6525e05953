"""What Home Assistant shows of one device, and what it is notified of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from homeassistant.util import dt as dt_util
from homeassistant.util.signal_type import SignalType

from ..const import DOMAIN
from ..outbox.model import Added, DeviceCounters


class Phase(StrEnum):
    """What the device's road is busy with."""

    IDLE = "idle"
    CONNECTING = "connecting"
    WAITING_FOR_SLOT = "waiting_for_slot"
    DOWNLOADING = "downloading"
    LIVE = "live"
    WAITING = "waiting_for_cloud"
    ERROR = "error"


LASTING = frozenset({Phase.IDLE, Phase.LIVE, Phase.ERROR})
"""What a device is at rest in; everything else passes."""


class DeviceEvent(StrEnum):
    """What listeners are notified of."""

    COLLECTED = "collected"
    UPLOADED = "uploaded"
    CORE_DUMP = "core_dump"
    UPLOAD_FAILED = "upload_failed"
    FIRMWARE_CHANGED = "firmware_changed"
    DUPLICATE = "duplicate"


SIGNAL_DEVICE_EVENT: SignalType[Any, DeviceEvent, Mapping[str, Any]] = SignalType(
    f"{DOMAIN}_device_event"
)
"""Sent with the device, what happened to it, and the attributes of that."""

SIGNAL_DEVICE_LOGGED: SignalType[Any, str, Mapping[str, Any]] = SignalType(
    f"{DOMAIN}_device_logged"
)
"""Sent with the device, the level of a line that it logged, and what there is to say of it."""

ROUTINE = frozenset({DeviceEvent.COLLECTED, DeviceEvent.UPLOADED, DeviceEvent.DUPLICATE})
"""What every collection brings; the rest is worth a line in Home Assistant's activity."""


def moment(seconds: float) -> datetime | None:
    """Return a moment in Unix seconds as one to the second; None for 0, which is never."""
    return dt_util.utc_from_timestamp(round(seconds)) if seconds else None


@dataclass(frozen=True, slots=True)
class DeviceState:
    """All that a device's entities show.

    ``bytes_done`` of ``bytes_total`` are of the capture under way; ``rssi`` is in dBm.
    ``present`` says whether the device is in range.
    """

    phase: Phase = Phase.IDLE
    counters: DeviceCounters = field(default_factory=DeviceCounters)
    bytes_done: int | None = None
    bytes_total: int | None = None
    rssi: int | None = None
    last_error: str | None = None
    next_collection: datetime | None = None
    present: bool = False
    last_seen: datetime | None = None

    @property
    def busy_with(self) -> Phase:
        """What the road is busy with; captures that wait are not idle."""
        if self.phase is Phase.IDLE and self.counters.waiting:
            return Phase.WAITING
        return self.phase


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session as the timeline in the diagnostics shows it."""

    began: datetime
    seconds: float
    result: str
    detail: str = ""
    captures: int = 0
    bytes: int = 0

    @classmethod
    def of(
        cls, began: datetime, seconds: float, result: str, detail: str, added: Sequence[Added]
    ) -> Self:
        """Note a session that took so many *seconds* and brought what was *added*."""
        size = sum(each.size for each in added)
        return cls(began, round(seconds, 3), result, detail, len(added), size)
