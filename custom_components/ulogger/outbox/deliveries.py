"""What each destination has of the captures, each a function inside somebody's transaction.

Invariants:

* A capture has at most one row per destination: waiting, delivered or refused.
* A capture's own state follows from its fault and its rows (see `settle`); nothing else sets it.
* A capture with a fault of its own waits for nobody, so it has no waiting row.
* `destinations` names whose rows were made for what is here. A destination that is not in it is
  new: what it wants of the captures that are here, it gets once (see `set_destinations`).
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from ..model.capture import CaptureKind
from ..model.identity import ULOGGER
from .errors import NoSuchCapture

_DAY: Final = 86_400
_LONGEST_ERROR: Final = 500

_STATE: Final = """CASE WHEN captures.reason IS NOT NULL THEN 'quarantined'
    WHEN EXISTS (SELECT 1 FROM deliveries
        WHERE capture_id = captures.id AND deliveries.state = 'waiting') THEN 'waiting'
    WHEN EXISTS (SELECT 1 FROM deliveries
        WHERE capture_id = captures.id AND deliveries.state = 'refused') THEN 'quarantined'
    WHEN EXISTS (SELECT 1 FROM deliveries WHERE capture_id = captures.id) THEN 'delivered'
    ELSE 'kept' END"""

_SETTLE: Final = f"""UPDATE captures SET (state, delivered_at) = (SELECT settled,
    CASE WHEN settled IN ('delivered', 'kept') THEN coalesce(captures.delivered_at, ?) END
    FROM (SELECT {_STATE} AS settled))"""  # noqa: S608

_AWAIT: Final = """INSERT OR IGNORE INTO deliveries
    (capture_id, destination_id, state, device_id, kind)
    SELECT id, ?, 'waiting', device_id, kind FROM captures"""


def utc_day(now: float) -> int:
    """Tell the number of the UTC day that a moment falls on."""
    return int(now // _DAY)


def begin_with_first(connection: sqlite3.Connection) -> None:
    """Give captures without any row one by their own state: once there was uLogger only."""
    connection.execute(
        "INSERT INTO deliveries (capture_id, destination_id, state, attempts, last_error,"
        " last_attempt, reason, delivered_at, device_id, kind)"
        " SELECT id, ?, CASE state WHEN 'quarantined' THEN 'refused' ELSE state END, attempts,"
        " last_error, last_attempt, reason, delivered_at, device_id, kind FROM captures"
        " WHERE (state IN ('waiting', 'delivered') OR (state = 'quarantined'"
        " AND reason = 'refused')) AND id NOT IN (SELECT capture_id FROM deliveries)",
        (ULOGGER,),
    )
    connection.execute("UPDATE captures SET reason = NULL WHERE reason = 'refused'")
    connection.execute(
        "INSERT OR IGNORE INTO sent"
        " (device_id, destination_id, captures, bytes, last, day, bytes_that_day)"
        " SELECT id, ?, uploads, bytes_uploaded, last_upload, day, bytes_that_day FROM devices"
        " WHERE uploads > 0 OR bytes_that_day > 0",
        (ULOGGER,),
    )
    connection.execute(
        "INSERT OR IGNORE INTO destinations SELECT DISTINCT destination_id FROM deliveries"
    )


def set_destinations(
    connection: sqlite3.Connection, wanted: Mapping[str, float], now: float
) -> None:
    """Make ready for exactly these destinations, each by the moment it wants captures from.

    One that is new gets what was stored since then and is still here; of one that is gone every
    row and counter is forgotten, and nothing else.
    """
    known = {row[0] for row in connection.execute("SELECT id FROM destinations")}
    rows = {
        row[0]
        for table in ("deliveries", "sent")
        for row in connection.execute(f"SELECT DISTINCT destination_id FROM {table}")  # noqa: S608
    }
    for destination in (known | rows) - wanted.keys():
        for table in ("deliveries", "sent", "delivery_gauges"):
            connection.execute(
                f"DELETE FROM {table} WHERE destination_id = ?",  # noqa: S608
                (destination,),
            )
        connection.execute("DELETE FROM destinations WHERE id = ?", (destination,))
    for destination in wanted.keys() - known:
        connection.execute("INSERT INTO destinations VALUES (?)", (destination,))
        connection.execute(
            f"{_AWAIT} WHERE stored_at >= ? AND reason IS NULL",
            (destination, wanted[destination]),
        )
    if known != wanted.keys() or rows - wanted.keys():
        settle_all(connection, now)


def settle_all(connection: sqlite3.Connection, now: float) -> None:
    """Have every capture's state follow from its rows; what was delivered stays so."""
    connection.execute(
        f"{_SETTLE} WHERE state <> 'delivered' OR EXISTS (SELECT 1 FROM deliveries"  # noqa: S608
        " WHERE capture_id = captures.id AND deliveries.state <> 'delivered')",
        (now,),
    )


def settle(connection: sqlite3.Connection, capture_id: int, now: float) -> None:
    """Have a capture's state follow from its fault and its rows.

    ``delivered_at`` is since when nobody waits for it: retention counts from then on.
    """
    connection.execute(f"{_SETTLE} WHERE id = ?", (now, capture_id))


def await_all(connection: sqlite3.Connection, capture_id: int, destinations: Iterable[str]) -> None:
    """Have a capture wait for each destination that has no row of it yet."""
    for destination in destinations:
        connection.execute(f"{_AWAIT} WHERE id = ?", (destination, capture_id))


def known(connection: sqlite3.Connection) -> list[str]:
    """Name the destinations that captures wait for."""
    return [row[0] for row in connection.execute("SELECT id FROM destinations")]


def deliver(
    connection: sqlite3.Connection,
    destination: str,
    ids: Iterable[int],
    now: float,
    saved: int = 0,
) -> int:
    """Mark captures as there and count them; what is so already is not counted again.

    ``saved`` is how many bytes of them did not have to be sent.
    """
    marked = 0
    for capture_id in ids:
        row = connection.execute(
            "UPDATE deliveries SET state = 'delivered', delivered_at = ?, reason = NULL"
            " WHERE capture_id = ? AND destination_id = ? AND state <> 'delivered'"
            " RETURNING device_id",
            (now, capture_id, destination),
        ).fetchone()
        if row is None:
            continue
        size, kind, counted = connection.execute(
            "SELECT size, kind, counted FROM captures WHERE id = ?", (capture_id,)
        ).fetchone()
        less = min(size, saved)
        saved -= less
        _count_there(connection, destination, row[0], size - less, now)
        if not counted:
            _count_device(connection, row[0], size, kind, now)
            connection.execute("UPDATE captures SET counted = 1 WHERE id = ?", (capture_id,))
        settle(connection, capture_id, now)
        marked += 1
    return marked


def _count_there(
    connection: sqlite3.Connection, destination: str, device_id: int, size: int, now: float
) -> None:
    """Count a capture for a destination."""
    connection.execute(
        "INSERT INTO sent (device_id, destination_id, captures, bytes, last, day, bytes_that_day)"
        " VALUES (:device, :destination, 1, :size, :now, :day, :size)"
        " ON CONFLICT DO UPDATE SET captures = captures + 1, bytes = bytes + :size, last = :now,"
        " bytes_that_day = :size + CASE WHEN day = :day THEN bytes_that_day ELSE 0 END,"
        " day = :day",
        {
            "device": device_id,
            "destination": destination,
            "size": size,
            "now": now,
            "day": utc_day(now),
        },
    )


def _count_device(
    connection: sqlite3.Connection, device_id: int, size: int, kind: str, now: float
) -> None:
    """Count a capture for its device, once, wherever it is first."""
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
            "dumps": int(kind == CaptureKind.CORE_DUMP.value),
            "day": utc_day(now),
            "device": device_id,
        },
    )


def fail(
    connection: sqlite3.Connection, destination: str, capture_id: int, error: str, now: float
) -> int:
    """Count a failed attempt; returns how many there have been."""
    row = connection.execute(
        "UPDATE deliveries SET attempts = attempts + 1, last_error = ?, last_attempt = ?"
        " WHERE capture_id = ? AND destination_id = ? RETURNING attempts",
        (error[:_LONGEST_ERROR], now, capture_id, destination),
    ).fetchone()
    if row is None:
        raise NoSuchCapture(f"capture {capture_id} does not wait here")
    return int(row[0])


def refuse(
    connection: sqlite3.Connection, destination: str, capture_id: int, reason: str, now: float
) -> bool:
    """Take a capture out of the way at one destination; False when it does not wait there."""
    changed = connection.execute(
        "UPDATE deliveries SET state = 'refused', reason = ?"
        " WHERE capture_id = ? AND destination_id = ? AND state = 'waiting'",
        (reason, capture_id, destination),
    )
    if changed.rowcount == 1:
        settle(connection, capture_id, now)
    return changed.rowcount == 1


def retry(
    connection: sqlite3.Connection, capture_id: int, now: float, destination: str | None = None
) -> bool:
    """Let what was refused wait again, at its old place: at one destination, or at all."""
    changed = connection.execute(
        "UPDATE deliveries SET state = 'waiting', reason = NULL, attempts = 0"
        " WHERE capture_id = ?1 AND state = 'refused'"
        " AND (?2 IS NULL OR destination_id = ?2)",
        (capture_id, destination),
    )
    if changed.rowcount:
        settle(connection, capture_id, now)
    return changed.rowcount > 0


def drop_waiting(connection: sqlite3.Connection, capture_id: int) -> None:
    """Have a capture wait for nobody any longer: it has a fault of its own."""
    connection.execute(
        "DELETE FROM deliveries WHERE capture_id = ? AND state = 'waiting'", (capture_id,)
    )
