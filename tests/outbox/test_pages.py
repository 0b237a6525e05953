"""A database's pages as they lie on the disk, also of a file that others made."""

import sqlite3
from pathlib import Path

import pytest

from custom_components.ulogger.outbox import soundness
from custom_components.ulogger.outbox.pages import PAGE, Pages

from ..support.outbox_world import captured
from .conftest import Opener


def made_by_others(path: Path) -> int:
    """Make a file without pointer maps; return how many of its pages are free."""
    connection = sqlite3.connect(path, autocommit=True)
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("PRAGMA auto_vacuum = NONE")
    connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO notes(text) VALUES (?)", (("x" * 3000,) for _ in range(1500))
    )
    connection.execute("COMMIT")
    connection.execute("DELETE FROM notes WHERE id % 3")
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    connection.close()
    return int(free)


def test_pages_that_are_free_are_listed_in_a_file_without_maps(tmp_path: Path) -> None:
    free = made_by_others(tmp_path / "notes.db")
    assert free > 900
    with Pages(tmp_path / "notes.db") as pages:
        assert len(pages.free) == free
        assert 1 not in pages.free
        assert not pages.is_mapped_tree(3)
        assert pages[pages.count + 1] == bytes(PAGE)


@pytest.mark.parametrize("nonsense", [0xFFFF_FFFF, 1])
def test_a_list_of_free_pages_that_is_damaged_ends_there(tmp_path: Path, nonsense: int) -> None:
    path = tmp_path / "notes.db"
    made_by_others(path)
    data = bytearray(path.read_bytes())
    trunk = int.from_bytes(data[32:36], "big")
    at = (trunk - 1) * PAGE + 8
    data[at : at + 4] = nonsense.to_bytes(4, "big")
    path.write_bytes(data)
    with Pages(path) as pages:
        assert pages.free == frozenset()


def test_a_list_of_free_pages_that_goes_in_circles_ends(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    free = made_by_others(path)
    data = bytearray(path.read_bytes())
    trunk = int.from_bytes(data[32:36], "big")
    data[(trunk - 1) * PAGE : (trunk - 1) * PAGE + 4] = trunk.to_bytes(4, "big")
    path.write_bytes(data)
    with Pages(path) as pages:
        assert 0 < len(pages.free) <= free


async def test_a_check_that_takes_too_long_is_left_for_later(
    path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await opened()
    for number in range(20):
        await outbox.add(captured(number))
    await outbox.close()
    monkeypatch.setattr(soundness, "_STEPS_BETWEEN_LOOKS", 1)
    connection = sqlite3.connect(path, autocommit=True)
    connection.execute("DELETE FROM gauges")
    soundness.check(connection, -1.0)
    with pytest.raises(soundness.OutboxDamaged):
        soundness.check(connection, 10.0)
    connection.close()


def test_what_has_no_tables_of_ours_fails_with_what_sqlite_says() -> None:
    connection = sqlite3.connect(":memory:", autocommit=True)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        soundness.check(connection, 1.0)
    connection.close()
