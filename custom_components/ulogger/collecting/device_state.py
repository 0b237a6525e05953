"""What Home Assistant shows of one device, and what it is notified of."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ..outbox.model import DeviceCounters


class Phase(StrEnum):
    """What the device's road is busy with."""

    IDLE = "idle"
    CONNECTING = "connecting"
    DOWNLOADING = "downloading"
    WAITING = "waiting_for_cloud"
    ERROR = "error"


class DeviceEvent(StrEnum):
    """What the event entity is notified of."""

    COLLECTED = "collected"
    UPLOADED = "uploaded"
    CORE_DUMP = "core_dump"
    UPLOAD_FAILED = "upload_failed"
    FIRMWARE_CHANGED = "firmware_changed"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class DeviceState:
    """All that a device's entities show.

    ``bytes_done`` of ``bytes_total`` are of the capture under way; ``rssi`` is in dBm.
    """

    phase: Phase = Phase.IDLE
    counters: DeviceCounters = field(default_factory=DeviceCounters)
    bytes_done: int | None = None
    bytes_total: int | None = None
    rssi: int | None = None
    last_error: str | None = None
    next_collection: datetime | None = None
    present: bool = False


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session as the timeline in the diagnostics shows it."""

    began: datetime
    seconds: float
    result: str
    detail: str = ""
    captures: int = 0
    bytes: int = 0
