"""Recognising what a device offers again: by proof, never by likeness.

A content is dropped only where it is known to be what was taken: the device was not told to
erase it, or its header was made in the same boot (see `judge`). Once a device has confirmed an
erase, the same bytes are new ones. Where nobody can tell, a capture is kept whole, delivered,
and marked: it may repeat what is in the cloud already.
"""

import sqlite3
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from typing import Final

from ..capture.duplicates import (
    anchored,
    begins_with,
    content_key,
    continuation,
    holds,
    holds_continuation,
    may_offer_again,
    same_boot,
    same_moment,
)
from ..capture.errors import CaptureError
from ..capture.log_buffer import LogHeader
from ..model.capture import Capture, CaptureFault, CaptureKind
from . import envelope

REMEMBERED: Final = 64
"""Contents per device that are remembered after their captures have left the disk."""

_LOOK_BACK: Final = 8
"""Captures of a device that a longer buffer may begin with, or a cut one be a beginning of."""


class Again(Enum):
    """What content is that equals what was taken before."""

    SAME = auto()
    """The device offers again what it still had."""
    NEW = auto()
    """The device had erased the earlier one, and has written the same anew."""
    UNCLEAR = auto()
    """One or the other."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An earlier capture: its header if that tells when it was made, and when it came.

    ``erased`` tells whether the device has confirmed that it erased this; False when it was not
    even told to, None when nobody knows.
    """

    header: LogHeader | None
    captured_at: float
    erased: bool | None


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier capture of the same content; its ID is None when its body has left the disk."""

    capture_id: int | None
    again: Again


@dataclass(frozen=True, slots=True)
class Rest:
    """What is new in a buffer, and the capture that holds what came before it."""

    capture: Capture
    continues: int


class Before:
    """An earlier log. Its bytes are read, and held against their seal, when they are asked for.

    One that is ``refused`` at a destination is missing there: what goes on from it goes up whole.
    One that ``goes_on`` is the rest of a buffer: its first frame's ticks are not the device's.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        capture_id: int,
        taken: Taken,
        *,
        refused: bool = False,
        goes_on: bool = False,
    ) -> None:
        self.capture_id = capture_id
        self.taken = taken
        self.refused = refused
        self.goes_on = goes_on
        self._connection = connection

    @cached_property
    def data(self) -> bytes | None:
        """The bytes; None when they are not what was stored."""
        sealed = envelope.load(self._connection, self.capture_id)
        return sealed.capture.data if sealed is not None and sealed.intact else None


def judge(taken: Taken, capture: Capture, now: LogHeader | None) -> Again:
    """Tell what content is that equals what was taken before; ``now`` is its `header_of`.

    * A buffer too long to be erased is still there.
    * A header of the same instant proves that nothing was written anew.
    * In the same boot a device offers again only what it has not erased.
    * In another boot a log that was not erased may still be there, or be lost to the device and
      written anew; one that was erased is new, unless the agent offers again what was erased.
    * What has no such header (core dumps, the oldest logs) is the same if the device was not
      told to erase it, and new if it has confirmed that.
    """
    if capture.fault is CaptureFault.TOO_LONG:
        return Again.SAME
    if taken.header is not None and now is not None:
        if same_moment(taken.header, now):
            return Again.SAME
        if same_boot(taken.header, now, capture.captured_at - taken.captured_at):
            return Again.NEW if taken.erased else Again.SAME
        if not taken.erased:
            return Again.UNCLEAR
    if taken.erased:
        log = capture.kind is CaptureKind.LOG
        return Again.UNCLEAR if log and may_offer_again(capture.data) else Again.NEW
    return Again.UNCLEAR if taken.erased is None else Again.SAME


def header_of(capture: Capture) -> LogHeader | None:
    """Return what a capture's header proves of when it was made; that reads all of its bytes."""
    return anchored(capture.data) if capture.kind is CaptureKind.LOG else None


def remember(
    connection: sqlite3.Connection,
    device_id: int,
    capture_id: int,
    capture: Capture,
    *,
    whole: bool,
    erased: int | None = None,
) -> None:
    """Note a content as taken; ``whole`` tells that the stored body is all of it."""
    connection.execute(
        "INSERT INTO contents"
        " (device_id, kind, key, capture_id, whole, erased, header, captured_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET capture_id = excluded.capture_id, whole = excluded.whole,"
        " kept = 1, erased = excluded.erased, header = excluded.header,"
        " captured_at = excluded.captured_at",
        (
            device_id,
            capture.kind.value,
            content_key(capture),
            capture_id,
            whole,
            erased,
            _header_bytes(capture),
            capture.captured_at,
        ),
    )


def remember_all(connection: sqlite3.Connection) -> None:
    """Note the contents of all captures that are here, for a file that remembers none."""
    ids = connection.execute("SELECT id, device_id FROM captures ORDER BY id").fetchall()
    for capture_id, device_id in ids:
        sealed = envelope.load(connection, capture_id)
        if sealed is not None and sealed.intact:
            connection.execute(
                "INSERT INTO contents (device_id, kind, key, capture_id, whole)"
                " VALUES (?, ?, ?, ?, 1)"
                " ON CONFLICT DO UPDATE SET capture_id = excluded.capture_id",
                (device_id, sealed.capture.kind.value, content_key(sealed.capture), capture_id),
            )


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
        "SELECT capture_id, whole, kept, erased, header, captured_at FROM contents"
        " WHERE device_id = ? AND kind = ? AND key = ?",
        (device_id, capture.kind.value, content_key(capture)),
    ).fetchone()
    if found is not None:
        capture_id, whole, kept, erased, header, captured_at = found
        taken = Taken(_header(header), captured_at or 0.0, _flag(erased))
        if not kept:
            return Earlier(None, judge(taken, capture, header_of(capture)))
        if not whole:
            return Earlier(capture_id, judge(taken, capture, header_of(capture)))
        if (body := _same(connection, capture_id, capture)) is not None:
            return Earlier(capture_id, judge(_taken(body, erased), capture, header_of(capture)))
    return None if capture.fault is None else _held(connection, device_id, capture)


def _same(connection: sqlite3.Connection, capture_id: int, capture: Capture) -> Capture | None:
    """Load a capture if it is what was stored, and of the same bytes behind the header."""
    sealed = envelope.load(connection, capture_id)
    if sealed is None or not sealed.intact:
        return None
    alike = _behind_header(sealed.capture) == _behind_header(capture)
    return sealed.capture if alike else None


def _taken(body: Capture, erased: int | None) -> Taken:
    return Taken(header_of(body), body.captured_at, _flag(erased))


def _behind_header(capture: Capture) -> bytes:
    """Leave out the header of a log, whose times may differ; the key covers the rest of it."""
    if capture.kind is not CaptureKind.LOG or capture.fault is not None:
        return capture.data
    try:
        return capture.data[LogHeader.parse(capture.data).size :]
    except CaptureError:
        return capture.data


def _header_bytes(capture: Capture) -> bytes | None:
    """Pack what a header proves, for the time when the body is gone."""
    header = header_of(capture)
    return None if header is None else header.pack()


def _header(data: bytes | None) -> LogHeader | None:
    try:
        return None if data is None else LogHeader.parse(data)
    except CaptureError:
        return None


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _held(connection: sqlite3.Connection, device_id: int, capture: Capture) -> Earlier | None:
    """Find a quarantined capture that begins with all of this one: what is cut short is in it.

    Only of one that the device can't have erased.
    """
    ids = connection.execute(
        "SELECT id, erased FROM captures WHERE device_id = ? AND kind = ?"
        " AND state = 'quarantined' AND reason IS NOT NULL ORDER BY id DESC LIMIT ?",
        (device_id, capture.kind.value, _LOOK_BACK),
    ).fetchall()
    for capture_id, erased in ids:
        if capture.fault is not CaptureFault.TOO_LONG and erased != 0:
            continue
        sealed = envelope.load(connection, capture_id)
        if sealed is not None and sealed.intact and sealed.capture.data.startswith(capture.data):
            return Earlier(capture_id, Again.SAME)
    return None


def before(connection: sqlite3.Connection, device_id: int, capture: Capture) -> list[Before]:
    """Find the device's last logs that a longer one may begin with, oldest first.

    What is remembered of them tells most often that they were erased: then nothing is read.
    """
    if capture.kind is not CaptureKind.LOG or capture.fault is not None:
        return []
    rows = connection.execute(
        "SELECT captures.id, captures.erased, contents.header, contents.captured_at,"
        " state = 'quarantined', continues IS NOT NULL AND NOT may_repeat FROM captures"
        " LEFT JOIN contents ON contents.capture_id = captures.id AND whole = 1"
        " WHERE captures.device_id = ? AND captures.kind = ? AND captures.reason IS NULL"
        " AND (state <> 'quarantined' OR EXISTS (SELECT 1 FROM deliveries"
        " WHERE deliveries.capture_id = captures.id AND deliveries.state <> 'refused'))"
        " ORDER BY captures.id DESC LIMIT ?",
        (device_id, capture.kind.value, _LOOK_BACK),
    ).fetchall()
    found: list[Before] = []
    for capture_id, erased, header, captured_at, refused, goes_on in reversed(rows):
        if captured_at is not None:
            taken = Taken(_header(header), captured_at, _flag(erased))
        elif (sealed := envelope.load(connection, capture_id)) is not None and sealed.intact:
            taken = _taken(sealed.capture, erased)
        else:
            continue
        found.append(
            Before(connection, capture_id, taken, refused=bool(refused), goes_on=bool(goes_on))
        )
    return found


def rest(earlier_logs: list[Before], capture: Capture) -> Rest | None:
    """Find what is new in a buffer that begins with captures taken before, one after another.

    Only with those that the device had not erased then, in the same boot of it.
    """
    if not earlier_logs:
        return None
    now = header_of(capture)
    found = [_after(earlier_logs[start:], capture, now) for start in range(len(earlier_logs))]
    return min(
        (each for each in found if each is not None),
        key=lambda each: len(each.capture.data),
        default=None,
    )


def overlapped(earlier_logs: list[Before], capture: Capture) -> int | None:
    """Find the newest capture whose frames a buffer may repeat, though it can't be cut exactly.

    Such a buffer is kept and sent whole, and marked: frames of it may be in the cloud already.
    """
    if not earlier_logs:
        return None
    alike = begins_with if not may_offer_again(capture.data) else holds
    now = header_of(capture)
    found = [
        each.capture_id
        for each in earlier_logs
        if judge(each.taken, capture, now) is not Again.NEW
        and each.data is not None
        and (alike(each.data, capture.data) or _rest_is_in(each, capture))
    ]
    return max(found, default=None)


def may_repeat_forgotten(connection: sqlite3.Connection, device_id: int, capture: Capture) -> bool:
    """Whether a log may repeat logs that have left the disk: a newer agent's after a reset."""
    if capture.kind is not CaptureKind.LOG or capture.fault is not None:
        return False
    if not may_offer_again(capture.data):
        return False
    found = connection.execute(
        "SELECT erased, header, captured_at FROM contents WHERE device_id = ? AND kind = ?"
        " AND kept = 0 ORDER BY id DESC LIMIT 1",
        (device_id, capture.kind.value),
    ).fetchone()
    if found is None:
        return False
    erased, header, captured_at = found
    taken = Taken(_header(header), captured_at or 0.0, _flag(erased))
    return judge(taken, capture, header_of(capture)) is not Again.NEW


def _rest_is_in(earlier_log: Before, capture: Capture) -> bool:
    """Whether a buffer has what a rest has; what that one went on from may be long forgotten."""
    data = earlier_log.data if earlier_log.goes_on else None
    return data is not None and holds_continuation(data, capture.data)


def _after(earlier_logs: list[Before], capture: Capture, now: LogHeader | None) -> Rest | None:
    """Take captures off the beginning for as long as the buffer goes on with them."""
    found: Rest | None = None
    for each in earlier_logs:
        # What is cheapest comes first: asking for the continuation reads every byte.
        if each.refused or judge(each.taken, capture, now) is not Again.SAME:
            break
        if each.data is None or not begins_with(each.data, capture.data):
            break
        left_over = continuation(each.data, capture.data)
        if left_over is None:
            break
        capture = replace(capture, data=left_over)
        now = header_of(capture)
        found = Rest(capture, each.capture_id)
    return found
