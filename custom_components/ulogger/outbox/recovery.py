"""A damaged file: what can be read from it is brought over into a new one.

The order of the steps makes a kill at any of them harmless: the new file is built beside the
damaged one, becomes final by one rename, and only then is the damaged one set aside. A file that
was final but not yet in place is put there at the next opening.
"""

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from . import contents, envelope, files
from .database import SUSPECT, checkpoint, connect, make_durable
from .model import DAMAGED, CaptureState, Recovery
from .schema import migrate
from .transactions import transaction

_BUILDING: Final = "-building"
_REBUILT: Final = "-rebuilt"
_SALVAGE: Final = "-salvage"
_META: Final = "recovery"
_PAGE: Final = 4096
_POINTER_MAP: Final = 2
_FILE_SIZE_FIELD: Final = 28

_DEVICE_COLUMNS: Final = (
    "id, application_id, serial, uploads, bytes_uploaded, last_upload, last_upload_size,"
    " core_dumps, last_core_dump, duplicates, continuations, day, bytes_that_day, may_repeat"
)
_CAPTURE_COLUMNS: Final = (
    "device_id, kind, state, size, captured_at, stored_at, attempts, last_error, last_attempt,"
    " reason, delivered_at, continues, erased, may_repeat"
)
_CONTENT_COLUMNS: Final = (
    "device_id, kind, key, capture_id, whole, kept, erased, header, captured_at"
)
_ABSENT: Final = {"may_repeat": "0"}
"""What stands for columns that a file of an earlier version does not have; else NULL."""
_UNREADABLE: Final = object()


def rebuild(path: Path, now: float) -> None:
    """Build a new file from what is readable of the damaged one, and put it in its place."""
    building = files.companion(path, _BUILDING)
    files.delete(building)
    files.prepare(building)
    target = connect(building)
    try:
        make_durable(target)
        migrate(target)
        checkpoint(target)
        signposts = _signposts(target, building)
    finally:
        target.close()
    target = connect(building)
    try:
        make_durable(target)
        with transaction(target), _readable(path, signposts) as source:
            brought, distrusted, lost = _bring_over(source, target, now)
            aside = _aside(path, now)
            note = [aside.name, now, brought, distrusted, lost]
            target.execute("INSERT INTO meta VALUES (?, ?)", (_META, json.dumps(note)))
    finally:
        target.close()
    building.rename(files.companion(path, _REBUILT))
    files.sync_directory(path.parent)
    finish(path)


def finish(path: Path) -> None:
    """Put a rebuilt file in its place, if one is there; the damaged one is set aside."""
    rebuilt = files.companion(path, _REBUILT)
    if not rebuilt.exists():
        return
    target = connect(rebuilt)
    try:
        make_durable(target)
        recovered = noted(target, path)
    finally:
        target.close()
    if recovered is not None:
        files.move(path, recovered.set_aside)
    files.companion(path, SUSPECT).unlink(missing_ok=True)
    files.delete(files.companion(path, _SALVAGE))
    files.move(rebuilt, path)


def noted(connection: sqlite3.Connection, path: Path) -> Recovery | None:
    """Read what the last recovery came to, as long as nobody has dismissed it."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_META,)).fetchone()
    if row is None:
        return None
    name, at, brought, distrusted, lost = json.loads(row[0])
    return Recovery(path.with_name(name), at, brought, distrusted, lost)


def dismiss(connection: sqlite3.Connection) -> None:
    """Forget the note of the last recovery; the file set aside stays."""
    connection.execute("DELETE FROM meta WHERE name = ?", (_META,))


def belongings(path: Path) -> list[Path]:
    """Name every file that an outbox may have left, those set aside included."""
    return sorted(path.parent.glob(f"{path.name}*"))


def _aside(path: Path, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    again = 1
    while aside.exists():
        again += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{again}")
    return aside


def _signposts(connection: sqlite3.Connection, path: Path) -> dict[int, bytes]:
    """Take the pages of a new file, by offset, that tell where its tables begin."""
    roots = {row[0] for row in connection.execute("SELECT rootpage FROM sqlite_schema")}
    file = path.read_bytes()
    return {
        start: file[start : start + _PAGE]
        for number, start in enumerate(range(0, len(file), _PAGE), 1)
        if number not in roots and number != _POINTER_MAP
    }


@contextlib.contextmanager
def _readable(path: Path, signposts: dict[int, bytes]) -> Iterator[sqlite3.Connection]:
    """Open a copy of the damaged file, with a new one's signposts where its own are gone.

    All tables begin at the same pages in every outbox of one version, so a new file's signposts
    lead to them. Nothing is believed for it: every row is checked against its hash.
    """
    salvage = files.companion(path, _SALVAGE)
    files.delete(salvage)
    files.prepare(salvage)
    for ending in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(files.companion(path, ending), files.companion(salvage, ending))
    if not _begins_readably(salvage):
        pages = salvage.stat().st_size // _PAGE
        with salvage.open("r+b") as file:
            for start, page in signposts.items():
                file.seek(start)
                file.write(page)
            file.seek(_FILE_SIZE_FIELD)
            file.write(pages.to_bytes(4, "big"))
    source = connect(salvage)
    try:
        yield source
    finally:
        source.close()
        files.delete(salvage)


def _begins_readably(path: Path) -> bool:
    source = connect(path)
    try:
        source.execute("SELECT id FROM bodies WHERE id = 0").fetchall()
        source.execute("SELECT id FROM captures WHERE id = 0").fetchall()
    except sqlite3.DatabaseError:
        return False
    else:
        return True
    finally:
        source.close()


def _bring_over(
    source: sqlite3.Connection, target: sqlite3.Connection, now: float
) -> tuple[int, int, int | None]:
    """Copy devices, then captures, then the memory of contents, row by row."""
    for device in _rows(source, "devices", _DEVICE_COLUMNS):
        _insert(target, "devices", _DEVICE_COLUMNS, device)
    brought = distrusted = undelivered = unreadable = 0
    ids = _span(source, "bodies", "captures")
    for capture_id in ids:
        state_row = _one(source, "captures", _CAPTURE_COLUMNS, capture_id)
        sealed = _sealed(source, capture_id)
        known = isinstance(state_row, tuple) and state_row[2] in list(CaptureState)
        delivered = known and state_row[2] == CaptureState.DELIVERED
        if sealed is None:
            missing = not (state_row is None or delivered)
            unreadable += missing
            continue
        if delivered and not sealed.intact:
            continue
        _place(target, capture_id, sealed, state_row if known else None, now)
        brought += sealed.intact
        distrusted += not sealed.intact
        undelivered += not delivered
    for content in _rows(source, "contents", _CONTENT_COLUMNS):
        device_id, kind, key, capture_id, whole, kept, *proof = content
        here = target.execute("SELECT 1 FROM captures WHERE id = ?", (capture_id,)).fetchone()
        values = (device_id, kind, key, capture_id, whole, int(bool(here)), *proof)
        if here or not kept:
            _insert(target, "contents", _CONTENT_COLUMNS, values)
    expected = _expected(source)
    if expected is not None:
        return brought, distrusted, max(0, expected - undelivered)
    return brought, distrusted, unreadable if ids else None


def _place(
    target: sqlite3.Connection,
    capture_id: int,
    sealed: envelope.Sealed,
    row: tuple[Any, ...] | None,
    now: float,
) -> None:
    """Write one capture, under the ID and in the state that it had, as far as that is known."""
    capture = sealed.capture
    device_id = target.execute(
        "INSERT INTO devices (application_id, serial) VALUES (?, ?)"
        " ON CONFLICT DO UPDATE SET serial = excluded.serial RETURNING id",
        capture.device.key,
    ).fetchone()[0]
    state = CaptureState.QUARANTINED if capture.fault else CaptureState.WAITING
    reason = capture.fault.value if capture.fault else None
    erased, may_repeat = (None, 0) if row is None else row[-2:]
    others: tuple[Any, ...] = (now, 0, None, None, reason, None, None, erased, may_repeat)
    if row is not None:
        state = CaptureState(row[2])
        others = row[5:]
    if not sealed.intact:
        state = CaptureState.QUARANTINED
        others = (now, 0, None, None, DAMAGED, None, None, erased, may_repeat)
    values = (
        device_id,
        capture.kind.value,
        state.value,
        len(capture.data),
        capture.captured_at,
        *others,
    )
    _insert(target, "captures", f"id, {_CAPTURE_COLUMNS}", (capture_id, *values))
    envelope.store(target, capture_id, capture)
    if sealed.intact:
        contents.remember(target, device_id, capture_id, capture, whole=True, erased=erased)


def _insert(target: sqlite3.Connection, table: str, columns: str, values: tuple[Any, ...]) -> None:
    """Write a row unless it contradicts one that is there or what its table may hold."""
    marks = ", ".join("?" * len(values))
    target.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", values)  # noqa: S608


def _sealed(source: sqlite3.Connection, capture_id: int) -> envelope.Sealed | None:
    try:
        return envelope.load(source, capture_id)
    except sqlite3.DatabaseError:
        return None


def _one(source: sqlite3.Connection, table: str, columns: str, row_id: int) -> Any:
    """Read one row: a tuple, None when there is none, or a sign that it can't be read."""
    try:
        there = {column[1] for column in source.execute(f"PRAGMA table_info({table})")}
        selected = ", ".join(
            name if name in there else f"{_ABSENT.get(name, 'NULL')} AS {name}"
            for name in columns.split(", ")
        )
        return source.execute(
            f"SELECT {selected} FROM {table} WHERE id = ?",  # noqa: S608
            (row_id,),
        ).fetchone()
    except sqlite3.DatabaseError:
        return _UNREADABLE


def _rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    for row_id in _span(source, table):
        row = _one(source, table, columns, row_id)
        if isinstance(row, tuple):
            yield row


def _span(source: sqlite3.Connection, *tables: str) -> range:
    """Tell between which IDs rows can be, as well as the file lets us know."""
    lowest = [_number(source, f"SELECT min(id) FROM {table}") for table in tables]  # noqa: S608
    highest = [_number(source, f"SELECT max(id) FROM {table}") for table in tables]  # noqa: S608
    if "captures" in tables:
        highest.append(_number(source, "SELECT seq FROM sqlite_sequence WHERE name = 'captures'"))
    ends = [number for number in highest if number is not None]
    starts = [1 if number is None else number for number in lowest]
    return range(min(starts), max(ends) + 1) if ends else range(0)


def _expected(source: sqlite3.Connection) -> int | None:
    """Tell how many undelivered captures the file itself says it had."""
    return _number(source, "SELECT sum(captures) FROM gauges WHERE state <> 'delivered'")


def _number(source: sqlite3.Connection, statement: str) -> int | None:
    try:
        row = source.execute(statement).fetchone()
    except sqlite3.DatabaseError:
        return None
    return row[0] if row is not None and isinstance(row[0], int) else None
