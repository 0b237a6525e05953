"""Damage: set aside, told, and everything readable brought over."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from custom_components.ulogger.model.capture import CaptureFault
from custom_components.ulogger.outbox.database import Run
from custom_components.ulogger.outbox.errors import OutboxDamaged
from custom_components.ulogger.outbox.model import REFUSED, CaptureState, Outcome, Recovery
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import (
    CLOCK,
    LAMP,
    NOW,
    as_of_version,
    captured,
    core_dump,
    open_outbox,
    queue,
)
from .conftest import Opener

_PAGE = 4096


async def _filled(opened: Opener) -> list[int]:
    """Leave an outbox with delivered, waiting and quarantined captures of two devices."""
    outbox = await opened()
    ids = []
    for number in range(24):
        device = LAMP if number % 3 else CLOCK
        added = await outbox.add(captured(number, device, size=900))
        ids.append(added.capture_id or 0)
    await queue(outbox).delivered(ids[:6])
    await queue(outbox).quarantine(ids[7], REFUSED)
    await outbox.add(core_dump(99))
    await outbox.add(captured(98, fault=CaptureFault.CHECKSUM))
    await outbox.add(captured(97, size=30_000))
    await outbox.close()
    return ids


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _alter(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


def _content(path: Path) -> bytes:
    return path.read_bytes()


def _names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def _pages(path: Path) -> int:
    return path.stat().st_size // _PAGE


async def _undelivered(outbox: Outbox) -> dict[float, str]:
    states = (CaptureState.WAITING, CaptureState.QUARANTINED)
    rows = await outbox.listing(states=states)
    return {row.captured_at: row.state for row in rows}


async def test_a_file_without_a_head_loses_nothing(path: Path, opened: Opener) -> None:
    await _filled(opened)
    healthy = await opened()
    expected = await _undelivered(healthy), await healthy.counters()
    await healthy.close()
    _overwrite(path, 0, b"\xff" * _PAGE)
    damaged = _content(path)
    outbox = await opened()
    aside = path.with_name("account.db.damaged-20261121T030000")
    assert outbox.recovered is not None
    assert (outbox.recovered.lost, outbox.recovered.quarantined) == (0, 0)
    assert outbox.recovered.set_aside.name.startswith("account.db.damaged-")
    assert aside.name[:18] == outbox.recovered.set_aside.name[:18]
    assert _content(outbox.recovered.set_aside) == damaged
    assert (await _undelivered(outbox), await outbox.counters()) == expected
    assert (await outbox.add(captured(0))).outcome is Outcome.STORED
    assert (await outbox.add(captured(0, size=900))).outcome is Outcome.DUPLICATE


@pytest.mark.parametrize("junk", [b"\0", b"\xff", b"SQLite format 3\0"], ids=["0", "ff", "head"])
async def test_whatever_page_is_lost_all_others_are_brought_over(
    path: Path, opened: Opener, memory: Path, run: Run, junk: bytes
) -> None:
    """Every page in turn: what is not there any more is counted as lost, to the last one."""
    await _filled(opened)
    outbox = await opened()
    before = await _undelivered(outbox)
    bodies = {row.captured_at: await outbox.read(row.capture_id) for row in await outbox.listing()}
    await outbox.close()
    recoveries = 0
    for page in range(_pages(path)):
        copy = memory / f"page{page}" / path.name
        _copy(path, copy)
        _overwrite(copy, page * _PAGE, (junk * _PAGE)[:_PAGE])
        outbox = await open_outbox(copy, run)
        if outbox.recovered is not None:
            recoveries += 1
            there = await _undelivered(outbox)
            missing = before.keys() - there.keys()
            assert len(missing) == (outbox.recovered.lost or 0), page
            for row in await outbox.listing():
                if row.reason != "damaged":
                    kept = (await outbox.read(row.capture_id)).data
                    assert kept == bodies[row.captured_at].data
        for item in await queue(outbox).batch(100):
            assert item.capture.data == bodies[item.capture.captured_at].data
        await outbox.close()
    assert recoveries > _pages(path) / 2


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir()
    shutil.copyfile(path, target)


async def test_a_body_that_changed_on_disk_is_never_delivered(path: Path, opened: Opener) -> None:
    ids = await _filled(opened)
    _alter(path, f"UPDATE bodies SET data = zeroblob(length(data)) WHERE id = {ids[6]}")
    outbox = await opened()
    assert outbox.recovered is None
    batch = {item.capture_id for item in await queue(outbox).batch(100)}
    assert ids[6] not in batch
    assert set(ids[8:]) <= batch
    damaged = [row.capture_id for row in await outbox.listing() if row.reason == "damaged"]
    assert damaged == [ids[6]]
    assert len((await outbox.read(ids[6])).data) > 900
    await outbox.retry(ids[6])
    assert ids[6] not in {item.capture_id for item in await queue(outbox).batch(100)}


async def test_a_changed_body_is_brought_over_but_not_trusted(path: Path, opened: Opener) -> None:
    ids = await _filled(opened)
    _alter(path, f"UPDATE bodies SET data = zeroblob(9) WHERE id = {ids[6]}")
    _alter(path, "DROP TABLE meta")
    outbox = await opened()
    assert outbox.recovered is not None
    assert (outbox.recovered.quarantined, outbox.recovered.lost) == (1, 0)
    [row] = [row for row in await outbox.listing() if row.reason == "damaged"]
    assert (row.capture_id, row.state) == (ids[6], CaptureState.QUARANTINED)


async def test_captures_whose_state_is_lost_wait_again(path: Path, opened: Opener) -> None:
    await _filled(opened)
    _alter(path, "DROP TABLE captures")
    _alter(path, "DROP TABLE deliveries")
    outbox = await opened()
    assert outbox.recovered is not None
    rows = await outbox.listing()
    assert len(rows) == outbox.recovered.brought_over == 27
    assert {row.state for row in rows} == {CaptureState.WAITING, CaptureState.QUARANTINED}
    assert {row.reason for row in rows if row.state is CaptureState.QUARANTINED} == {"checksum"}


async def test_garbage_is_set_aside_and_nobody_knows_what_it_was(
    path: Path, opened: Opener
) -> None:
    await _filled(opened)
    _overwrite(path, 0, b"garbage!" * (_pages(path) * _PAGE // 8))
    outbox = await opened()
    assert outbox.recovered is not None
    assert (outbox.recovered.brought_over, outbox.recovered.lost) == (0, None)
    assert (await outbox.add(captured(1))).outcome is Outcome.STORED


async def test_a_stranger_is_set_aside(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    _alter(path, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
    outbox = await opened()
    assert outbox.recovered is not None
    assert _names(path) == ["account.db", "account.db-wal", outbox.recovered.set_aside.name]


async def test_the_recovery_is_told_until_it_is_dismissed(path: Path, opened: Opener) -> None:
    await _filled(opened)
    _overwrite(path, 0, b"\0" * _PAGE)
    outbox = await opened()
    told = outbox.recovered
    assert isinstance(told, Recovery)
    assert told.at == NOW
    await outbox.close()
    outbox = await opened()
    assert outbox.recovered == told
    await outbox.dismiss_recovery()
    assert outbox.recovered is None
    await outbox.close()
    assert (await opened()).recovered is None


async def test_two_damages_in_one_second_are_both_set_aside(path: Path, opened: Opener) -> None:
    for _ in range(2):
        await _filled(opened)
        _overwrite(path, 0, b"\0" * _PAGE)
        await (await opened()).close()
    asides = [name for name in _names(path) if "damaged" in name]
    assert len(asides) == 2


async def test_damage_met_while_running_is_an_error_and_repaired_at_the_next_opening(
    path: Path, opened: Opener
) -> None:
    outbox = await opened()
    added = await outbox.add(captured(1))

    def damaged(connection: sqlite3.Connection) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with pytest.raises(OutboxDamaged) as met:
        await outbox._database.read(damaged)
    assert not met.value.retryable
    await outbox.close()
    outbox = await opened()
    assert outbox.recovered is not None
    assert outbox.recovered.brought_over == 1
    assert [item.capture_id for item in await queue(outbox).batch()] == [added.capture_id]
    assert _names(path) == ["account.db", "account.db-wal", outbox.recovered.set_aside.name]
    await outbox.dismiss_recovery()
    await outbox.close()
    assert (await opened()).recovered is None


async def test_what_is_only_in_the_log_is_brought_over_too(
    path: Path, opened: Opener, abandon: Callable[[Outbox], None]
) -> None:
    outbox = await opened()
    await outbox.checkpoint()
    await outbox.add(captured(1))
    abandon(outbox)
    path.with_name("account.db-suspect").touch()
    again = await opened()
    assert again.recovered is not None
    assert [item.capture for item in await queue(again).batch()] == [captured(1)]


async def test_what_was_noted_of_erasures_is_brought_over(path: Path, opened: Opener) -> None:
    outbox = await opened()
    await outbox.add(captured(1))
    await outbox.erased(CLOCK.key)
    held = await outbox.add(core_dump(2, LAMP))
    await outbox.held([held.capture_id or 0])
    for _ in range(2):
        await outbox.add(core_dump(3))
    await outbox.close()
    _overwrite(path, 0, b"\0" * _PAGE)
    outbox = await opened()
    assert outbox.recovered is not None
    assert [row.may_repeat for row in await outbox.listing()] == [True, False, False, False]
    assert (await outbox.counters())[CLOCK.key].may_repeat == 1
    assert (await outbox.add(captured(1))).outcome is Outcome.STORED
    assert (await outbox.add(core_dump(2, LAMP))).outcome is Outcome.DUPLICATE
    assert (await outbox.add(core_dump(3))).outcome is Outcome.MAY_REPEAT


async def test_a_damaged_file_of_an_earlier_version_keeps_its_states(
    path: Path, opened: Opener
) -> None:
    ids = await _filled(opened)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        as_of_version(connection, 2)
        connection.execute("DROP TABLE meta")
    outbox = await opened()
    assert outbox.recovered is not None
    assert outbox.recovered.lost == 0
    delivered = await outbox.listing(states=(CaptureState.DELIVERED,))
    assert {row.capture_id for row in delivered} == set(ids[:6])
    assert (await outbox.add(core_dump(99))).outcome is Outcome.MAY_REPEAT
