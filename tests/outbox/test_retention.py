"""What leaves the disk, and what never does."""

import asyncio
import sqlite3
from pathlib import Path

from custom_components.ulogger.model.capture import CaptureFault
from custom_components.ulogger.outbox.database import Run
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.outbox.schema import migrate

from ..support.outbox_world import CLOCK, NOW, Clock, captured, open_outbox, queue

_DAY = 86_400


def _size(path: Path) -> int:
    return path.stat().st_size


async def _delivered(outbox: Outbox, count: int, *, size: int = 20) -> list[int]:
    ids = []
    for number in range(count):
        ids.append((await outbox.add(captured(number, size=size))).capture_id or 0)
        await queue(outbox).delivered(ids[-1:], NOW + number * _DAY)
    return ids


async def test_delivered_captures_are_kept_for_their_days(outbox: Outbox, clock: Clock) -> None:
    ids = await _delivered(outbox, 4)
    clock.now = NOW + 9 * _DAY
    assert await outbox.sweep(days=7, megabytes=100) == 2
    assert [row.capture_id for row in await outbox.listing()] == ids[:1:-1]


async def test_too_many_are_shed_oldest_first(outbox: Outbox) -> None:
    ids = await _delivered(outbox, 5, size=1000)
    size = len(captured(0, size=1000).data)
    assert await outbox.sweep(days=99, megabytes=3 * size / 1_000_000) == 2
    assert [row.capture_id for row in await outbox.listing()] == ids[:1:-1]


async def test_counters_survive_what_is_shed(outbox: Outbox) -> None:
    await _delivered(outbox, 3)
    before = (await outbox.counters())[CLOCK.key]
    await outbox.sweep(days=0, megabytes=0)
    after = (await outbox.counters())[CLOCK.key]
    assert (after.kept, after.kept_bytes) == (0, 0)
    assert (after.uploads, after.bytes_uploaded) == (before.uploads, before.bytes_uploaded)


async def test_undelivered_captures_are_never_shed(outbox: Outbox, clock: Clock) -> None:
    await outbox.add(captured(1))
    await outbox.add(captured(2, fault=CaptureFault.CHECKSUM))
    clock.now = NOW + 9999 * _DAY
    assert await outbox.sweep(days=0, megabytes=0) == 0
    assert len(await outbox.listing()) == 2


async def test_the_file_shrinks(outbox: Outbox, path: Path, clock: Clock) -> None:
    adding = (outbox.add(captured(number, size=4000)) for number in range(300))
    added = await asyncio.gather(*adding)
    await queue(outbox).delivered([each.capture_id or 0 for each in added])
    await outbox.checkpoint()
    full = _size(path)
    clock.now = NOW + 999 * _DAY
    assert await outbox.sweep(days=0, megabytes=0) == 300
    await outbox.checkpoint()
    assert _size(path) < full / 5


async def test_a_file_without_auto_vacuum_is_swept_to_an_end(
    path: Path, run: Run, clock: Clock
) -> None:
    """Its free pages can't be given back; they are used again."""
    path.parent.mkdir()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = NONE")
    migrate(connection)
    connection.close()
    outbox = await open_outbox(path, run, now=clock)
    await _delivered(outbox, 40, size=3000)
    async with asyncio.timeout(20):
        assert await outbox.sweep(days=0, megabytes=0) == 40
    before = _size(path)
    await _delivered(outbox, 10, size=3000)
    await outbox.checkpoint()
    assert _size(path) <= max(before, 64 * 4096)
    await outbox.close()
