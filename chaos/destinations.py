"""Judges each destination by itself, and whether the trouble of the other one reached it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from custom_components.ulogger.model.capture import CaptureKind
from demo.folder import Filed

from .device import TracedDevice
from .ledger import Ledger, content_of
from .outbox import Snapshot
from .verdict import Evidence, Outage, duplicates, lost_pieces, out_of_order

MUST_BE_ZERO_AT_EACH = ("lost", "duplicated_unexplained", "out_of_order", "foreign", "delayed")
MOST_DELAY = 6.0
"""Seconds from the device's release until a destination has a log, with nothing wrong there."""
TIMES_AS_LONG = 3
"""Where the machine is slow, how many times as long as 19 of 20 took with nothing wrong at all."""
FEWEST_HEALTHY = 5

type Journey = tuple[float, float]
"""When a device was released of a log, and when that arrived."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """When a destination could not be reached at all, and when nothing can be asked of it."""

    dead: Sequence[Outage]
    excused: Sequence[Outage]


@dataclass(slots=True)
class Judgement:
    """What became of all captures at one destination."""

    name: str = ""
    captures: int = 0
    lost: int = 0
    duplicated: int = 0
    duplicated_unexplained: int = 0
    out_of_order: int = 0
    foreign: int = 0
    undelivered: int = 0
    dead: int = 0
    dead_s: float = 0.0
    while_other_dead: int = 0
    timed_while_other_dead: int = 0
    longest_delay_while_other_dead_s: float = 0.0
    most_delay_s: float = MOST_DELAY
    delayed: int = 0
    details: list[str] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        """Return the numbers for the report."""
        return {
            name: round(value, 3) if isinstance(value := getattr(self, name), float) else value
            for name in self.__slots__
            if name not in {"name", "details"}
        }


def judge(
    name: str,
    destination: str,
    devices: Sequence[TracedDevice],
    snapshot: Snapshot,
    ledger: Ledger,
    evidence: Evidence | None = None,
) -> Judgement:
    """Say what was lost, came twice or overtook another at one destination.

    ``destination`` is its ID in the outbox, ``evidence`` what may explain repetitions.
    """
    evidence = evidence or Evidence()
    captures: dict[Any, set[int]] = {}
    for capture_id, content in snapshot.contents.items():
        captures.setdefault(content, set()).add(capture_id)
    waiting = snapshot.still_for(destination)
    lost = lost_pieces(devices, waiting, ledger)
    duplicated, unexplained = duplicates(ledger, evidence, captures)
    disordered = list(out_of_order(devices, snapshot, ledger, evidence))
    return Judgement(
        name,
        captures=len(ledger.arrivals),
        lost=sum(lost.values()),
        duplicated=duplicated,
        duplicated_unexplained=len(unexplained),
        out_of_order=len(disordered),
        foreign=len(ledger.foreign),
        undelivered=len(waiting.captures),
        details=[
            *(f"{name}: lost: {serial}: {count}" for serial, count in lost.items()),
            *(f"{name}: {each}" for each in (*unexplained, *disordered[:20], *ledger.foreign[:20])),
        ],
    )


def misfiled(
    filed: Iterable[Filed], snapshot: Snapshot, destination: str
) -> tuple[list[str], list[str]]:
    """Describe captures that are recorded as delivered and are no files, and those that are two."""
    files = Counter(each.capture_id for each in filed)
    absent = sorted(snapshot.delivered(destination) - files.keys())
    twice = [capture_id for capture_id, count in files.items() if count > 1]
    return (
        [f"capture {each} was delivered and is not there" for each in absent],
        [f"capture {each} is there more than once" for each in twice],
    )


def altered(filed: Iterable[Filed], snapshot: Snapshot) -> Iterator[str]:
    """Describe files that are not what the outbox has under their number."""
    for each in filed:
        content = snapshot.contents.get(each.capture_id)
        if content is None or content != content_of(each.serial, each.kind, each.data):
            yield f"{each.serial}: file {each.capture_id} is not the capture of that number"


def journeys(devices: Iterable[TracedDevice], ledger: Ledger) -> list[Journey]:
    """Return of each log when its device was released of it, and when it arrived (Unix seconds).

    What arrived before the device had heard the erase command took no time.
    """
    released = {device.identity.serial: device.releases for device in devices}
    found = []
    for content, numbers in ledger.numbers.items():
        serial, kind, _ = content
        if kind is not CaptureKind.LOG:
            continue
        came = ledger.arrivals[content][0]
        # A newer agent may offer, and be released of, the same frames more than once.
        if moments := [at for at, frames in released[serial] if frames == tuple(numbers)]:
            found.append((max((at for at in moments if at <= came), default=came), came))
    return found


def until_caught_up(
    outages: Iterable[Outage], most: float, of_logs: Sequence[Journey]
) -> list[Outage]:
    """Have outages last until all that had to wait is there, for so many seconds at the most."""
    longer = []
    for outage in outages:
        end, latest = outage.end, outage.end + most
        while late := [came for since, came in of_logs if since <= end < came]:
            end = min(max(late), latest)
            if end == latest:
                break
        longer.append(Outage(outage.start, end))
    return longer


def most_delay(healthy: Iterable[float]) -> float:
    """Return how many seconds a log may take, by what those took that nothing was in the way of."""
    took = sorted(max(0.0, each) for each in healthy)
    if len(took) < FEWEST_HEALTHY:
        return MOST_DELAY
    return max(MOST_DELAY, TIMES_AS_LONG * took[len(took) * 19 // 20])


def compare_troubles(
    judgement: Judgement,
    ledger: Ledger,
    of_logs: Iterable[Journey],
    own: Trouble,
    others_dead: Sequence[Outage],
) -> None:
    """Note what came while the other destination was dead, and how long that took.

    Logs are timed where nothing but the other one was in trouble, from the device's release to
    the arrival, and compared with those of times when nothing was wrong.
    """
    of_logs = list(of_logs)
    judgement.most_delay_s = most_delay(
        came - since
        for since, came in of_logs
        if not any(
            each.start <= came and since <= each.end for each in (*own.excused, *others_dead)
        )
    )
    judgement.dead = len(own.dead)
    judgement.dead_s = sum(each.end - each.start for each in own.dead)
    judgement.while_other_dead = sum(
        any(each.start <= times[0] <= each.end for each in others_dead)
        for times in ledger.arrivals.values()
    )
    for since, came in of_logs:
        if not any(each.start <= since <= each.end for each in others_dead):
            continue
        if any(each.start <= came and since <= each.end for each in own.excused):
            continue
        delay = max(0.0, came - since)
        judgement.timed_while_other_dead += 1
        judgement.longest_delay_while_other_dead_s = max(
            judgement.longest_delay_while_other_dead_s, delay
        )
        if delay > judgement.most_delay_s:
            judgement.delayed += 1
            judgement.details.append(
                f"{judgement.name}: a log came after {delay:.1f} s while the other one was dead"
            )
