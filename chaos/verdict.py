"""Judges a run: what was lost, what came twice and why, and whether the order held."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.outbox.model import CaptureState

from .device import TracedDevice
from .ledger import Content, Ledger
from .outbox import Held, Snapshot

GRACE = 5.0
"""Seconds around an outage within which a first arrival belongs to it: a broker that comes
back passes on what it had taken before, and a message on its way is as old as its way is long."""
LIFTED = 180.0
"""Seconds within which the gateway has noticed that nothing is denied any longer."""


@dataclass(frozen=True, slots=True)
class Kill:
    """An end of Home Assistant, and what its outbox did not have as delivered then."""

    at: float
    waiting: set[Content]


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without acknowledgements: the broker was stopped or frozen."""

    start: float
    end: float

    def covers(self, moment: float) -> bool:
        """Whether an acknowledgement of that moment may have been lost in it."""
        return self.start - GRACE <= moment <= self.end + GRACE


@dataclass(slots=True)
class Evidence:
    """What the faults leave behind for the judge."""

    kills: list[Kill] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    denials: list[Outage] = field(default_factory=list)

    def lets_pass(self, arrival: float) -> bool:
        """Whether a capture may have overtaken one of a kind that the broker denied then."""
        return any(d.start <= arrival <= d.end + LIFTED for d in self.denials)

    def explains(self, content: Content, first: float, again: float) -> bool:
        """Whether a capture had to be sent again.

        A kill came after the cloud had it and before the outbox had recorded that, or the
        acknowledgement was lost with the broker, so that nobody could have recorded it.
        """
        return any(
            first <= kill.at + GRACE and kill.at <= again and content in kill.waiting
            for kill in self.kills
        ) or any(outage.covers(first) for outage in self.outages)


def erased_frames(device: TracedDevice) -> set[int]:
    """Return every frame that the device erased on the gateway's word."""
    return {
        number
        for erased in device.erased
        if erased.kind is CaptureKind.LOG and erased.content
        for number in device.frames_in(erased.content) or ()
    }


def erased_dumps(device: TracedDevice) -> Counter[bytes]:
    """Count how often the device erased each core dump; the same one may have been left again."""
    kind = CaptureKind.CORE_DUMP
    return Counter(each.content for each in device.erased if each.kind is kind and each.content)


def lost_pieces(
    devices: Iterable[TracedDevice], kept: Held | None, ledger: Ledger
) -> dict[str, int]:
    """Count by device what was erased and is neither on disk nor in the cloud."""
    lost = {}
    for device in devices:
        serial = device.identity.serial
        on_disk = set() if kept is None else kept.frames[serial]
        gone = len(erased_frames(device) - on_disk - ledger.frames[serial])
        for dump, times in erased_dumps(device).items():
            content = (serial, CaptureKind.CORE_DUMP, dump)
            there = 0 if kept is None else len(kept.captures.get(content, ()))
            gone += max(0, times - max(there, len(ledger.arrivals.get(content, ()))))
        if gone:
            lost[serial] = gone
    return lost


def duplicates(
    ledger: Ledger, evidence: Evidence, captures: Mapping[Content, Collection[int]] | None = None
) -> tuple[int, list[str]]:
    """Count captures that came more than once, and describe those that nothing explains.

    Contents of which the outbox had several ``captures`` had to come as often.
    """
    unexplained = []
    duplicated = 0
    for content, times in ledger.arrivals.items():
        expected = max(1, len((captures or {}).get(content, ())))
        if len(times) <= expected:
            continue
        duplicated += 1
        causeless = [pair for pair in pairwise(times) if not evidence.explains(content, *pair)]
        if len(causeless) > expected - 1:
            serial, kind, data = content
            moments = ", ".join(f"{moment:.1f}" for moment in times)
            unexplained.append(f"{serial} {kind.value} of {len(data)} bytes at {moments}")
    return duplicated, unexplained


def unmarked_repeats(devices: Iterable[TracedDevice], snapshot: Snapshot) -> Iterator[str]:
    """Describe captures that hold what an earlier one held, and do not say that they may."""
    for device in devices:
        serial = device.identity.serial
        rows = [row for row in snapshot.rows if row.key[1] == serial]
        seen: dict[int, int] = {}
        for row in rows:
            numbers = snapshot.frames.get(row.capture_id, frozenset())
            again = seen.keys() & numbers
            if again and not row.may_repeat:
                yield (
                    f"{serial}: capture {row.capture_id} repeats {len(again)} of {len(numbers)} "
                    f"frames, those of {sorted({seen[each] for each in again})}, without a mark; "
                    f"it came at {row.captured_at:.1f} and goes on from {row.continues}"
                )
            seen |= dict.fromkeys(numbers, row.capture_id)
        plain = Counter(
            snapshot.contents[row.capture_id][2]
            for row in rows
            if row.kind is CaptureKind.CORE_DUMP and not row.may_repeat
        )
        for dump, times in plain.items():
            if times > device.dumps_left[dump]:
                yield f"{serial}: a core dump is here {times} times without a mark"


def out_of_order(
    devices: Iterable[TracedDevice],
    snapshot: Snapshot,
    ledger: Ledger,
    evidence: Evidence | None = None,
) -> Iterator[str]:
    """Describe every capture that overtook another one of its device for no reason."""
    evidence = evidence or Evidence()
    for device in devices:
        serial = device.identity.serial
        yield from _overtaken(serial, snapshot, ledger, evidence)
        for kind in CaptureKind:
            yield from _shuffled(serial, kind, ledger)


def _overtaken(
    serial: str, snapshot: Snapshot, ledger: Ledger, evidence: Evidence
) -> Iterator[str]:
    """Compare the order in which captures came to disk with that of their first arrivals."""
    order = {content: place for place, content in enumerate(ledger.arrivals)}
    latest = dict.fromkeys(CaptureKind, -1)
    met: set[Content] = set()
    for row in snapshot.rows:
        content = snapshot.contents[row.capture_id]
        if row.key[1] != serial or row.state is CaptureState.QUARANTINED:
            continue
        # Nothing tells which arrival of a repeated dump belongs to which of its captures.
        if content in met:
            continue
        met.add(content)
        place = order.get(content, len(order))
        # Where one kind is denied, the other one may pass it.
        passes = content in order and evidence.lets_pass(ledger.arrivals[content][0])
        kinds = (row.kind,) if passes else CaptureKind
        if place < max(latest[kind] for kind in kinds):
            yield f"{serial}: capture {row.capture_id} came before an older one"
        latest[row.kind] = max(latest[row.kind], place)


def _shuffled(serial: str, kind: CaptureKind, ledger: Ledger) -> Iterator[str]:
    """Look for a piece that came first after a piece that the device wrote later."""
    seen: set[int] = set()
    latest = -1
    for content in ledger.arrivals:
        if content[:2] != (serial, kind):
            continue
        for number in ledger.numbers.get(content, []):
            if number not in seen and number < latest:
                yield f"{serial}: {kind.value} piece {number} came after {latest}"
            seen.add(number)
            latest = max(latest, number)
