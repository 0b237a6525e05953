"""Opening the file: checked, brought up to date, repaired if need be."""

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

from . import files, recovery
from .database import SUSPECT, abandon, connect, make_durable
from .errors import OutboxDamaged, OutboxTooNew, translated
from .model import Recovery
from .schema import VERSION, migrate, version_of

_STEPS_BETWEEN_LOOKS: Final = 2_000
_TABLES: Final = ("devices", "captures", "bodies", "gauges", "meta", "contents")


def open_file(
    path: Path, now: float, check_seconds: float
) -> tuple[sqlite3.Connection, Recovery | None]:
    """Open the outbox, or what can be saved of it; returns what the last recovery came to.

    Raises ``OutboxTooNew`` and ``OutboxLocked`` with the file untouched, ``DiskFull`` and
    ``DiskFailed``.
    """
    try:
        recovery.finish(path)
        files.prepare(path)
        if files.companion(path, SUSPECT).exists():
            return _repaired(path, now)
        try:
            return _opened(path, check_seconds)
        except sqlite3.DatabaseError as error:
            failure = translated(error)
            if not isinstance(failure, OutboxDamaged):
                raise failure from error
        except OutboxDamaged:
            pass
        return _repaired(path, now)
    except (sqlite3.Error, OSError) as error:
        raise translated(error) from error


def _repaired(path: Path, now: float) -> tuple[sqlite3.Connection, Recovery | None]:
    recovery.rebuild(path, now)
    return _opened(path, check_seconds=0)


def _opened(path: Path, check_seconds: float) -> tuple[sqlite3.Connection, Recovery | None]:
    with contextlib.ExitStack() as given_up:
        connection = connect(path)
        given_up.callback(abandon, connection)
        _check_version(connection)
        _check(connection, check_seconds)
        make_durable(connection)
        migrate(connection)
        for table in _TABLES:
            connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608
        recovered = recovery.noted(connection, path)
        given_up.pop_all()
        return connection, recovered


def _check_version(connection: sqlite3.Connection) -> None:
    version = version_of(connection)
    if version > VERSION:
        raise OutboxTooNew(f"the file has version {version}, this is {VERSION}")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if version == 0 and tables:
        raise OutboxDamaged("the file holds something else")


def _check(connection: sqlite3.Connection, seconds: float) -> None:
    """Look the structure over for as long as that takes, but no longer than ``seconds``.

    What is not reached in time is not left unseen: every body is checked when it is read.
    """
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    verdict = "ok"
    with contextlib.suppress(sqlite3.OperationalError):
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    connection.set_progress_handler(None, 0)
    if verdict != "ok":
        raise OutboxDamaged(verdict)
