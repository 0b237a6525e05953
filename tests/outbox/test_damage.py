"""Bits flipped, sectors and pages garbled: nothing readable is lost, and losses are told."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.outbox.database import Run
from custom_components.ulogger.outbox.model import CaptureState
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import LAMP, NOW, captured, open_outbox, queue
from . import damage
from .conftest import Opener
from .damage import Damage, Small


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return asyncio.run(damage.build(tmp_path_factory.mktemp("small") / "account.db"))


def _alter(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def _replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def _empty_page(path: Path, within: bytes) -> None:
    content = path.read_bytes()
    page = content.index(within) // damage.PAGE * damage.PAGE
    path.write_bytes(content[:page] + bytes(damage.PAGE) + content[page + damage.PAGE :])


def _alter_pointer(path: Path, within: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(within) // damage.PAGE * damage.PAGE + 3] ^= 0x40
    path.write_bytes(content)


async def _faults(small: Small, damages: list[Damage]) -> dict[str, str]:
    told = await damage.account(small, damages)
    assert told["damages"] == len(damages)
    assert told["repaired"] > len(damages) / 10
    faults: dict[str, str] = told["faults"]
    return faults


@pytest.mark.parametrize("seed", range(4))
async def test_a_flipped_bit_loses_nothing_that_is_readable(small: Small, seed: int) -> None:
    assert await _faults(small, damage.samples(small, seed, 600)) == {}


async def test_the_beginning_of_a_page_may_be_wrong(small: Small) -> None:
    """There stand what kind of page it is, how many rows it has, and where a long one goes on."""
    starts = range(0, len(small.content), damage.PAGE)
    damages: list[Damage] = [
        ("bit", start + at, bit) for start in starts for at in range(6) for bit in (1, 3, 6)
    ]
    assert await _faults(small, damages) == {}


async def test_the_header_of_the_file_may_be_wrong(small: Small) -> None:
    """Its versions, too: one makes SQLite take the file for read-only, one for a later outbox."""
    assert await _faults(small, damage.bits([*range(16, 24), *range(60, 64)])) == {}


async def test_a_garbled_sector_or_page_loses_nothing_that_is_readable(small: Small) -> None:
    assert await _faults(small, damage.areas(small)) == {}


async def test_the_judge_sees_what_is_wrong(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "SECONDS", 0.0)
    assert set((await _faults(small, damage.areas(small))).values()) == {"slow"}


async def test_text_that_is_none_in_the_schema_is_damage(path: Path, opened: Opener) -> None:
    outbox = await opened()
    await outbox.add(captured(1))
    await outbox.close()
    _replace(path, b"CREATE TABLE captures", b"CREATE T\xc1BLE captures")
    outbox = await opened()
    assert outbox.recovered is not None
    assert [item.capture for item in await queue(outbox).batch()] == [captured(1)]


async def test_one_high_id_does_not_make_the_recovery_long(path: Path, opened: Opener) -> None:
    outbox = await opened()
    await outbox.add(captured(1))
    await outbox.add(captured(2))
    await outbox.close()
    _alter(path, "UPDATE captures SET id = 18000000000 WHERE id = 2", "DROP TABLE meta")
    begun = time.monotonic()
    outbox = await opened()
    assert time.monotonic() - begun < 5
    assert outbox.recovered is not None
    assert outbox.recovered.lost == 0
    assert [item.capture for item in await queue(outbox).batch()] == [captured(1), captured(2)]
    added = await outbox.add(captured(3))
    assert added.capture_id is not None


async def _with_a_hidden_capture(path: Path, opened: Opener) -> None:
    """Leave an index of those that wait in which one of three is missing."""
    outbox = await opened()
    for number in range(3):
        await outbox.add(captured(number))
    await outbox.close()
    _alter(
        path,
        "UPDATE sqlite_schema SET sql = replace(sql, '''waiting''', '''waiting'' AND id <> 2')"
        " WHERE name = 'deliveries_waiting'",
    )
    _alter(path, "REINDEX deliveries_waiting")
    _alter(
        path,
        "UPDATE sqlite_schema SET sql = replace(sql, ' AND id <> 2', '')"
        " WHERE name = 'deliveries_waiting'",
    )


async def test_a_capture_that_an_index_hides_is_found(path: Path, opened: Opener) -> None:
    await _with_a_hidden_capture(path, opened)
    outbox = await opened()
    assert outbox.recovered is None
    assert [item.capture for item in await queue(outbox).batch()] == [captured(n) for n in range(3)]


async def test_an_index_is_not_made_to_fit_a_table_that_is_damaged(
    path: Path, opened: Opener
) -> None:
    """A state that no longer is one: an index written anew would hide the capture for good."""
    outbox = await opened()
    for number in range(3):
        await outbox.add(captured(number))
    await outbox.close()
    _replace(path, b"logwaiting", b"logwaitinc")
    outbox = await opened()
    assert outbox.recovered is not None
    assert (outbox.recovered.brought_over, outbox.recovered.lost) == (3, 0)
    assert len(await queue(outbox).batch()) == 3


async def test_damage_in_a_triggers_text_starts_a_repair(path: Path, opened: Opener) -> None:
    outbox = await opened()
    await outbox.add(captured(1))
    await outbox.close()
    _alter(
        path,
        "UPDATE sqlite_schema SET sql = replace(sql, 'captures + 1', 'captures + 3')"
        " WHERE name = 'capture_came'",
    )
    outbox = await opened()
    assert outbox.recovered is not None
    assert outbox.recovered.lost == 0
    for number in range(2, 5):
        await outbox.add(captured(number))
    [counters] = (await outbox.counters()).values()
    assert counters.waiting == 4


async def test_the_state_of_a_capture_outlives_a_repair(path: Path, opened: Opener) -> None:
    outbox = await opened()
    for number in range(4):
        await outbox.add(captured(number, LAMP))
    await queue(outbox).delivered([1])
    await queue(outbox).quarantine(2, "refused")
    await queue(outbox).failed(3, "no route")
    before = await outbox.listing(), await outbox.counters()
    await outbox.close()
    _alter(path, "DROP TABLE meta")
    outbox = await opened()
    assert outbox.recovered is not None
    assert (await outbox.listing(), await outbox.counters()) == before


async def test_what_is_lost_without_a_trace_is_not_called_none_lost(
    path: Path, opened: Opener
) -> None:
    """Neither captures nor gauges are there any more, and a page of bodies is gone, too."""
    outbox = await opened()
    for number in range(60):
        await outbox.add(captured(number, size=700))
    await outbox.close()
    _alter(path, "DROP TABLE captures", "DELETE FROM gauges")
    _empty_page(path, captured(20, size=700).data)
    outbox = await opened()
    assert outbox.recovered is not None
    assert outbox.recovered.lost is None
    assert 50 < len(await outbox.listing(states=[CaptureState.WAITING])) < 60


async def test_a_damaged_frame_of_the_log_does_not_hide_those_behind_it(
    path: Path, opened: Opener, abandon: Callable[[Outbox], None]
) -> None:
    outbox = await opened()
    await outbox.checkpoint()
    for number in range(6):
        await outbox.add(captured(number, size=3000))
    abandon(outbox)
    log = path.with_name("account.db-wal")
    whole = captured(2, size=3000).data
    _replace(log, whole[30:], whole[30:-1] + b"!")
    path.with_name("account.db-suspect").touch()
    outbox = await opened()
    assert outbox.recovered is not None
    delivered = [item.capture for item in await queue(outbox).batch()]
    assert [capture for capture in delivered if capture != captured(2, size=3000)] == [
        captured(number, size=3000) for number in (0, 1, 3, 4, 5)
    ]


async def test_a_broken_chain_of_pages_is_found_again(path: Path, opened: Opener) -> None:
    """A long capture goes on from page to page; another table of the file tells the way, too."""
    outbox = await opened()
    long = Capture(CaptureKind.CORE_DUMP, LAMP, random.Random(1).randbytes(20_000), NOW)
    await outbox.add(long)
    await outbox.close()
    _alter_pointer(path, within=long.data[9000:9020])
    outbox = await opened()
    assert outbox.recovered is not None
    assert [item.capture for item in await queue(outbox).batch()] == [long]


async def test_a_rebuilt_file_that_is_damaged_itself_is_no_dead_end(
    path: Path, opened: Opener
) -> None:
    outbox = await opened()
    await outbox.add(captured(1))
    await outbox.close()
    path.with_name("account.db-rebuilt").write_bytes(b"garbage" * 4096)
    outbox = await opened()
    assert [item.capture for item in await queue(outbox).batch()] == [captured(1)]


async def test_thousands_of_captures_are_rebuilt_in_seconds(path: Path, run: Run) -> None:
    outbox = await open_outbox(path, run)
    await asyncio.gather(*(outbox.add(captured(number, size=200)) for number in range(3000)))
    await outbox.close()
    _alter(path, "DROP TABLE meta")
    begun = time.monotonic()
    outbox = await open_outbox(path, run)
    assert time.monotonic() - begun < 20
    assert outbox.recovered is not None
    assert (outbox.recovered.brought_over, outbox.recovered.lost) == (3000, 0)
    await outbox.close()
