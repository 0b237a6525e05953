"""The words of the outbox: states, outcomes, and what it tells about itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceKey


class CaptureState(StrEnum):
    """Where a capture is on its way, over all destinations."""

    WAITING = "waiting"
    """Some destination has yet to get it."""
    DELIVERED = "delivered"
    """Nobody waits for it, and it was delivered."""
    QUARANTINED = "quarantined"
    """It has a fault of its own, or what has not taken it has refused it."""
    KEPT = "kept"
    """Nobody waits for it: it is only here."""


class DeliveryState(StrEnum):
    """What one destination has of a capture."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    REFUSED = "refused"


class Outcome(StrEnum):
    """What adding a capture came to. After each of them the device may be released."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONTINUATION = "continuation"
    MAY_REPEAT = "may_repeat"
    QUARANTINED = "quarantined"


REFUSED = "refused"
"""Quarantine reason at a destination: it did not take the capture, and said so each time."""

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
    """A waiting capture, loaded to be delivered.

    ``goes_on`` says that it has only what an earlier one had not, or may repeat an earlier one.
    """

    capture_id: int
    capture: Capture
    attempts: int
    goes_on: bool = False

    @property
    def key(self) -> DeviceKey:
        """The device it belongs to."""
        return self.capture.device.key


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """How it stands with a capture at one destination; times are Unix seconds."""

    state: DeliveryState
    attempts: int = 0
    last_error: str | None = None
    last_attempt: float | None = None
    reason: str | None = None
    delivered_at: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What the outbox knows of a capture without loading its bytes; times are Unix seconds.

    ``fault`` is what is wrong with the capture itself, ``delivered_at`` since when nobody waits
    for it, ``continues`` the capture that this one goes on from, or that it may repeat, and
    ``deliveries`` how it stands at each destination.
    """

    capture_id: int
    key: DeviceKey
    kind: CaptureKind
    state: CaptureState
    size: int
    captured_at: float
    stored_at: float
    fault: str | None
    delivered_at: float | None
    continues: int | None
    may_repeat: bool
    deliveries: Mapping[str, DeliveryRow] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """Why it is in quarantine: its own fault, or why a destination refuses it."""
        refusals = (each.reason for each in self.deliveries.values())
        return self.fault or next((reason for reason in refusals if reason), None)

    @property
    def attempts(self) -> int:
        """How often a destination that has not got it was tried, where that was most often."""
        return max((each.attempts for each in self.deliveries.values()), default=0)

    @property
    def last_attempt(self) -> float | None:
        """When a destination last did not take it."""
        return self._last_failure.last_attempt

    @property
    def last_error(self) -> str | None:
        """Why a destination last did not take it."""
        return self._last_failure.last_error

    @property
    def _last_failure(self) -> DeliveryRow:
        return max(
            self.deliveries.values(),
            key=lambda each: each.last_attempt or 0.0,
            default=DeliveryRow(DeliveryState.WAITING),
        )


@dataclass(frozen=True, slots=True)
class DestinationCounters:
    """What a destination has got of one device (or of all), and what is still to come."""

    delivered: int = 0
    bytes_delivered: int = 0
    last_delivery: float | None = None
    bytes_today: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    refused: int = 0
    refused_bytes: int = 0

    @classmethod
    def total(cls, counters: Iterable[Self]) -> Self:
        """Add up devices; the moment is the latest."""
        all_counters = list(counters)
        moments = [each.last_delivery for each in all_counters if each.last_delivery is not None]
        sums = {
            each.name: sum(getattr(counter, each.name) or 0 for counter in all_counters)
            for each in fields(cls)
        }
        return replace(cls(**sums), last_delivery=max(moments, default=None))


@dataclass(frozen=True, slots=True)
class DeviceCounters:
    """What one device (or, added up, an account) has sent, and what of it is still here.

    ``uploads`` counts a capture once, wherever it is delivered first. ``kept`` is what nobody
    waits for, ``only_here`` what of it was delivered nowhere.
    """

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
    only_here: int = 0
    only_here_bytes: int = 0

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
            each.name: sum(getattr(counter, each.name) or 0 for counter in all_counters)
            for each in fields(cls)
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
