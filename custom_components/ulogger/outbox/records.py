"""What changes a capture's state, each a function inside somebody's transaction."""

import sqlite3
from collections.abc import Iterable
from typing import Final

from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceKey
from . import contents, envelope
from .contents import Again
from .errors import CapturesWait, NoSuchCapture
from .model import Added, CaptureState, Outcome

_DAY: Final = 86_400
_LONGEST_ERROR: Final = 500


def utc_day(now: float) -> int:
    """Tell the number of the UTC day that a moment falls on."""
    return int(now // _DAY)


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
    rest = None if known else contents.rest(connection, device_id, capture)
    if rest is not None:
        capture = rest.capture
        known = contents.earlier(connection, device_id, capture)
    if known is not None and known.again is Again.SAME:
        _count(connection, device_id, "duplicates")
        return Added(Outcome.DUPLICATE, known.capture_id, 0)
    unclear = known is not None and known.again is Again.UNCLEAR
    alike = known.capture_id if known is not None and unclear else None
    if known is None and rest is None:
        alike = contents.overlapped(connection, device_id, capture)
    may_repeat = unclear or alike is not None
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
    """Write a capture, at the end of its device's queue or into quarantine."""
    state = CaptureState.WAITING if capture.fault is None else CaptureState.QUARANTINED
    row = connection.execute(
        "INSERT INTO captures (device_id, kind, state, size, captured_at, stored_at, reason,"
        " continues, may_repeat) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            device_id,
            capture.kind.value,
            state.value,
            len(capture.data),
            capture.captured_at,
            now,
            None if capture.fault is None else capture.fault.value,
            continues,
            may_repeat,
        ),
    ).fetchone()
    capture_id = int(row[0])
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


def deliver(connection: sqlite3.Connection, ids: Iterable[int], now: float) -> int:
    """Mark captures as in the cloud and count them; what is so already is not counted again."""
    marked = 0
    for capture_id in ids:
        row = connection.execute(
            "UPDATE captures SET state = 'delivered', delivered_at = ?, reason = NULL"
            " WHERE id = ? AND state <> 'delivered' RETURNING device_id, kind, size",
            (now, capture_id),
        ).fetchone()
        if row is None:
            continue
        device_id, kind, size = row
        is_dump = kind == CaptureKind.CORE_DUMP.value
        connection.execute(
            "UPDATE devices SET uploads = uploads + 1, bytes_uploaded = bytes_uploaded + :size,"
            " last_upload = :now, last_upload_size = :size,"
            " core_dumps = core_dumps + :dumps,"
            " last_core_dump = CASE WHEN :dumps THEN :now ELSE last_core_dump END,"
            " bytes_that_day = :size + CASE WHEN day = :day THEN bytes_that_day ELSE 0 END,"
            " day = :day WHERE id = :device",
            {
                "size": size,
                "now": now,
                "dumps": int(is_dump),
                "day": utc_day(now),
                "device": device_id,
            },
        )
        marked += 1
    return marked


def fail(connection: sqlite3.Connection, capture_id: int, error: str, now: float) -> int:
    """Count a failed attempt; returns how many there have been."""
    row = connection.execute(
        "UPDATE captures SET attempts = attempts + 1, last_error = ?, last_attempt = ?"
        " WHERE id = ? RETURNING attempts",
        (error[:_LONGEST_ERROR], now, capture_id),
    ).fetchone()
    if row is None:
        raise NoSuchCapture(f"capture {capture_id} is not in the outbox")
    return int(row[0])


def quarantine(connection: sqlite3.Connection, capture_id: int, reason: str) -> bool:
    """Take a waiting capture out of its device's way; False when it does not wait."""
    changed = connection.execute(
        "UPDATE captures SET state = 'quarantined', reason = ? WHERE id = ? AND state = 'waiting'",
        (reason, capture_id),
    )
    return changed.rowcount == 1


def retry(connection: sqlite3.Connection, capture_id: int) -> bool:
    """Let a quarantined capture wait again, at its old place; False when it is in none."""
    changed = connection.execute(
        "UPDATE captures SET state = 'waiting', reason = NULL, attempts = 0"
        " WHERE id = ? AND state = 'quarantined'",
        (capture_id,),
    )
    return changed.rowcount == 1


def discard(connection: sqlite3.Connection, capture_id: int) -> bool:
    """Delete a capture; its content stays remembered. False when it is not here."""
    row = connection.execute(
        "DELETE FROM captures WHERE id = ? RETURNING device_id", (capture_id,)
    ).fetchone()
    if row is None:
        return False
    connection.execute("DELETE FROM bodies WHERE id = ?", (capture_id,))
    contents.left(connection, row[0], capture_id)
    return True


def forget(connection: sqlite3.Connection, key: DeviceKey, *, force: bool) -> int:
    """Delete all of a device; returns how many undelivered captures went with it."""
    device_id = device_of(connection, key)
    if device_id is None:
        return 0
    undelivered = int(
        connection.execute(
            "SELECT coalesce(sum(captures), 0) FROM gauges"
            " WHERE device_id = ? AND state <> 'delivered'",
            (device_id,),
        ).fetchone()[0]
    )
    if undelivered and not force:
        raise CapturesWait(undelivered)
    for statement in (
        "DELETE FROM bodies WHERE id IN (SELECT id FROM captures WHERE device_id = ?)",
        "DELETE FROM captures WHERE device_id = ?",
        "DELETE FROM contents WHERE device_id = ?",
        "DELETE FROM gauges WHERE device_id = ?",
        "DELETE FROM devices WHERE id = ?",
    ):
        connection.execute(statement, (device_id,))
    return undelivered


def apply_retention(
    connection: sqlite3.Connection, before: float, megabytes: float, most: int
) -> int:
    """Delete delivered captures that are too old or too many, oldest first, at most so many."""
    kept: int = connection.execute(
        "SELECT coalesce(sum(bytes), 0) FROM gauges WHERE state = 'delivered'"
    ).fetchone()[0]
    oldest = connection.execute(
        "SELECT id, size, delivered_at FROM captures WHERE state = 'delivered'"
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
