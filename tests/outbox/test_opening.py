"""Opening: private files, every version, and everything that may stand there instead."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.outbox import schema
from custom_components.ulogger.outbox.database import Run
from custom_components.ulogger.outbox.errors import (
    DiskFailed,
    OutboxClosed,
    OutboxLocked,
    OutboxTooNew,
)
from custom_components.ulogger.outbox.model import Outcome
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.outbox.transactions import transaction

from ..support.outbox_world import CLOCK, as_of_version, captured, core_dump, open_outbox, queue
from .conftest import Opener

_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def _modes(directory: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in [directory, *directory.iterdir()]}


def _content(path: Path) -> bytes:
    return path.read_bytes()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Let another process write to the file, and not finish."""
    command = [sys.executable, "-c", _HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield


def _handmade(path: Path, version: int, *, mode: int = 0o600) -> sqlite3.Connection:
    path.parent.mkdir()
    path.touch(mode)
    connection = sqlite3.connect(path, isolation_level=None)
    for step in schema.MIGRATIONS[:version]:
        with transaction(connection):
            step(connection)
    connection.execute(f"PRAGMA user_version = {version}")
    return connection


async def test_directory_and_files_are_private(outbox: Outbox, path: Path) -> None:
    await outbox.add(captured(1))
    assert _modes(path.parent) == {"ulogger": 0o700, "account.db": 0o600, "account.db-wal": 0o600}


async def test_a_file_that_others_could_read_becomes_private(path: Path, opened: Opener) -> None:
    _handmade(path, 0, mode=0o644).close()
    await opened()
    assert _modes(path.parent)["account.db"] == 0o600


async def test_commits_reach_the_disk(outbox: Outbox) -> None:
    def pragma(connection: sqlite3.Connection) -> dict[str, Any]:
        names = ("synchronous", "journal_mode", "auto_vacuum")
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    settings = await outbox._database.read(pragma)
    assert settings == {"synchronous": 2, "journal_mode": "wal", "auto_vacuum": 2}


async def test_an_empty_file_is_a_new_outbox(path: Path, opened: Opener) -> None:
    _handmade(path, 0).close()
    outbox = await opened()
    assert (await outbox.add(captured(1))).outcome is Outcome.STORED
    assert outbox.recovered is None


@pytest.mark.parametrize("version", [1, 2])
async def test_a_file_of_an_earlier_version_is_brought_up_to_date(
    path: Path, opened: Opener, version: int
) -> None:
    outbox = await opened()
    first = await outbox.add(captured(1))
    dump = await outbox.add(core_dump(2))
    await outbox.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        as_of_version(connection, version)
    outbox = await opened()
    assert outbox.recovered is None
    again = await outbox.add(captured(1))
    assert (again.outcome, again.capture_id) == (Outcome.DUPLICATE, first.capture_id)
    # Nobody noted whether the dump was erased: the same again may be another crash.
    crash = await outbox.add(core_dump(2))
    assert (crash.outcome, crash.may_repeat) == (Outcome.MAY_REPEAT, True)
    waiting = [item.capture for item in await queue(outbox).batch()]
    assert waiting == [captured(1), core_dump(2), core_dump(2)]
    assert dump.capture_id != crash.capture_id


async def test_the_mark_of_an_earlier_version_stays(path: Path, opened: Opener) -> None:
    outbox = await opened()
    await outbox.add(captured(1))
    await outbox.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        as_of_version(connection, 2)
        connection.execute("UPDATE captures SET reason = 'overlap'")
    [row] = await (await opened()).listing()
    assert (row.may_repeat, row.reason) == (True, None)


async def test_a_migration_is_whole_or_not_at_all(
    path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    _handmade(path, 1).close()

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (id INTEGER)")
        raise OSError("unplugged")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (schema.MIGRATIONS[0], broken))
        with pytest.raises(DiskFailed, match="unplugged"):
            await opened()
    outbox = await opened()
    names = await outbox._database.read(
        lambda c: {row[0] for row in c.execute("SELECT name FROM sqlite_schema")}
    )
    assert "half" not in names
    assert "contents" in names


async def test_a_later_versions_file_is_refused_and_left_as_it_is(
    path: Path, opened: Opener
) -> None:
    _handmade(path, schema.VERSION).close()
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = _content(path)
    with pytest.raises(OutboxTooNew, match="999") as refused:
        await opened()
    assert not refused.value.retryable
    assert _content(path) == before


async def test_a_file_that_another_process_holds_is_refused_for_now(
    path: Path, opened: Opener
) -> None:
    _handmade(path, schema.VERSION).close()
    with _held(path), pytest.raises(OutboxLocked) as refused:
        await opened()
    assert refused.value.retryable
    assert (await (await opened()).add(captured(1))).outcome is Outcome.STORED


async def test_two_accounts_cannot_share_a_file(outbox: Outbox, opened: Opener) -> None:
    with pytest.raises(OutboxLocked):
        await opened()


async def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskFailed) as refused:
        await open_outbox(tmp_path / "file" / "ulogger" / "account.db", run)
    assert refused.value.retryable


async def test_a_closed_outbox_says_so_and_closes_again(outbox: Outbox) -> None:
    await outbox.close()
    await outbox.close()
    with pytest.raises(OutboxClosed):
        await outbox.add(captured(1))


async def test_removing_leaves_nothing(outbox: Outbox, path: Path, run: Run) -> None:
    await outbox.add(captured(1))
    await outbox.close()
    path.with_name("account.db.damaged-20260101T000000").touch()
    path.with_name("other.db").touch()
    await Outbox.remove(path, run)
    assert list(_modes(path.parent)) == ["ulogger", "other.db"]


async def test_counters_begin_empty(outbox: Outbox) -> None:
    assert await outbox.counters() == {}
    assert CLOCK.key not in await outbox.counters()
