"""Whether a file that SQLite can open is what was written.

Indexes only repeat what tables say: where nothing but an index is damaged, it is written anew.
"""

import sqlite3
import time
from typing import Final

from .database import make_durable
from .errors import OutboxDamaged
from .schema import DELIVERIES, version_of
from .transactions import transaction

_STEPS_BETWEEN_LOOKS: Final = 2_000

_TALLIES: Final = """SELECT device_id, state, count(*), sum(size) FROM captures NOT INDEXED
    GROUP BY 1, 2 ORDER BY 1, 2"""
_GAUGES: Final = """SELECT * FROM gauges WHERE captures <> 0 OR bytes <> 0 ORDER BY 1, 2"""
_QUARANTINED: Final = """SELECT device_id, count(*)
    FROM captures INDEXED BY captures_quarantined WHERE state = 'quarantined' GROUP BY 1
    ORDER BY 1"""
_DELIVERY_TALLIES: Final = """SELECT destination_id, deliveries.device_id, deliveries.state,
    count(*), sum(size) FROM deliveries NOT INDEXED JOIN captures ON captures.id = capture_id
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
_DELIVERY_GAUGES: Final = """SELECT * FROM delivery_gauges WHERE captures <> 0 OR bytes <> 0
    ORDER BY 1, 2, 3"""
_HEADS: Final = """SELECT destination_id, device_id, count(*)
    FROM deliveries INDEXED BY deliveries_waiting WHERE state = 'waiting' GROUP BY 1, 2
    ORDER BY 1, 2"""
_DISAGREEING: Final = """SELECT 1 FROM captures LEFT JOIN bodies ON bodies.id = captures.id
    LEFT JOIN devices ON devices.id = device_id
    WHERE state NOT IN ('waiting', 'quarantined', 'delivered', 'kept')
    OR captures.kind NOT IN ('log', 'core_dump') OR captures.kind IS NOT bodies.kind
    OR captures.captured_at IS NOT bodies.captured_at OR size IS NOT length(data)
    OR bodies.application_id IS NOT devices.application_id
    OR bodies.serial IS NOT devices.serial
    UNION ALL SELECT 1 FROM bodies WHERE id NOT IN (SELECT id FROM captures) LIMIT 1"""
_DELIVERIES_DISAGREEING: Final = """SELECT 1 FROM deliveries NOT INDEXED
    LEFT JOIN captures ON captures.id = capture_id
    WHERE deliveries.state NOT IN ('waiting', 'delivered', 'refused')
    OR deliveries.device_id IS NOT captures.device_id OR deliveries.kind IS NOT captures.kind
    UNION ALL SELECT 1 FROM captures WHERE (state = 'waiting') IS NOT EXISTS
        (SELECT 1 FROM deliveries WHERE capture_id = captures.id AND deliveries.state = 'waiting')
    LIMIT 1"""


def check(connection: sqlite3.Connection, seconds: float) -> None:
    """Look a file over, for at most about ``seconds``, and write its indexes anew if need be.

    What is not reached in time is not left unseen: every body is checked when it is read. Raises
    ``OutboxDamaged``, with the file unchanged, or SQLite's own errors.
    """
    if _is_sound(connection, seconds):
        return
    make_durable(connection)
    with transaction(connection):
        connection.execute("REINDEX")
        if not _is_sound(connection, seconds):
            raise OutboxDamaged("tables, indexes and gauges do not agree")


def _is_sound(connection: sqlite3.Connection, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    try:
        return (
            _agree(connection)
            and (version_of(connection) < DELIVERIES or _deliveries_agree(connection))
            and connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
            and connection.execute(_DISAGREEING).fetchone() is None
        )
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return True
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _agree(connection: sqlite3.Connection) -> bool:
    """Whether the gauges count what the table of captures has, and so does the index."""
    tallies = connection.execute(_TALLIES).fetchall()
    quarantined = [(device, count) for device, state, count, _ in tallies if state == "quarantined"]
    return (
        tallies == connection.execute(_GAUGES).fetchall()
        and quarantined == connection.execute(_QUARANTINED).fetchall()
    )


def _deliveries_agree(connection: sqlite3.Connection) -> bool:
    """Whether what destinations have fits the captures, and the index leads to all that waits."""
    there = connection.execute(_DELIVERY_TALLIES).fetchall()
    heads = [(each[0], each[1], each[3]) for each in there if each[2] == "waiting"]
    return (
        there == connection.execute(_DELIVERY_GAUGES).fetchall()
        and heads == connection.execute(_HEADS).fetchall()
        and connection.execute(_DELIVERIES_DISAGREEING).fetchone() is None
    )
