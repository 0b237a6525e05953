"""The limits of AWS IoT are kept, and waits grow, in virtual time."""

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.mqtt.rate_limit import RateLimit
from custom_components.ulogger.model.backoff import Backoff
from demo.device.virtual_time import run_virtually

from ...support.virtual_broker import VirtualBroker


class VirtualTime:
    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def sent_at(sizes: list[int]) -> list[float]:
    time = VirtualTime()
    pace = RateLimit(clock=lambda: time.now, sleep=time.sleep)
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


@settings(max_examples=200, deadline=None)
@given(
    messages=st.lists(
        st.tuples(st.sampled_from([0, 0, 0, 0.3, 1, 5]), st.integers(0, 131_072)), max_size=60
    )
)
def test_no_second_has_more_than_512_kilobytes_whatever_the_sizes(
    messages: list[tuple[float, int]],
) -> None:
    """A kilobyte has 1,000 bytes."""

    async def send() -> None:
        loop = asyncio.get_running_loop()
        pace = RateLimit(clock=loop.time)
        sent: list[tuple[float, int]] = []

        async def one(size: int) -> None:
            await pace.take(size)
            sent.append((loop.time(), size))

        sending = []
        for pause, size in messages:
            await asyncio.sleep(pause)
            sending.append(asyncio.create_task(one(size)))
        await asyncio.gather(*sending)
        for start, _ in sent:
            within = [size for at, size in sent if start <= at < start + 1 - 1e-6]
            assert sum(within) <= 512_000
            assert len(within) <= 100

    run_virtually(send())


def test_the_largest_messages_go_three_a_second() -> None:
    async def send() -> float:
        pace = RateLimit(clock=asyncio.get_running_loop().time)
        for _ in range(31):
            await pace.take(131_072)
        return asyncio.get_running_loop().time()

    assert 9.9 < run_virtually(send()) < 10.2


def test_a_client_connects_at_most_once_a_second() -> None:
    async def fight() -> list[float]:
        broker = VirtualBroker()
        pace = RateLimit(clock=asyncio.get_running_loop().time)
        transport = broker.transport(pace=pace, backoff=Backoff(0.01, 0.01))
        running = asyncio.create_task(transport.run())
        for _ in range(1_000):
            await asyncio.sleep(0.02)
            broker.drop_all()
            transport.retry_now()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return [at for at, _ in broker.connects]

    connects = run_virtually(fight())
    assert len(connects) > 10
    assert all(later - earlier > 0.999 for earlier, later in pairwise(connects))


async def test_a_quiet_time_earns_a_short_burst_only() -> None:
    time = VirtualTime()
    pace = RateLimit(clock=lambda: time.now, sleep=time.sleep)
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

    pace = RateLimit(messages=10, clock=lambda: now, sleep=sleep)
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
