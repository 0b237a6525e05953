"""What the outbox can be asked without changing it."""

import math
import sqlite3
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceKey
from . import envelope
from .errors import NoSuchCapture, OutboxDamaged
from .model import CaptureState, DeviceCounters, Item, Row
from .records import utc_day

_WAITING: Final = """SELECT id, size FROM captures
    WHERE device_id = ? AND state = 'waiting' ORDER BY id LIMIT ?"""
_WAITING_DUMPS: Final = """SELECT id, size FROM captures
    WHERE device_id = ? AND state = 'waiting' AND kind = 'core_dump' ORDER BY id LIMIT ?"""
_WAITING_LOGS: Final = """SELECT id, size FROM captures
    WHERE device_id = ? AND state = 'waiting' AND kind = 'log' ORDER BY id LIMIT ?"""

_ROWS: Final = """SELECT captures.id, application_id, serial, kind, state, size, captured_at,
    stored_at, attempts, last_error, last_attempt, reason, delivered_at, continues,
    captures.may_repeat FROM captures JOIN devices ON devices.id = device_id"""

_COUNTERS: Final = """SELECT devices.id, application_id, serial, uploads, bytes_uploaded,
    last_upload, last_upload_size, core_dumps, last_core_dump, duplicates, continuations,
    may_repeat, CASE WHEN day = ? THEN bytes_that_day ELSE 0 END FROM devices ORDER BY devices.id"""


@dataclass(frozen=True, slots=True)
class NextBatch:
    """Captures to deliver, and those found damaged on the way, which must make room."""

    items: list[Item]
    damaged: list[int]


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose captures may go now, and whose first: ``attempted`` is when each device last was."""

    exclude: Collection[DeviceKey]
    core_dumps_only: Collection[DeviceKey]
    logs_only: Collection[DeviceKey]
    attempted: Mapping[DeviceKey, float]


def next_batch(
    connection: sqlite3.Connection, limit: int, max_bytes: int, devices: int, choice: Choice
) -> NextBatch:
    """Load the next captures to deliver: devices take turns, each in its own order."""
    fresh = _queues(connection, limit, choice)
    turns: deque[sqlite3.Cursor] = deque()
    found = NextBatch([], [])
    total = opened = 0
    while len(found.items) < limit:
        queue = next(fresh, None) if opened < devices else None
        is_fresh = queue is not None
        if queue is None:
            if not turns:
                break
            queue = turns.popleft()
        head = queue.fetchone()
        if head is None:
            continue
        capture_id, size = head
        if found.items and total + size > max_bytes:
            break
        opened += is_fresh
        item = _item(connection, capture_id)
        if item is None:
            found.damaged.append(capture_id)
        else:
            found.items.append(item)
            total += size
        turns.append(queue)
    return found


def _queues(connection: sqlite3.Connection, limit: int, choice: Choice) -> Iterator[sqlite3.Cursor]:
    """Open each device's queue, the one first whose turn was longest ago."""
    devices = connection.execute(
        "SELECT device_id, application_id, serial, (SELECT min(captures.id) FROM captures"
        " WHERE captures.device_id = gauges.device_id AND captures.state = 'waiting') AS head"
        " FROM gauges JOIN devices ON devices.id = device_id"
        " WHERE state = 'waiting' AND captures > 0 ORDER BY head"
    ).fetchall()
    devices.sort(key=lambda row: choice.attempted.get(row[1:3], -math.inf))
    for device_id, application_id, serial, _head in devices:
        key = (application_id, serial)
        dumps_only, logs_only = key in choice.core_dumps_only, key in choice.logs_only
        if key in choice.exclude or (dumps_only and logs_only):
            continue
        statement = _WAITING_DUMPS if dumps_only else _WAITING_LOGS if logs_only else _WAITING
        yield connection.execute(statement, (device_id, limit))


def _item(connection: sqlite3.Connection, capture_id: int) -> Item | None:
    """Load a waiting capture; None when its bytes are not what was stored.

    A body that is not there at all raises ``OutboxDamaged``: a repair may find it elsewhere.
    """
    sealed = envelope.load(connection, capture_id)
    if sealed is None:
        raise OutboxDamaged(f"capture {capture_id} has no readable body")
    if not sealed.intact:
        return None
    attempts, reason = connection.execute(
        "SELECT attempts, reason FROM captures WHERE id = ?", (capture_id,)
    ).fetchone()
    return Item(capture_id, envelope.with_reason(sealed.capture, reason), attempts)


def read(connection: sqlite3.Connection, capture_id: int) -> Capture:
    """Load one capture as it is on disk, whatever its state."""
    row = connection.execute("SELECT reason FROM captures WHERE id = ?", (capture_id,)).fetchone()
    if row is None:
        raise NoSuchCapture(f"capture {capture_id} is not in the outbox")
    sealed = envelope.load(connection, capture_id)
    if sealed is None:
        raise OutboxDamaged(f"capture {capture_id} has no readable body")
    return envelope.with_reason(sealed.capture, row[0])


def listing(
    connection: sqlite3.Connection,
    key: DeviceKey | None,
    states: Collection[CaptureState],
    limit: int | None,
) -> list[Row]:
    """Describe captures, newest first, without loading their bytes."""
    wanted = sorted(state.value for state in states)
    marks = ", ".join("?" * len(wanted))
    statement = f"{_ROWS} WHERE state IN ({marks})"
    values: list[object] = [*wanted]
    if key is not None:
        statement += " AND application_id = ? AND serial = ?"
        values += key
    values.append(-1 if limit is None else limit)
    rows = connection.execute(f"{statement} ORDER BY captures.id DESC LIMIT ?", values)
    return [
        Row(
            capture_id,
            (application_id, serial),
            CaptureKind(kind),
            CaptureState(state),
            *(*others, bool(may_repeat)),
        )
        for capture_id, application_id, serial, kind, state, *others, may_repeat in rows
    ]


def counters(connection: sqlite3.Connection, now: float) -> dict[DeviceKey, DeviceCounters]:
    """Read every device's counters."""
    gauges = {
        (device_id, state): (captures, total)
        for device_id, state, captures, total in connection.execute("SELECT * FROM gauges")
    }

    def gauge(device_id: int, state: CaptureState) -> tuple[int, int]:
        return gauges.get((device_id, state.value), (0, 0))

    found = {}
    for row in connection.execute(_COUNTERS, (utc_day(now),)):
        device_id, application_id, serial, *values = row
        for state in (CaptureState.WAITING, CaptureState.QUARANTINED, CaptureState.DELIVERED):
            values += gauge(device_id, state)
        found[application_id, serial] = DeviceCounters(*values)
    return found


def undelivered_bytes(connection: sqlite3.Connection) -> int:
    """Sum the bytes of all captures that no cloud has."""
    total: int = connection.execute(
        "SELECT coalesce(sum(bytes), 0) FROM gauges WHERE state <> 'delivered'"
    ).fetchone()[0]
    return total
