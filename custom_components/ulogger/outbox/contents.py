"""Recognising what a device offers again: by equal content, never by likeness.

Newer agents offer again after a reset what was already taken, under other session tokens and
times, and sometimes with new frames behind it. What is already here, byte for byte, is counted
and not kept twice; of a buffer that begins with what is here only the rest is kept.
"""

import sqlite3
from dataclasses import dataclass, replace
from typing import Final

from ..capture.duplicates import content_key, continuation
from ..capture.log_buffer import LogHeader
from ..capture.model import Capture, CaptureError, CaptureKind
from . import envelope

REMEMBERED: Final = 64
"""Contents per device that are remembered after their captures have left the disk."""

_LOOK_BACK: Final = 8
"""Captures of a device that a longer buffer may begin with, or a cut one be a beginning of."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier capture of the same content; its ID is None when its body has been shed."""

    capture_id: int | None


@dataclass(frozen=True, slots=True)
class Rest:
    """What is new in a buffer, and the capture that holds what came before it."""

    capture: Capture
    continues: int


def remember(
    connection: sqlite3.Connection,
    device_id: int,
    capture_id: int,
    capture: Capture,
    *,
    whole: bool,
) -> None:
    """Note a content as taken; ``whole`` tells that the stored body is all of it."""
    connection.execute(
        "INSERT INTO contents (device_id, kind, key, capture_id, whole) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET capture_id = excluded.capture_id, whole = excluded.whole,"
        " kept = 1",
        (device_id, capture.kind.value, content_key(capture), capture_id, whole),
    )


def remember_all(connection: sqlite3.Connection) -> None:
    """Note the contents of all captures that are here, for a file that remembers none."""
    ids = connection.execute("SELECT id, device_id FROM captures ORDER BY id").fetchall()
    for capture_id, device_id in ids:
        sealed = envelope.load(connection, capture_id)
        if sealed is not None and sealed.intact:
            remember(connection, device_id, capture_id, sealed.capture, whole=True)


def left(connection: sqlite3.Connection, device_id: int, capture_id: int) -> None:
    """Keep the memory of a capture that leaves the disk, and forget the oldest of such."""
    connection.execute("UPDATE contents SET kept = 0 WHERE capture_id = ?", (capture_id,))
    connection.execute(
        "DELETE FROM contents WHERE device_id = ? AND kept = 0 AND id NOT IN (SELECT id"
        " FROM contents WHERE device_id = ? AND kept = 0 ORDER BY id DESC LIMIT ?)",
        (device_id, device_id, REMEMBERED),
    )


def earlier(connection: sqlite3.Connection, device_id: int, capture: Capture) -> Earlier | None:
    """Find an earlier capture of this very content; bytes are compared while they are here."""
    found = connection.execute(
        "SELECT capture_id, whole, kept FROM contents WHERE device_id = ? AND kind = ? AND key = ?",
        (device_id, capture.kind.value, content_key(capture)),
    ).fetchone()
    if found is not None:
        capture_id, whole, kept = found
        if not kept:
            return Earlier(None)
        if not whole or _same(connection, capture_id, capture):
            return Earlier(capture_id)
    return None if capture.fault is None else _holds(connection, device_id, capture)


def _same(connection: sqlite3.Connection, capture_id: int, capture: Capture) -> bool:
    sealed = envelope.load(connection, capture_id)
    if sealed is None or not sealed.intact:
        return False
    return _behind_header(sealed.capture) == _behind_header(capture)


def _behind_header(capture: Capture) -> bytes:
    """Leave out the header of a log, whose times may differ; the key covers the rest of it."""
    if capture.kind is not CaptureKind.LOG or capture.fault is not None:
        return capture.data
    try:
        return capture.data[LogHeader.parse(capture.data).size :]
    except CaptureError:
        return capture.data


def _holds(connection: sqlite3.Connection, device_id: int, capture: Capture) -> Earlier | None:
    """Find a quarantined capture that begins with all of this one: what is cut short is in it."""
    ids = connection.execute(
        "SELECT id FROM captures WHERE device_id = ? AND kind = ? AND state = 'quarantined'"
        " ORDER BY id DESC LIMIT ?",
        (device_id, capture.kind.value, _LOOK_BACK),
    ).fetchall()
    for (capture_id,) in ids:
        sealed = envelope.load(connection, capture_id)
        if sealed is not None and sealed.intact and sealed.capture.data.startswith(capture.data):
            return Earlier(capture_id)
    return None


def rest(connection: sqlite3.Connection, device_id: int, capture: Capture) -> Rest | None:
    """Find what is new in a buffer that begins with captures taken before, one after another."""
    if capture.kind is not CaptureKind.LOG or capture.fault is not None:
        return None
    taken = _taken(connection, device_id, capture)
    found = [_after(taken[start:], capture) for start in range(len(taken))]
    return min(
        (each for each in found if each is not None),
        key=lambda each: len(each.capture.data),
        default=None,
    )


def overlapped(connection: sqlite3.Connection, device_id: int, capture: Capture) -> int | None:
    """Find the newest capture whose frames a buffer begins with, though it can't be cut exactly.

    Such a buffer is kept and sent whole, and marked: its first frames are in the cloud already.
    """
    if capture.kind is not CaptureKind.LOG or capture.fault is not None:
        return None
    alike = [
        capture_id
        for capture_id, data in _taken(connection, device_id, capture)
        if _begins_with(data, capture.data)
    ]
    return max(alike, default=None)


def _taken(
    connection: sqlite3.Connection, device_id: int, capture: Capture
) -> list[tuple[int, bytes]]:
    """Load the device's last captures of the kind, oldest first."""
    ids = connection.execute(
        "SELECT id FROM captures WHERE device_id = ? AND kind = ? AND state <> 'quarantined'"
        " ORDER BY id DESC LIMIT ?",
        (device_id, capture.kind.value, _LOOK_BACK),
    ).fetchall()
    taken: list[tuple[int, bytes]] = []
    for (capture_id,) in reversed(ids):
        sealed = envelope.load(connection, capture_id)
        if sealed is not None and sealed.intact:
            taken.append((capture_id, sealed.capture.data))
    return taken


def _begins_with(previous: bytes, current: bytes) -> bool:
    """Whether one buffer's frames, of which there are some, begin another's."""
    try:
        before, now = LogHeader.parse(previous), LogHeader.parse(current)
    except CaptureError:
        return False
    frames = previous[before.size : before.total]
    return bool(frames) and current.startswith(frames, now.size)


def _left_over(previous: bytes, current: bytes) -> bytes | None:
    """Ask for the continuation only where the frames do begin alike: it reads every byte."""
    return continuation(previous, current) if _begins_with(previous, current) else None


def _after(taken: list[tuple[int, bytes]], capture: Capture) -> Rest | None:
    """Take captures off the beginning for as long as the buffer goes on with them."""
    found: Rest | None = None
    for capture_id, data in taken:
        left_over = _left_over(data, capture.data)
        if left_over is None:
            break
        capture = replace(capture, data=left_over)
        found = Rest(capture, capture_id)
    return found
