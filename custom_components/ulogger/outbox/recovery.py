"""A damaged file: what can be read from it is brought over into a new one.

The order of the steps makes a kill at any of them harmless: the new file is built beside the
damaged one, becomes final by one rename, and only then is the damaged one set aside. A file that
was final but not yet in place is put there at the next opening.
"""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..model.durable import sync_directory
from . import files, salvage
from .database import SUSPECT, connect, make_durable
from .errors import OutboxDamaged, as_outbox_error
from .matching import Losses, matched
from .model import Recovery
from .pages import Pages
from .rebuilding import Rebuilding
from .schema import migrate
from .transactions import transaction

_BUILDING: Final = "-building"
_REBUILT: Final = "-rebuilt"
_META: Final = "recovery"


def rebuild(path: Path, now: float) -> None:
    """Build a new file from what is readable of the damaged one, and put it in its place."""
    building = files.companion(path, _BUILDING)
    files.delete(building)
    files.prepare(building)
    target = connect(building)
    try:
        make_durable(target)
        migrate(target)
        with transaction(target), Pages(path) as pages:
            brought, distrusted, lost = _bring_over(pages, target, now)
            aside = _aside(path, now)
            note = [aside.name, now, brought, distrusted, lost]
            target.execute("INSERT INTO meta VALUES (?, ?)", (_META, json.dumps(note)))
    finally:
        target.close()
    building.rename(files.companion(path, _REBUILT))
    sync_directory(path.parent)
    finish(path)


def finish(path: Path) -> None:
    """Put a rebuilt file in its place, if one is there; the damaged one is set aside."""
    rebuilt = files.companion(path, _REBUILT)
    if not rebuilt.exists():
        return
    recovered = None
    target = connect(rebuilt)
    try:
        make_durable(target)
        recovered = noted(target, path)
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        if not isinstance(as_outbox_error(error), OutboxDamaged):
            raise
    finally:
        target.close()
    if recovered is not None:
        files.move(path, recovered.set_aside)
    elif path.exists():
        files.delete(rebuilt)
        return
    files.companion(path, SUSPECT).unlink(missing_ok=True)
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


def _bring_over(
    pages: Pages, target: sqlite3.Connection, now: float
) -> tuple[int, int, int | None]:
    """Copy captures with what is remembered of them, then the counters of their devices."""
    columns = {
        table: {row[1]: row[2] for row in target.execute(f"PRAGMA table_info({table})")}
        for table in salvage.TABLES
    }
    roots = dict(target.execute("SELECT name, rootpage FROM sqlite_schema WHERE type = 'table'"))
    remains = salvage.read(pages, columns, roots)
    homes = matched(remains)
    building = Rebuilding(target, columns, remains.rows, now)
    losses = Losses(remains)
    for capture_id in sorted(remains.captures.keys() | homes.keys()):
        row, cell = remains.captures.get(capture_id), homes.get(capture_id)
        sealed = None if cell is None else remains.sealed(cell)
        losses.count(row, sealed)
        if sealed is not None:
            building.place(capture_id, sealed, row)
    building.counters(remains.rows["devices"], remains.rows["sent"])
    building.settle()
    building.memory()
    return building.brought, building.distrusted, losses.total()
