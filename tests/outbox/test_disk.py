"""Disks that are full, read-only or broken while the outbox is open."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from custom_components.ulogger.outbox.database import Run
from custom_components.ulogger.outbox.errors import DiskFailed, DiskFull
from custom_components.ulogger.outbox.model import DeviceCounters, Outcome
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import CLOCK, captured, open_outbox, queue
from .conftest import Opener


def _pages(outbox: Outbox, extra: int | None) -> int:
    connection = outbox._database._connection
    used = connection.execute("PRAGMA page_count").fetchone()[0]
    limit = 2**30 if extra is None else used + extra
    return int(connection.execute(f"PRAGMA max_page_count = {limit}").fetchone()[0])


async def test_a_full_disk_is_said_and_forgotten_once_there_is_room(
    outbox: Outbox, opened: Opener
) -> None:
    await outbox.add(captured(1))
    _pages(outbox, 2)
    with pytest.raises(DiskFull) as refused:
        await outbox.add(captured(2, size=60_000))
    assert refused.value.retryable
    assert (await outbox.counters())[CLOCK.key].waiting == 1
    assert (await outbox.add(captured(3))).outcome is Outcome.STORED
    _pages(outbox, None)
    assert (await outbox.add(captured(2, size=60_000))).outcome is Outcome.STORED
    await outbox.close()
    assert len(await queue(await opened()).batch()) == 3


async def test_a_disk_that_becomes_read_only_is_said(outbox: Outbox) -> None:
    await outbox._database.read(lambda c: c.execute("PRAGMA query_only = ON"))
    with pytest.raises(DiskFailed) as refused:
        await outbox.add(captured(1))
    assert refused.value.retryable
    await outbox._database.read(lambda c: c.execute("PRAGMA query_only = OFF"))
    assert (await outbox.add(captured(1))).outcome is Outcome.STORED


async def test_every_step_of_adding_may_fail_and_leaves_all_or_nothing(outbox: Outbox) -> None:
    """A broken read or write shows in SQLite as the failure of one of its instructions."""
    connection = outbox._database._connection
    left = -1

    def fails() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    connection.set_progress_handler(fails, 1)
    outcomes = [Outcome.QUARANTINED]
    while outcomes[-1] is not Outcome.STORED:
        capture = captured(len(outcomes))
        left = len(outcomes)
        with suppress(DiskFailed):
            outcomes.append((await outbox.add(capture)).outcome)
            continue
        left = -1
        outcomes.append(Outcome.QUARANTINED)
        rows = await outbox.listing()
        counters = await outbox.counters()
        assert counters.get(CLOCK.key, DeviceCounters()).waiting == len(rows)
        if rows:
            assert await outbox.read(rows[0].capture_id) == capture
            assert (await outbox.add(capture)).outcome is Outcome.DUPLICATE
            await outbox.discard(rows[0].capture_id)
    connection.set_progress_handler(None, 0)
    assert len(outcomes) > 50
    assert len(await outbox.listing()) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 8 MiB; only root may, elsewhere the tests above have to do."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def _fill(place: Path) -> None:
    (place / "ballast").write_bytes(b"\0" * os.statvfs(place).f_bavail * 4096)


def _enlarge(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", place], check=True)


async def _overfill(outbox: Outbox, acknowledged: list[int | None]) -> None:
    for number in range(2, 1000):
        added = await outbox.add(captured(number, size=4000))
        acknowledged += [added.capture_id]


async def test_a_really_full_disk_loses_nothing_that_was_acknowledged(
    small_disk: Path, run: Run
) -> None:
    path = small_disk / "ulogger" / "account.db"
    outbox = await open_outbox(path, run)
    acknowledged: list[int | None] = []
    with pytest.raises(DiskFull):
        await _overfill(outbox, acknowledged)
    assert len(acknowledged) > 200
    assert [row.capture_id for row in await outbox.listing()][::-1] == acknowledged
    assert not (await outbox.space()).has_room(budget=2**30, reserve=8192)
    await outbox.close()
    _enlarge(small_disk)
    outbox = await open_outbox(path, run)
    acknowledged.append((await outbox.add(captured(2000, size=4000))).capture_id)
    assert outbox.recovered is None
    assert [row.capture_id for row in await outbox.listing()][::-1] == acknowledged
    await outbox.close()


async def test_a_full_disk_does_not_keep_the_outbox_from_growing_later(
    small_disk: Path, run: Run
) -> None:
    path = small_disk / "ulogger" / "account.db"
    outbox = await open_outbox(path, run)
    await outbox.add(captured(1, size=4000))
    _fill(small_disk)
    with pytest.raises(DiskFull):
        await _overfill(outbox, [])
    (small_disk / "ballast").unlink()
    assert (await outbox.add(captured(999, size=4000))).outcome is Outcome.STORED
    await outbox.close()


async def test_a_full_disk_is_said_at_opening(small_disk: Path, run: Run) -> None:
    _fill(small_disk)
    with pytest.raises((DiskFull, DiskFailed)) as refused:
        await open_outbox(small_disk / "ulogger" / "account.db", run)
    assert refused.value.retryable
    (small_disk / "ballast").unlink()
    outbox = await open_outbox(small_disk / "ulogger" / "account.db", run)
    assert outbox.recovered is None
    await outbox.close()
