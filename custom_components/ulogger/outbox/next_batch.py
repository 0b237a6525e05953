"""Which captures a destination is offered next: devices take turns, each in its own order."""

import math
import sqlite3
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..model.capture import Capture
from ..model.identity import DeviceKey
from . import envelope
from .errors import OutboxDamaged
from .model import Item

_WAITING: Final = """SELECT capture_id, size, attempts, fault, goes_on
    FROM (SELECT capture_id, attempts FROM deliveries
        WHERE destination_id = ? AND device_id = ? AND state = 'waiting' AND capture_id > ?{kind}
        ORDER BY capture_id LIMIT ?)
    JOIN (SELECT id, size, reason AS fault, may_repeat OR continues IS NOT NULL AS goes_on
        FROM captures) ON id = capture_id
    ORDER BY capture_id"""

_BY_KIND: Final = {
    None: _WAITING.format(kind=""),
    "core_dump": _WAITING.format(kind=" AND kind = 'core_dump'"),
    "log": _WAITING.format(kind=" AND kind = 'log'"),
}

_DEVICES: Final = """SELECT device_id, application_id, serial, (SELECT min(capture_id)
        FROM deliveries WHERE deliveries.destination_id = delivery_gauges.destination_id
        AND deliveries.device_id = delivery_gauges.device_id
        AND deliveries.state = 'waiting') AS head
    FROM delivery_gauges JOIN devices ON devices.id = device_id
    WHERE destination_id = ? AND state = 'waiting' AND captures > 0 ORDER BY head"""


@dataclass(frozen=True, slots=True)
class NextBatch:
    """Captures to deliver, and those found damaged on the way, which must make room."""

    items: list[Item]
    damaged: list[int]


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose captures may go now, and whose first: ``attempted`` is when each device last was.

    ``after`` is for a device whose captures up to that ID are on their way already.
    """

    exclude: Collection[DeviceKey]
    core_dumps_only: Collection[DeviceKey]
    logs_only: Collection[DeviceKey]
    attempted: Mapping[DeviceKey, float]
    only: DeviceKey | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class Most:
    """How much may be loaded: captures, their bytes, and of how many devices."""

    captures: int
    size: int
    devices: int


def load(
    connection: sqlite3.Connection,
    destination: str,
    most: Most,
    choice: Choice,
) -> NextBatch:
    """Load the next captures of a destination, at least one if any may go."""
    fresh = _queues(connection, destination, most.captures, choice)
    turns: deque[sqlite3.Cursor] = deque()
    found = NextBatch([], [])
    total = opened = 0
    while len(found.items) < most.captures:
        queue = next(fresh, None) if opened < most.devices else None
        is_fresh = queue is not None
        if queue is None:
            if not turns:
                break
            queue = turns.popleft()
        head = queue.fetchone()
        if head is None:
            continue
        capture_id, size, attempts, fault, goes_on = head
        if found.items and total + size > most.size:
            break
        opened += is_fresh
        capture = _capture(connection, capture_id, fault)
        if capture is None:
            found.damaged.append(capture_id)
        else:
            found.items.append(Item(capture_id, capture, attempts, bool(goes_on)))
            total += size
        turns.append(queue)
    return found


def _queues(
    connection: sqlite3.Connection, destination: str, limit: int, choice: Choice
) -> Iterator[sqlite3.Cursor]:
    """Open each device's queue, the one first whose turn was longest ago."""
    devices = connection.execute(_DEVICES, (destination,)).fetchall()
    devices.sort(key=lambda row: choice.attempted.get(row[1:3], -math.inf))
    for device_id, application_id, serial, _head in devices:
        key = (application_id, serial)
        dumps_only, logs_only = key in choice.core_dumps_only, key in choice.logs_only
        if key in choice.exclude or (dumps_only and logs_only):
            continue
        if choice.only is not None and key != choice.only:
            continue
        kind = "core_dump" if dumps_only else "log" if logs_only else None
        yield connection.execute(_BY_KIND[kind], (destination, device_id, choice.after, limit))


def _capture(connection: sqlite3.Connection, capture_id: int, fault: str | None) -> Capture | None:
    """Load a waiting capture; None when its bytes are not what was stored.

    A body that is not there at all raises ``OutboxDamaged``: a repair may find it elsewhere.
    """
    sealed = envelope.load(connection, capture_id)
    if sealed is None:
        raise OutboxDamaged(f"capture {capture_id} has no readable body")
    if not sealed.intact:
        return None
    return envelope.with_reason(sealed.capture, fault)
