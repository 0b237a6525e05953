"""Tables of the outbox, and the steps from every earlier version to the present one."""

import contextlib
import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Final

from . import deliveries
from .contents import remember_all
from .transactions import transaction

type Migration = Callable[[sqlite3.Connection], None]

_BEGINNING: Final = (
    """CREATE TABLE devices (
        id INTEGER PRIMARY KEY,
        application_id INTEGER NOT NULL,
        serial TEXT NOT NULL,
        uploads INTEGER NOT NULL DEFAULT 0,
        bytes_uploaded INTEGER NOT NULL DEFAULT 0,
        last_upload REAL,
        last_upload_size INTEGER,
        core_dumps INTEGER NOT NULL DEFAULT 0,
        last_core_dump REAL,
        duplicates INTEGER NOT NULL DEFAULT 0,
        continuations INTEGER NOT NULL DEFAULT 0,
        day INTEGER NOT NULL DEFAULT 0,
        bytes_that_day INTEGER NOT NULL DEFAULT 0,
        UNIQUE (application_id, serial))""",
    """CREATE TABLE captures (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        device_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        size INTEGER NOT NULL,
        captured_at REAL NOT NULL,
        stored_at REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        last_error TEXT,
        last_attempt REAL,
        reason TEXT,
        delivered_at REAL,
        continues INTEGER)""",
    """CREATE TABLE bodies (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        application_id INTEGER NOT NULL,
        serial TEXT NOT NULL,
        device_type TEXT NOT NULL,
        git_version TEXT NOT NULL,
        git_hash TEXT NOT NULL,
        captured_at REAL NOT NULL,
        fault TEXT,
        digest BLOB NOT NULL,
        data BLOB NOT NULL)""",
    """CREATE TABLE gauges (
        device_id INTEGER NOT NULL,
        state TEXT NOT NULL,
        captures INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (device_id, state)) WITHOUT ROWID""",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX captures_by_device ON captures (device_id, id)",
    "CREATE INDEX captures_waiting ON captures (device_id, id) WHERE state = 'waiting'",
    """CREATE INDEX captures_dumps ON captures (device_id, id)
        WHERE state = 'waiting' AND kind = 'core_dump'""",
    """CREATE INDEX captures_quarantined ON captures (device_id, id)
        WHERE state = 'quarantined'""",
    "CREATE INDEX captures_delivered ON captures (delivered_at, id) WHERE state = 'delivered'",
    """CREATE TRIGGER capture_came AFTER INSERT ON captures BEGIN
        INSERT INTO gauges VALUES (new.device_id, new.state, 1, new.size)
        ON CONFLICT DO UPDATE SET captures = captures + 1, bytes = bytes + new.size;
    END""",
    """CREATE TRIGGER capture_moved AFTER UPDATE OF state ON captures
    WHEN old.state <> new.state BEGIN
        UPDATE gauges SET captures = captures - 1, bytes = bytes - old.size
        WHERE device_id = old.device_id AND state = old.state;
        INSERT INTO gauges VALUES (new.device_id, new.state, 1, new.size)
        ON CONFLICT DO UPDATE SET captures = captures + 1, bytes = bytes + new.size;
    END""",
    """CREATE TRIGGER capture_went AFTER DELETE ON captures BEGIN
        UPDATE gauges SET captures = captures - 1, bytes = bytes - old.size
        WHERE device_id = old.device_id AND state = old.state;
    END""",
)

_CONTENTS: Final = (
    """CREATE TABLE contents (
        id INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        key BLOB NOT NULL,
        capture_id INTEGER NOT NULL,
        whole INTEGER NOT NULL,
        kept INTEGER NOT NULL DEFAULT 1,
        UNIQUE (device_id, kind, key))""",
    "CREATE INDEX contents_by_capture ON contents (capture_id)",
    "CREATE INDEX contents_gone ON contents (device_id, id) WHERE kept = 0",
)

_ERASED: Final = (
    "ALTER TABLE captures ADD COLUMN erased INTEGER",
    "ALTER TABLE captures ADD COLUMN may_repeat INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE contents ADD COLUMN erased INTEGER",
    "ALTER TABLE contents ADD COLUMN header BLOB",
    "ALTER TABLE contents ADD COLUMN captured_at REAL",
    "ALTER TABLE devices ADD COLUMN may_repeat INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX captures_unerased ON captures (device_id) WHERE erased IS NOT 1",
    "CREATE INDEX contents_unerased ON contents (device_id) WHERE erased IS NOT 1",
    "UPDATE captures SET may_repeat = 1, reason = NULL WHERE reason = 'overlap'",
)

_DELIVERIES: Final = (
    "CREATE TABLE destinations (id TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY,
        capture_id INTEGER NOT NULL,
        destination_id TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        last_error TEXT,
        last_attempt REAL,
        reason TEXT,
        delivered_at REAL,
        device_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        UNIQUE (capture_id, destination_id))""",
    """CREATE TABLE sent (
        id INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL,
        destination_id TEXT NOT NULL,
        captures INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        last REAL,
        day INTEGER NOT NULL DEFAULT 0,
        bytes_that_day INTEGER NOT NULL DEFAULT 0,
        UNIQUE (destination_id, device_id))""",
    """CREATE TABLE delivery_gauges (
        destination_id TEXT NOT NULL,
        device_id INTEGER NOT NULL,
        state TEXT NOT NULL,
        captures INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (destination_id, state, device_id)) WITHOUT ROWID""",
    """CREATE INDEX deliveries_waiting ON deliveries (destination_id, device_id, capture_id)
        WHERE state = 'waiting'""",
    """CREATE INDEX deliveries_dumps ON deliveries (destination_id, device_id, capture_id)
        WHERE state = 'waiting' AND kind = 'core_dump'""",
    """CREATE TRIGGER delivery_came AFTER INSERT ON deliveries BEGIN
        INSERT INTO delivery_gauges
        SELECT new.destination_id, new.device_id, new.state, 1, size FROM captures
        WHERE captures.id = new.capture_id
        ON CONFLICT DO UPDATE SET captures = captures + 1, bytes = bytes + excluded.bytes;
    END""",
    """CREATE TRIGGER delivery_moved AFTER UPDATE OF state ON deliveries
    WHEN old.state <> new.state BEGIN
        UPDATE delivery_gauges SET captures = captures - 1,
        bytes = bytes - (SELECT size FROM captures WHERE captures.id = old.capture_id)
        WHERE destination_id = old.destination_id AND device_id = old.device_id
        AND state = old.state;
        INSERT INTO delivery_gauges
        SELECT new.destination_id, new.device_id, new.state, 1, size FROM captures
        WHERE captures.id = new.capture_id
        ON CONFLICT DO UPDATE SET captures = captures + 1, bytes = bytes + excluded.bytes;
    END""",
    """CREATE TRIGGER delivery_went AFTER DELETE ON deliveries BEGIN
        UPDATE delivery_gauges SET captures = captures - 1,
        bytes = bytes - (SELECT size FROM captures WHERE captures.id = old.capture_id)
        WHERE destination_id = old.destination_id AND device_id = old.device_id
        AND state = old.state;
    END""",
    "ALTER TABLE captures ADD COLUMN counted INTEGER NOT NULL DEFAULT 0",
    "UPDATE captures SET counted = 1 WHERE state = 'delivered'",
    # What waits is found by its destination from now on.
    "DROP INDEX captures_waiting",
    "DROP INDEX captures_dumps",
    "DROP INDEX captures_delivered",
    """CREATE INDEX captures_done ON captures (delivered_at, id)
        WHERE state IN ('delivered', 'kept')""",
)


def _begin(connection: sqlite3.Connection) -> None:
    """Version 1: devices with their counters, captures and their bodies."""
    for statement in _BEGINNING:
        connection.execute(statement)


def _remember_contents(connection: sqlite3.Connection) -> None:
    """Version 2: contents are remembered, so that what a device offers again is recognised."""
    for statement in _CONTENTS:
        connection.execute(statement)
    remember_all(connection)


def _note_erasures(connection: sqlite3.Connection) -> None:
    """Version 3: whether a device has erased a capture is noted; of older ones nobody knows."""
    for statement in _ERASED:
        connection.execute(statement)


def _deliver_to_many(connection: sqlite3.Connection) -> None:
    """Version 4: each destination has its own state of a capture; before, there was one cloud.

    What belongs to a destination left `captures` for `deliveries`. The columns stay, unused, as
    a recovery reads rows by the places of their values.
    """
    for statement in _DELIVERIES:
        connection.execute(statement)
    deliveries.begin_with_first(connection)


MIGRATIONS: Final[tuple[Migration, ...]] = (
    _begin,
    _remember_contents,
    _note_erasures,
    _deliver_to_many,
)
VERSION: Final = len(MIGRATIONS)
DELIVERIES: Final = 4
"""The first version with a state per destination."""


def version_of(connection: sqlite3.Connection) -> int:
    """Read which version the file has; 0 is a new one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def described(connection: sqlite3.Connection) -> dict[str, str | None]:
    """Read the texts of all tables, indexes and triggers."""
    rows = connection.execute(
        "SELECT type || ' ' || name || ' ' || tbl_name, sql FROM sqlite_schema"
    )
    return dict(rows.fetchall())


@cache
def expected(version: int) -> dict[str, str | None]:
    """Tell the texts that a file of a version has."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for migration in MIGRATIONS[:version]:
            migration(connection)
        return described(connection)


def migrate(connection: sqlite3.Connection) -> None:
    """Take the file through every version it has missed, each one whole or not at all."""
    for version in range(version_of(connection), VERSION):
        with transaction(connection):
            MIGRATIONS[version](connection)
            connection.execute(f"PRAGMA user_version = {version + 1}")
