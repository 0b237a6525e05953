"""The limits of AWS IoT are kept, and waits grow, in virtual time."""

import asyncio

from custom_components.ulogger.cloud.pacing import Backoff, Pace


class VirtualTime:
    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def sent_at(sizes: list[int]) -> list[float]:
    time = VirtualTime()
    pace = Pace(clock=lambda: time.now, sleep=time.sleep)
    moments = []
    for size in sizes:
        await pace.take(size)
        moments.append(time.now)
    return moments


async def test_never_more_than_a_hundred_messages_within_a_second() -> None:
    moments = await sent_at([100] * 1000)
    busiest = max(sum(start <= each < start + 1 for each in moments) for start in moments)
    assert 85 < busiest <= 100
    assert moments[-1] - moments[0] < 1000 / 85


async def test_never_more_than_half_a_megabyte_within_a_second() -> None:
    moments = await sent_at([30_000] * 100)
    busiest = max(sum(start <= each < start + 1 for each in moments) for start in moments)
    assert busiest * 30_000 <= 512_000


async def test_a_quiet_time_earns_a_short_burst_only() -> None:
    time = VirtualTime()
    pace = Pace(clock=lambda: time.now, sleep=time.sleep)
    time.now += 3600
    before = time.now
    for _ in range(9):
        await pace.take(10)
    assert time.now == before
    for _ in range(9):
        await pace.take(10)
    assert time.now > before


async def test_those_who_wait_at_once_go_one_after_the_other() -> None:
    released: list[float] = []
    now = 0.0

    async def sleep(seconds: float) -> None:
        released.append(now + seconds)

    pace = Pace(messages=10, clock=lambda: now, sleep=sleep)
    await asyncio.gather(*(pace.take(1) for _ in range(8)))
    assert released == sorted(released)
    assert len(set(released)) == len(released)


def test_waits_double_up_to_the_longest_and_are_spread_by_chance() -> None:
    assert [Backoff(1, 60, chance=lambda: 0.0).delay(n) for n in (1, 2, 3, 7, 99)] == [
        1,
        2,
        4,
        60,
        60,
    ]
    assert Backoff(1, 60, chance=lambda: 1.0).delay(3) == 2
