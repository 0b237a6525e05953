"""Opening the file: checked, brought up to date, repaired if need be."""

import contextlib
import sqlite3
from pathlib import Path

from . import files, pages, recovery, soundness
from .database import SUSPECT, abandon, connect, make_durable
from .errors import OutboxDamaged, OutboxTooNew, as_outbox_error
from .model import Recovery
from .schema import VERSION, described, expected, migrate, version_of


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
        if files.companion(path, SUSPECT).exists() or not pages.has_sound_header(path):
            return _repaired(path, now)
        try:
            return _opened(path, check_seconds)
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            failure = as_outbox_error(error)
            if not isinstance(failure, OutboxDamaged):
                raise failure from error
        except OutboxDamaged:
            pass
        return _repaired(path, now)
    except (sqlite3.Error, OSError, ValueError, TypeError, OverflowError) as error:
        raise as_outbox_error(error) from error


def _repaired(path: Path, now: float) -> tuple[sqlite3.Connection, Recovery | None]:
    recovery.rebuild(path, now)
    return _opened(path, check_seconds=0)


def _opened(path: Path, check_seconds: float) -> tuple[sqlite3.Connection, Recovery | None]:
    with contextlib.ExitStack() as given_up:
        connection = connect(path)
        given_up.callback(abandon, connection)
        _check_schema(connection)
        if version_of(connection) and check_seconds:
            soundness.check(connection, check_seconds)
        make_durable(connection)
        migrate(connection)
        recovered = recovery.noted(connection, path)
        given_up.pop_all()
        return connection, recovered


def _check_schema(connection: sqlite3.Connection) -> None:
    """Hold the version and all texts against each other: a text may be damaged, and still valid."""
    version = version_of(connection)
    found = described(connection)
    if found == expected(min(version, VERSION)) and version <= VERSION:
        return
    if version > VERSION and not _is_slip(version, found):
        raise OutboxTooNew(f"the file has version {version}, this is {VERSION}")
    raise OutboxDamaged("the file holds something else")


def _is_slip(version: int, found: dict[str, str | None]) -> bool:
    """Whether a later version is ours with one wrong bit: all else is exactly as we have it."""
    return (version ^ VERSION).bit_count() == 1 and found == expected(VERSION)
