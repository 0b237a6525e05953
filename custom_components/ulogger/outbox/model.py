"""The words of the outbox: states, outcomes, and what it tells about itself."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceKey


class CaptureState(StrEnum):
    """Where a capture is on its way to the cloud."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"


class Outcome(StrEnum):
    """What adding a capture came to. After each of them the device may be released."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONTINUATION = "continuation"
    MAY_REPEAT = "may_repeat"
    QUARANTINED = "quarantined"


DAMAGED = "damaged"
"""Quarantine reason: the bytes on disk no longer match the hash they were stored with."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a capture; ``capture_id`` of a duplicate is the earlier one's, if still known.

    ``size`` is what was stored: 0 for a duplicate, the new frames alone for a continuation, all
    of it otherwise. ``may_repeat`` marks what may be, or hold, what was taken before, where nobody
    can tell: it is kept whole and goes up.
    """

    outcome: Outcome
    capture_id: int | None
    size: int
    may_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A waiting capture, loaded to be delivered."""

    capture_id: int
    capture: Capture
    attempts: int

    @property
    def key(self) -> DeviceKey:
        """The device it belongs to."""
        return self.capture.device.key


@dataclass(frozen=True, slots=True)
class Row:
    """What the outbox knows of a capture without loading its bytes; times are Unix seconds.

    ``continues`` is the capture that this one goes on from, or that it may repeat.
    """

    capture_id: int
    key: DeviceKey
    kind: CaptureKind
    state: CaptureState
    size: int
    captured_at: float
    stored_at: float
    attempts: int
    last_error: str | None
    last_attempt: float | None
    reason: str | None
    delivered_at: float | None
    continues: int | None
    may_repeat: bool


@dataclass(frozen=True, slots=True)
class DeviceCounters:
    """What one device (or, added up, an account) has sent, and what of it is still here."""

    uploads: int = 0
    bytes_uploaded: int = 0
    last_upload: float | None = None
    last_upload_size: int | None = None
    core_dumps: int = 0
    last_core_dump: float | None = None
    duplicates: int = 0
    continuations: int = 0
    may_repeat: int = 0
    bytes_today: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    quarantined: int = 0
    quarantined_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0

    @classmethod
    def total(cls, counters: Iterable[Self]) -> Self:
        """Add up devices: numbers are summed, moments are the latest, its size goes with it."""
        all_counters = list(counters)
        latest = max(
            (each for each in all_counters if each.last_upload is not None),
            key=lambda each: each.last_upload or 0.0,
            default=cls(),
        )
        dumps = [each.last_core_dump for each in all_counters if each.last_core_dump is not None]
        sums = {
            field.name: sum(getattr(each, field.name) or 0 for each in all_counters)
            for field in fields(cls)
        }
        return replace(
            cls(**sums),
            last_upload=latest.last_upload,
            last_upload_size=latest.last_upload_size,
            last_core_dump=max(dumps, default=None),
        )


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes: free on the disk, used by the outbox's file, held by captures no cloud has."""

    free: int
    file: int
    undelivered: int

    def has_room(self, budget: int, reserve: int) -> bool:
        """Whether devices may still be collected: budget not used up, the reserve left free."""
        return self.undelivered < budget and self.free > reserve


@dataclass(frozen=True, slots=True)
class Recovery:
    """A damaged file was set aside and a new one begun.

    ``brought_over`` captures were readable and whole, ``quarantined`` more were readable but not
    to be trusted, ``lost`` undelivered ones were not readable (None: nobody can tell how many).
    """

    set_aside: Path
    at: float
    brought_over: int
    quarantined: int
    lost: int | None
