"""A copy made while the outbox is in use is consistent, and nobody waits for it."""

import asyncio
import shutil
from pathlib import Path

from custom_components.ulogger.outbox.database import Run
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import captured, open_outbox, queue
from .conftest import Opener


def _copy(path: Path, target: Path, *, log_bytes: int | None = None) -> Path:
    target.mkdir()
    shutil.copyfile(path, target / path.name)
    log = path.with_name(path.name + "-wal").read_bytes()
    (target / f"{path.name}-wal").write_bytes(log[:log_bytes])
    return target / path.name


def _content(path: Path) -> bytes:
    return path.read_bytes()


def _log_size(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


async def _numbers(path: Path, run: Run) -> list[float]:
    outbox = await open_outbox(path, run)
    assert outbox.recovered is None
    captures = [item.capture for item in await queue(outbox).batch(10_000)]
    await outbox.close()
    return [capture.captured_at - captured(0).captured_at for capture in captures]


async def test_a_checkpoint_leaves_everything_in_the_file(outbox: Outbox, path: Path) -> None:
    await outbox.add(captured(1))
    assert _log_size(path) > 0
    await outbox.checkpoint()
    assert _log_size(path) == 0


async def test_a_frozen_file_does_not_change_while_captures_come(
    outbox: Outbox, path: Path, opened: Opener
) -> None:
    await outbox.add(captured(0))
    async with outbox.frozen():
        before = _content(path)
        for number in range(1, 200):
            await outbox.add(captured(number, size=4000))
        await outbox.checkpoint()
        await outbox.sweep(days=0, megabytes=0)
        assert _content(path) == before
    await outbox.checkpoint()
    assert _content(path) != before
    assert len(await outbox.listing()) == 200


async def test_even_closing_leaves_a_frozen_file_alone(
    outbox: Outbox, path: Path, opened: Opener
) -> None:
    await outbox.freeze()
    before = _content(path)
    await outbox.add(captured(1))
    await outbox.close()
    assert _content(path) == before
    assert len(await (await opened()).listing()) == 1


async def test_a_copy_is_good_wherever_the_log_was_cut(
    outbox: Outbox, path: Path, tmp_path: Path, run: Run
) -> None:
    """Torn logs are also what a power cut leaves: whole captures, in order, from the first on."""
    await outbox.add(captured(0))
    ends = {}
    async with outbox.frozen():
        for number in range(1, 4):
            await outbox.add(captured(number, size=4000))
            ends[_log_size(path)] = number
        for cut in range(0, _log_size(path) + 1, 1024):
            there = await _numbers(_copy(path, tmp_path / str(cut), log_bytes=cut), run)
            last = max((number for end, number in ends.items() if end <= cut), default=0)
            assert there == list(range(last + 1))


async def test_freezing_twice_is_freezing_once(outbox: Outbox, path: Path) -> None:
    await outbox.freeze()
    before = _content(path)
    await outbox.add(captured(1))
    await outbox.freeze()
    assert _content(path) == before
    await outbox.thaw()
    await outbox.thaw()
    await outbox.checkpoint()
    assert _content(path) != before


async def test_a_freeze_that_nobody_ends_ends_by_itself(outbox: Outbox, path: Path) -> None:
    await outbox.freeze(seconds=900)
    await outbox.add(captured(1))
    timer = outbox._thaw_timer
    assert timer is not None
    assert 899 < timer.when() - asyncio.get_running_loop().time() <= 900
    outbox._thaw_late()
    assert outbox._thawing is not None
    await outbox._thawing
    assert timer.cancelled()
    await outbox.checkpoint()
    assert _log_size(path) == 0
