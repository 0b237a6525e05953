"""A line of strangers that can't be reached delays nobody, on virtual time."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.gateway.waiting_line import WaitingLine
from demo.device.virtual_time import run_virtually

ATTEMPT = 60.0
"""Seconds that an attempt takes which leads nowhere."""


def newcomer_waits(
    ghosts: Sequence[tuple[float, int]], at: float, stream: float | None = None
) -> float:
    """Return how long a newcomer waits that comes after ghosts, each with moment and failures.

    Every *stream* seconds one more ghost comes after it; those that were not tried within the
    195 seconds for which an advertisement counts are gone.
    """

    async def scene() -> float:
        line = WaitingLine()
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []

        async def ghost(failures: int) -> None:
            came = loop.time()
            async with line.turn(failures):
                if stream is None or loop.time() - came < 195:
                    await asyncio.sleep(ATTEMPT)

        def come(failures: int) -> None:
            tasks.append(asyncio.ensure_future(ghost(failures)))

        def keep_coming() -> None:
            come(0)
            if stream is not None:
                loop.call_later(stream, keep_coming)

        for moment, failures in ghosts:
            loop.call_at(moment, come, failures)
        await asyncio.sleep(at)
        came = loop.time()
        if stream is not None:
            loop.call_later(stream, keep_coming)
        async with line.turn(0):
            waited = loop.time() - came
        for task in tasks:
            task.cancel()
        return waited

    return run_virtually(scene())


@given(
    st.lists(st.tuples(st.floats(0, 60), st.integers(0, 2)), min_size=5, max_size=100),
    st.floats(0.01, 100),
)
def test_a_newcomer_waits_for_one_attempt_at_most_whoever_came_before(
    ghosts: list[tuple[float, int]], after: float
) -> None:
    last = max(moment for moment, _ in ghosts)
    assert newcomer_waits(ghosts, last + after) <= ATTEMPT


def test_behind_a_thousand_ghosts_a_newcomer_waits_for_one_attempt() -> None:
    assert newcomer_waits([(0.0, 0)] * 1000, 90.0) == 30.0


def test_ghosts_that_have_failed_delay_a_newcomer_not_at_all() -> None:
    assert newcomer_waits([(0.0, 1 + n % 5) for n in range(1000)], 90.0) == 0.0


@pytest.mark.parametrize("every", [0.5, 5.0, 50.0])
def test_ghosts_that_keep_coming_do_not_keep_a_newcomer_waiting_for_ever(every: float) -> None:
    assert newcomer_waits([(0.0, 0)] * 500, 90.0, stream=every) <= 195 + ATTEMPT


def test_strangers_that_failed_are_tried_again_the_fewest_failures_first() -> None:
    order: list[int] = []

    async def stranger(line: WaitingLine, failures: int) -> None:
        async with line.turn(failures):
            order.append(failures)
            await asyncio.sleep(1)

    async def scene() -> None:
        line = WaitingLine()
        await asyncio.gather(*(stranger(line, failures) for failures in (9, 3, 1, 2)))

    run_virtually(scene())
    assert order == [9, 1, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 100)), min_size=1, max_size=40))
def test_whoever_gives_up_leaves_the_line_as_it_was(comers: list[tuple[int, float]]) -> None:
    """Cancelled while they wait, while they are tried, or between the two."""

    async def scene() -> None:
        line = WaitingLine()
        loop = asyncio.get_running_loop()

        async def try_for_long(failures: int) -> None:
            async with line.turn(failures):
                await asyncio.sleep(50)

        tasks = []
        for failures, patience in comers:
            task = asyncio.ensure_future(try_for_long(failures))
            loop.call_later(patience, task.cancel)
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        first, second = line.turn(0), line.turn(1)
        async with asyncio.timeout(0.001), first, second:
            pass

    run_virtually(scene())
