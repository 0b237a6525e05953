"""Shared commits: durable before they return, and one failure is nobody else's."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import NoSuchCapture, OutboxDamaged, Unstorable
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import CLOCK, captured, open_outbox, queue
from .conftest import Opener


async def _trace(outbox: Outbox) -> list[str]:
    seen: list[str] = []
    await outbox._database.read(lambda c: c.set_trace_callback(seen.append))
    return seen


async def test_captures_that_come_together_share_one_commit(outbox: Outbox) -> None:
    statements = await _trace(outbox)
    await asyncio.gather(*(outbox.add(captured(number)) for number in range(20)))
    assert statements.count("COMMIT") == 1
    assert [item.capture.captured_at for item in await queue(outbox).batch()] == [
        captured(number).captured_at for number in range(20)
    ]


async def test_nothing_returns_before_its_commit(outbox: Outbox) -> None:
    statements = await _trace(outbox)
    for number in range(3):
        await outbox.add(captured(number))
        assert statements[-1] == "COMMIT"


async def test_one_failing_call_takes_nobody_with_it(outbox: Outbox) -> None:
    added, failed, other = await asyncio.gather(
        outbox.add(captured(1)),
        queue(outbox).failed(999, "nobody"),
        outbox.add(captured(2)),
        return_exceptions=True,
    )
    assert isinstance(failed, NoSuchCapture)
    assert not isinstance(added, BaseException)
    assert not isinstance(other, BaseException)
    assert [item.capture for item in await queue(outbox).batch()] == [captured(1), captured(2)]
    assert (await outbox.counters())[CLOCK.key].waiting == 2


async def test_a_name_that_cannot_be_written_is_refused_alone(outbox: Outbox) -> None:
    nameless = captured(1, DeviceIdentity(1, "\ud800"))
    refused, added = await asyncio.gather(
        outbox.add(nameless), outbox.add(captured(2)), return_exceptions=True
    )
    assert isinstance(refused, Unstorable)
    assert not isinstance(added, BaseException)
    assert list(await outbox.counters()) == [CLOCK.key]


async def test_a_commit_that_fails_leaves_nothing(outbox: Outbox) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO devices (application_id, serial) VALUES (1, 'x')")
        raise sqlite3.DatabaseError("malformed")

    with pytest.raises(OutboxDamaged):
        await outbox._database.write(fails)
    assert await outbox.counters() == {}


async def test_an_unforeseen_error_reaches_its_caller_and_the_queue_goes_on(
    outbox: Outbox,
) -> None:
    def mistake(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO devices (application_id, serial) VALUES (1, 'x')")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await outbox._database.write(mistake)
    await outbox.add(captured(1))
    assert list(await outbox.counters()) == [CLOCK.key]


async def test_an_executor_that_takes_no_more_work_leaves_nobody_waiting(
    path: Path, run: Callable[..., Awaitable[Any]]
) -> None:
    takes_work = True

    def closing(work: Callable[..., Any], *values: Any) -> Awaitable[Any]:
        if not takes_work:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return run(work, *values)

    outbox = await open_outbox(path, closing)
    takes_work = False
    with pytest.raises(RuntimeError, match="shutdown"):
        await outbox.add(captured(1))
    takes_work = True
    await outbox.add(captured(2))
    await outbox.close()


async def test_closing_finishes_what_was_begun(outbox: Outbox, opened: Opener) -> None:
    adding = [asyncio.create_task(outbox.add(captured(number))) for number in range(300)]
    await asyncio.sleep(0)
    await outbox.close()
    assert {task.result().size for task in adding} == {len(captured(0).data)}
    assert len(await (await opened()).listing()) == 300


async def test_a_cancelled_caller_holds_nobody_up(outbox: Outbox) -> None:
    adding = asyncio.create_task(outbox.add(captured(1)))
    leaving = asyncio.create_task(outbox.add(captured(2)))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([adding, leaving])
    await outbox.add(captured(3))
    waiting = [item.capture for item in await queue(outbox).batch()]
    assert waiting == [captured(1), captured(3)]


async def test_jobs_never_run_at_the_same_time(
    path: Path, run: Callable[..., Awaitable[Any]]
) -> None:
    running = most = 0

    async def counting(work: Callable[..., Any], *values: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await run(work, *values)
        finally:
            running -= 1

    outbox = await open_outbox(path, counting)
    calls = [outbox.add(captured(number)) for number in range(10)]
    await asyncio.gather(*calls, outbox.counters(), queue(outbox).batch(), outbox.space())
    await outbox.close()
    assert most == 1
