"""Captures made by hand, and an outbox on a disk of its own."""

import sqlite3
import struct
from functools import reduce
from pathlib import Path
from typing import Any, Final

from custom_components.ulogger.model.capture import Capture, CaptureFault, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.database import Run
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.outbox.queue import Queue
from custom_components.ulogger.outbox.schema import MIGRATIONS

NOW: Final = 1_795_230_000.0
CLOCK: Final = DeviceIdentity(7, "CLOCK-1", "clock", "1.2.3", "abcdef")
LAMP: Final = DeviceIdentity(7, "LAMP-1", "lamp", "0.9.0", "123456")


class Clock:
    """A wall clock that is set by the test."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def frame(number: int, *, ticks: int = 1, payload: int = 20) -> bytes:
    """Make a frame that differs from every other frame."""
    content = struct.pack("<BIB", 0, number, 0) + bytes([number % 251]) * payload
    return struct.pack("<HI", len(content), ticks) + content


def log(*frames: bytes, token: int = 0, anchor: int = 100_000, epoch: int = 0) -> bytes:
    """Make a version 4 log buffer."""
    data = b"".join(frames)
    checksum = reduce(lambda left, right: left ^ right, data, 0)
    return struct.pack("<BIIIQHH", 4, token, anchor, 1000, epoch, len(data), checksum) + data


def captured(
    number: int = 0,
    device: DeviceIdentity = CLOCK,
    *,
    data: bytes | None = None,
    kind: CaptureKind = CaptureKind.LOG,
    fault: CaptureFault | None = None,
    size: int = 20,
    at: float | None = None,
) -> Capture:
    """Make a capture whose content is told by its number, as is the time when it came."""
    content = log(frame(number, payload=size)) if data is None else data
    return Capture(kind, device, content, NOW + number if at is None else at, fault)


def core_dump(number: int = 0, device: DeviceIdentity = CLOCK, *, size: int = 400) -> Capture:
    """Make a core dump whose content is told by its number."""
    data = struct.pack("<II", size, number) + bytes(size - 8)
    return Capture(CaptureKind.CORE_DUMP, device, data, NOW + number)


def outbox_path(directory: Path) -> Path:
    """Name the outbox as Home Assistant would have it."""
    return directory / "ulogger" / "account.db"


def as_of_version(connection: sqlite3.Connection, version: int) -> None:
    """Write a file as a version before destinations had it."""
    connection.row_factory = sqlite3.Row
    rows = {
        table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
        for table in ("devices", "captures", "bodies", "contents", "deliveries")
    }
    connection.row_factory = None
    for delivery in rows.pop("deliveries"):
        [capture] = [each for each in rows["captures"] if each["id"] == delivery["capture_id"]]
        there = {name: delivery[name] for name in _ONCE_OF_CAPTURES}
        capture |= there | {"reason": capture["reason"] or delivery["reason"]}
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    ).fetchall()
    for (table,) in tables:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DELETE FROM sqlite_sequence")
    for migration in MIGRATIONS[:version]:
        migration(connection)
    for table, lines in rows.items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" * len(columns))
        for line in lines if columns else ():
            connection.execute(
                f"INSERT INTO {table} VALUES ({marks})",
                [line[name] for name in columns],
            )
    connection.execute(f"PRAGMA user_version = {version}")


_ONCE_OF_CAPTURES: Final = ("attempts", "last_error", "last_attempt", "delivered_at")


DESTINATION: Final = "ulogger"


async def open_outbox(path: Path, run: Run, **options: Any) -> Outbox:
    """Open an outbox that captures leave for one destination."""
    outbox = await Outbox.open(path, run, **options)
    await outbox.set_destinations({DESTINATION: 0.0})
    return outbox


def queue(outbox: Outbox) -> Queue:
    """Return what waits for that destination."""
    return outbox.queue(DESTINATION)
