"""What changes a capture's state, each a function inside somebody's transaction."""

import sqlite3
from collections.abc import Iterable

from ..model.capture import Capture
from ..model.identity import DeviceKey
from . import contents, deliveries, envelope
from .contents import Again
from .model import Added, CaptureState, Outcome


def device_of(connection: sqlite3.Connection, key: DeviceKey) -> int | None:
    """Find a device's row."""
    row = connection.execute(
        "SELECT id FROM devices WHERE application_id = ? AND serial = ?", key
    ).fetchone()
    return None if row is None else int(row[0])


def ensure_device(connection: sqlite3.Connection, key: DeviceKey) -> int:
    """Find or make a device's row."""
    known = device_of(connection, key)
    if known is not None:
        return known
    row = connection.execute(
        "INSERT INTO devices (application_id, serial) VALUES (?, ?) RETURNING id", key
    ).fetchone()
    return int(row[0])


def add(connection: sqlite3.Connection, capture: Capture, now: float) -> Added:
    """Take a capture in: as new, as the new part of it, into quarantine, or as known already."""
    device_id = ensure_device(connection, capture.device.key)
    offered = capture
    known = contents.earlier(connection, device_id, capture)
    before = [] if known else contents.before(connection, device_id, capture)
    rest = contents.rest(before, capture)
    if rest is not None:
        capture = rest.capture
        known = contents.earlier(connection, device_id, capture)
    if known is not None and known.again is Again.SAME:
        _count(connection, device_id, "duplicates")
        return Added(Outcome.DUPLICATE, known.capture_id, 0)
    unclear = known is not None and known.again is Again.UNCLEAR
    alike = known.capture_id if known is not None and unclear else None
    if known is None and rest is None:
        alike = contents.overlapped(before, capture)
    may_repeat = unclear or alike is not None
    if known is None and not before:
        may_repeat = contents.may_repeat_forgotten(connection, device_id, capture)
    capture_id = insert(
        connection,
        device_id,
        capture,
        now,
        continues=rest.continues if rest else alike,
        may_repeat=may_repeat,
    )
    contents.remember(connection, device_id, capture_id, capture, whole=True)
    outcome = Outcome.MAY_REPEAT if may_repeat else Outcome.STORED
    if capture.fault is not None:
        outcome = Outcome.QUARANTINED
    if rest is not None:
        outcome = Outcome.CONTINUATION
        contents.remember(connection, device_id, capture_id, offered, whole=False)
        _count(connection, device_id, "continuations")
    if may_repeat:
        _count(connection, device_id, "may_repeat")
    return Added(outcome, capture_id, len(capture.data), may_repeat)


def _count(connection: sqlite3.Connection, device_id: int, counter: str) -> None:
    """Add one to one of a device's counters."""
    connection.execute(
        f"UPDATE devices SET {counter} = {counter} + 1 WHERE id = ?",  # noqa: S608
        (device_id,),
    )


def insert(
    connection: sqlite3.Connection,
    device_id: int,
    capture: Capture,
    now: float,
    *,
    continues: int | None = None,
    may_repeat: bool = False,
) -> int:
    """Write a capture, at the end of its device's queues or into quarantine."""
    destinations = deliveries.known(connection) if capture.fault is None else []
    state = CaptureState.WAITING if destinations else CaptureState.KEPT
    if capture.fault is not None:
        state = CaptureState.QUARANTINED
    row = connection.execute(
        "INSERT INTO captures (device_id, kind, state, size, captured_at, stored_at, reason,"
        " delivered_at, continues, may_repeat) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            device_id,
            capture.kind.value,
            state.value,
            len(capture.data),
            capture.captured_at,
            now,
            None if capture.fault is None else capture.fault.value,
            now if state is CaptureState.KEPT else None,
            continues,
            may_repeat,
        ),
    ).fetchone()
    capture_id = int(row[0])
    deliveries.await_all(connection, capture_id, destinations)
    envelope.store(connection, capture_id, capture)
    return capture_id


def erased(connection: sqlite3.Connection, key: DeviceKey) -> None:
    """Note that a device has erased whatever it has offered so far."""
    device_id = device_of(connection, key)
    for table in ("captures", "contents"):
        connection.execute(
            f"UPDATE {table} SET erased = 1 WHERE device_id = ? AND erased IS NOT 1",  # noqa: S608
            (device_id,),
        )


def held(connection: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Note that a device still has what it offered: it was not told to erase it."""
    for capture_id in ids:
        for table, column in (("captures", "id"), ("contents", "capture_id")):
            connection.execute(
                f"UPDATE {table} SET erased = 0 WHERE {column} = ? AND erased IS NULL",  # noqa: S608
                (capture_id,),
            )


def set_fault(connection: sqlite3.Connection, capture_id: int, reason: str, now: float) -> bool:
    """Take a capture that waits out of everybody's way; False when it waits for nobody."""
    changed = connection.execute(
        "UPDATE captures SET reason = ? WHERE id = ? AND state = 'waiting'", (reason, capture_id)
    )
    if changed.rowcount != 1:
        return False
    deliveries.drop_waiting(connection, capture_id)
    deliveries.settle(connection, capture_id, now)
    return True


def retry(connection: sqlite3.Connection, capture_id: int, now: float) -> bool:
    """Let a quarantined capture wait again, at its old place; False when it is in none."""
    changed = connection.execute(
        "UPDATE captures SET reason = NULL WHERE id = ? AND state = 'quarantined'"
        " AND reason IS NOT NULL",
        (capture_id,),
    )
    if changed.rowcount:
        deliveries.await_all(connection, capture_id, deliveries.known(connection))
        deliveries.settle(connection, capture_id, now)
    refused = deliveries.retry(connection, capture_id, now)
    return refused or changed.rowcount > 0


def discard(connection: sqlite3.Connection, capture_id: int) -> bool:
    """Delete a capture; its content stays remembered. False when it is not here."""
    connection.execute("DELETE FROM deliveries WHERE capture_id = ?", (capture_id,))
    row = connection.execute(
        "DELETE FROM captures WHERE id = ? RETURNING device_id", (capture_id,)
    ).fetchone()
    if row is None:
        return False
    connection.execute("DELETE FROM bodies WHERE id = ?", (capture_id,))
    contents.left(connection, row[0], capture_id)
    return True


def apply_retention(
    connection: sqlite3.Connection, before: float, megabytes: float, most: int
) -> int:
    """Delete captures that nobody waits for and that are too old or too many, oldest first."""
    kept: int = connection.execute(
        "SELECT coalesce(sum(bytes), 0) FROM gauges WHERE state IN ('delivered', 'kept')"
    ).fetchone()[0]
    oldest = connection.execute(
        "SELECT id, size, delivered_at FROM captures WHERE state IN ('delivered', 'kept')"
        " ORDER BY delivered_at, id LIMIT ?",
        (most,),
    ).fetchall()
    gone = 0
    for capture_id, size, delivered_at in oldest:
        if delivered_at >= before and kept <= megabytes * 1_000_000:
            break
        discard(connection, capture_id)
        kept -= size
        gone += 1
    return gone
