"""What was read of captures, on disk: a summary of each, and what the next one needs to know.

That is what dates it, and what is not new any more. Everything here is derived from captures and
can be made anew at will, so nothing waits for the disk, and a file that is damaged or of another
layout is deleted. It is read and written in an executor, by one thread at a time. What fails is a
``sqlite3.Error``.
"""

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ..insight.dating import Anchor
from ..insight.hourly import Hour
from ..insight.reading import MetricReading
from ..insight.repeated_metrics import MOST
from ..insight.summary import LAYOUT, Summary
from ..model.capture import CaptureKind
from ..model.identity import DeviceIdentity, DeviceKey
from . import metric_hours

_LOGGER = logging.getLogger(__name__)

_IN_MEMORY: Final = Path(":memory:")
_LAYOUT: Final = 2
"""Counts up when the tables change."""
_VERSION: Final = _LAYOUT * 1000 + LAYOUT
_TABLES: Final = (
    """CREATE TABLE captures (
        id INTEGER PRIMARY KEY,
        captured_at REAL NOT NULL,
        application_id INTEGER NOT NULL,
        serial TEXT NOT NULL,
        kind TEXT NOT NULL,
        continues INTEGER NOT NULL,
        before TEXT,
        git_version TEXT NOT NULL,
        git_hash TEXT NOT NULL,
        image TEXT NOT NULL,
        summary TEXT NOT NULL)""",
    "CREATE INDEX captures_of ON captures (application_id, serial, id)",
    "CREATE INDEX captures_of_kind ON captures (kind, id)",
    """CREATE TABLE devices (
        application_id INTEGER NOT NULL,
        serial TEXT NOT NULL,
        anchor TEXT,
        PRIMARY KEY (application_id, serial)) WITHOUT ROWID""",
    """CREATE TABLE seen (
        id INTEGER PRIMARY KEY,
        application_id INTEGER NOT NULL,
        serial TEXT NOT NULL,
        name TEXT NOT NULL,
        value REAL NOT NULL,
        at REAL NOT NULL,
        uncertainty REAL)""",
    *metric_hours.TABLES,
)
_SELECT: Final = """SELECT id, captured_at, application_id, serial, kind, continues, before,
    git_version, git_hash, image, summary FROM captures """


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One capture, what it holds, and what dates its frames (see ``dating.timeline``).

    ``git_version`` and ``git_hash`` are those that the device ran, ``image`` names the firmware
    image that was asked for words; it is empty where there was none.
    """

    capture_id: int
    captured_at: float
    key: DeviceKey
    kind: CaptureKind
    summary: Summary
    before: Anchor | None = None
    continues: bool = False
    git_version: str = ""
    git_hash: str = ""
    image: str = ""

    @property
    def device(self) -> DeviceIdentity:
        """The device, as far as it is kept: its type is not."""
        application_id, serial = self.key
        return DeviceIdentity(
            application_id, serial, git_version=self.git_version, git_hash=self.git_hash
        )


class SummaryFile:
    """The file beside an account's outbox."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = self._open()

    @classmethod
    def opened(cls, path: Path) -> Self:
        """Open the file, or make it anew where it can't be used; at worst it is in memory."""
        with suppress(sqlite3.Error):
            return cls(path)
        try:
            cls.remove(path)
            return cls(path)
        except (sqlite3.Error, OSError) as error:
            _LOGGER.warning("What is read of captures can't be kept in %s: %s", path, error)
            return cls(_IN_MEMORY)

    @staticmethod
    def remove(path: Path) -> None:
        """Delete the file."""
        for each in (path, path.with_name(path.name + "-journal")):
            each.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def renew(self) -> None:
        """Delete the file and begin anew."""
        with suppress(sqlite3.Error):
            self._connection.close()
        self.remove(self._path)
        self._connection = self._open()

    def known(self) -> dict[int, float]:
        """Return when each capture came that there is a summary of."""
        return dict(self._connection.execute("SELECT id, captured_at FROM captures"))

    def put(self, row: SummaryRow) -> None:
        """Keep a summary; a log also is what its device's next one is dated by."""
        with self.transaction():
            self._connection.execute(
                "REPLACE INTO captures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.capture_id,
                    row.captured_at,
                    *row.key,
                    row.kind.value,
                    row.continues,
                    _as_text(row.before),
                    row.git_version,
                    row.git_hash,
                    row.image,
                    row.summary.to_row(),
                ),
            )
            if row.kind is CaptureKind.LOG:
                self._connection.execute(
                    "REPLACE INTO devices VALUES (?, ?, ?)",
                    (*row.key, _as_text(row.summary.anchor)),
                )

    def get(self, capture_id: int) -> SummaryRow | None:
        """Return the summary of a capture, None where there is none."""
        return next(self._rows("WHERE id = ?", (capture_id,)), None)

    def some(self, capture_ids: Sequence[int]) -> dict[int, SummaryRow]:
        """Return the summaries of captures, by their IDs, as far as there are any."""
        marks = ", ".join("?" * len(capture_ids))
        found = self._rows(f"WHERE id IN ({marks})", tuple(capture_ids))
        return {row.capture_id: row for row in found}

    def rows(self, key: DeviceKey | None = None, limit: int = -1) -> list[SummaryRow]:
        """Return summaries, the newest first."""
        if key is None:
            return list(self._rows("ORDER BY id DESC LIMIT ?", (limit,)))
        condition = "WHERE application_id = ? AND serial = ? ORDER BY id DESC LIMIT ?"
        return list(self._rows(condition, (*key, limit)))

    def core_dumps(self) -> list[SummaryRow]:
        """Return the summaries of all core dumps, the newest first."""
        return list(self._rows("WHERE kind = ? ORDER BY id DESC", (CaptureKind.CORE_DUMP.value,)))

    def last_anchor(self, key: DeviceKey) -> Anchor | None:
        """Return what dates the next log of a device."""
        found = self._connection.execute(
            "SELECT anchor FROM devices WHERE application_id = ? AND serial = ?", key
        ).fetchone()
        return found and _as_anchor(found[0])

    def remember(self, key: DeviceKey, metrics: Iterable[MetricReading]) -> None:
        """Keep what a device has said, each at its time, so that it is not new again."""
        # An integer of a device may be one that SQLite has not.
        rows = [(*key, m.name, float(m.value), m.at, m.uncertainty) for m in metrics]
        if not rows:
            return
        with self.transaction():
            self._connection.executemany(
                "INSERT INTO seen (application_id, serial, name, value, at, uncertainty)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._connection.execute(
                "DELETE FROM seen WHERE id <= (SELECT max(id) FROM seen) - ?", (MOST,)
            )

    def seen(self) -> Iterator[tuple[DeviceKey, MetricReading]]:
        """Yield what devices have said, in the order in which it came."""
        for application_id, serial, *metric in self._connection.execute(
            "SELECT application_id, serial, name, value, at, uncertainty FROM seen ORDER BY id"
        ):
            yield (application_id, serial), MetricReading(*metric)

    def add_hours(self, key: DeviceKey, hours: Iterable[Hour]) -> None:
        """Add parts of hours to what there is of a device's metrics."""
        with self.transaction():
            metric_hours.add_hours(self._connection, key, hours)

    def due_hours(self, before: int) -> list[metric_hours.DueHour]:
        """Return the hours of metrics that are over and have something new."""
        return metric_hours.due_hours(self._connection, before)

    def hours_done(self, hours: Iterable[metric_hours.DueHour], now: int) -> None:
        """Note that hours of metrics were imported."""
        with self.transaction():
            metric_hours.hours_done(self._connection, hours, now)

    def keep_only(self, capture_ids: Iterable[int]) -> None:
        """Delete the summaries of all other captures."""
        gone = self.known().keys() - set(capture_ids)
        with self.transaction():
            self._connection.executemany(
                "DELETE FROM captures WHERE id = ?", ((capture_id,) for capture_id in gone)
            )

    def forget(self, key: DeviceKey) -> None:
        """Delete what is known of a device, but for its captures."""
        with self.transaction():
            for table in ("devices", "seen", "hours"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE application_id = ? AND serial = ?",  # noqa: S608
                    key,
                )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of what is done inside, or nothing."""
        if self._connection.in_transaction:
            yield self._connection
            return
        self._connection.execute("BEGIN")
        try:
            yield self._connection
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def _rows(self, condition: str, values: tuple[object, ...]) -> Iterator[SummaryRow]:
        for row in self._connection.execute(_SELECT + condition, values):
            capture_id, captured_at, application_id, serial, kind, continues, before = row[:7]
            git_version, git_hash, image, text = row[7:]
            if (summary := Summary.from_row(text)) is not None:
                yield SummaryRow(
                    capture_id,
                    captured_at,
                    (application_id, serial),
                    CaptureKind(kind),
                    summary,
                    _as_anchor(before),
                    bool(continues),
                    git_version,
                    git_hash,
                    image,
                )

    def _open(self) -> sqlite3.Connection:
        if self._path != _IN_MEMORY:
            # Nobody else's to read; SQLite gives its journal the same mode, and says what fails.
            with suppress(OSError):
                self._path.touch(mode=0o600)
                self._path.chmod(0o600)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA synchronous = OFF")
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _check(connection: sqlite3.Connection) -> None:
        """Make the tables of a new file; sqlite3.Error for a file that can't be used."""
        with closing(connection.execute("PRAGMA user_version")) as found:
            version = found.fetchone()[0]
        if version == 0:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"the file is of layout {version}")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the file is damaged")


def _as_text(anchor: Anchor | None) -> str | None:
    return None if anchor is None else json.dumps(list(anchor))


def _as_anchor(text: str | None) -> Anchor | None:
    return None if text is None else Anchor(*json.loads(text))
