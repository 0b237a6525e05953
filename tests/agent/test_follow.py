"""Following a device: each line is on disk soon after it was logged, and none is ever lost."""

import asyncio
from contextlib import aclosing, suppress
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from custom_components.ulogger.agent.errors import AgentError, StaleTransfer
from custom_components.ulogger.agent.session import AgentSession
from custom_components.ulogger.model.capture import CaptureKind
from demo.device.link import SimulatedClient
from demo.device.log_memory import LogMemory, Moment
from demo.device.radio import Air
from demo.device.samples import sample_core_dump, sample_frames
from demo.device.virtual_time import run_virtually

from ..support.agent_world import DEVICE, World, device

WITHIN = 3.0
"""Seconds from a line on the device to its capture on disk."""
LINE = 40


class Follower:
    """Follows a device over one connection after another, as the integration does."""

    def __init__(self, world: World, air: Air) -> None:
        self.world = world
        self.air = air
        self.at: list[tuple[float, bytes]] = []
        self.session: AgentSession | None = None
        self.connections = 0
        self.over = False
        self._unconfirmed = b""

    @property
    def frames(self) -> bytes:
        return b"".join(frames for _, frames in self.at)

    async def run(self) -> None:
        while not self.over:
            with suppress(AgentError):
                await self._once()
            self.session = None

    async def _once(self) -> None:
        session: AgentSession | None = None
        client = SimulatedClient(
            self.world.firmware, self.air, disconnected=lambda: session and session.link_lost()
        )
        await client.connect()
        self.connections += 1
        loop = asyncio.get_running_loop()
        session = self.session = AgentSession(client, memory=self.world.memory)
        try:
            async with aclosing(session.follow(DEVICE)) as captures:
                async for pending in captures:
                    async with pending as capture:
                        self.world.firmware.committed(capture.kind, capture.data)
                        if capture.kind is CaptureKind.LOG:
                            self._keep(loop.time(), LogMemory.frames_of(capture.data))
                    self.world.taken.append(capture)
                    self._unconfirmed = b""
        except StaleTransfer:
            return
        finally:
            await client.disconnect()

    def _keep(self, now: float, frames: bytes) -> None:
        """Keep what is committed, in place of what it offers again: its erase was not confirmed."""
        if self._unconfirmed and frames.startswith(self._unconfirmed):
            self.at.pop()
        self.at.append((now, frames))
        self._unconfirmed = frames

    def leave(self) -> None:
        self.over = True
        if self.session is not None:
            self.session.leave()


async def log_lines(world: World, pauses: list[float]) -> list[tuple[float, bytes]]:
    """Log a line after each pause; returns when and what."""
    logged = []
    for number, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        line = sample_frames(LINE, seed=number)
        assert world.firmware.append_log(line)
        logged.append((asyncio.get_running_loop().time(), line))
    return logged


def delays(logged: list[tuple[float, bytes]], follower: Follower) -> list[float]:
    """Return how long after it was logged each line was on disk; each must have come once."""
    assert follower.frames == b"".join(line for _, line in logged)
    found = []
    taken = 0
    arrivals = iter(follower.at)
    moment = 0.0
    for number, (when, _) in enumerate(logged, start=1):
        while taken < number * LINE:
            moment, frames = next(arrivals)
            taken += len(frames)
        found.append(moment - when)
    return found


async def followed(
    air: Air, pauses: list[float], **options: object
) -> tuple[list[float], Follower]:
    world = device(**options)
    follower = Follower(world, air)
    following = asyncio.ensure_future(follower.run())
    logged = await log_lines(world, pauses)
    async with asyncio.timeout(60):
        while world.firmware.log:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
    follower.leave()
    async with asyncio.timeout(10):
        await following
    assert world.firmware.early_erases == 0
    return delays(logged, follower), follower


@pytest.mark.parametrize("interval", [0.0075, 0.03, 0.05])
@pytest.mark.parametrize("proxy", [0.0, 0.02])
def test_a_line_is_on_disk_within_three_seconds(interval: float, proxy: float) -> None:
    air = Air(interval=interval, proxy_latency=proxy)
    pauses = [Random(1).uniform(0.2, 6) for _ in range(40)]
    took, follower = run_virtually(followed(air, pauses))
    assert max(took) <= WITHIN
    assert follower.connections <= 3


def test_lines_that_come_fast_come_in_batches_and_in_time() -> None:
    took, follower = run_virtually(followed(Air(), [0.1] * 300))
    assert max(took) <= WITHIN
    assert len(follower.at) < 150


@pytest.mark.parametrize("agent", ["older", "newer"])
def test_a_device_that_is_quiet_for_long_is_still_followed(agent: str) -> None:
    took, follower = run_virtually(followed(Air(), [600.0, 900.0], agent=agent))
    assert max(took) <= WITHIN
    assert follower.connections == 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.floats(0.05, 8), min_size=1, max_size=25),
    st.lists(st.floats(0.5, 20), max_size=5),
    st.sampled_from([0.0, 0.02, 0.1]),
    st.integers(0, 100),
)
@example([4.5], [5.0], 0.0, 0)
def test_no_line_is_lost_or_doubled_whatever_the_link_does(
    pauses: list[float], cuts: list[float], loss: float, seed: int
) -> None:
    async def scene() -> None:
        world = device()
        follower = Follower(world, Air(loss=loss, seed=seed))
        following = asyncio.ensure_future(follower.run())

        async def cut() -> None:
            for pause in cuts:
                await asyncio.sleep(pause)
                world.firmware.disconnect()
                if follower.session is not None:
                    follower.session._client.radio.drop()

        cutting = asyncio.ensure_future(cut())
        logged = await log_lines(world, pauses)
        async with asyncio.timeout(300):
            while world.firmware.log or not cutting.done():  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.1)
        follower.leave()
        async with asyncio.timeout(30):
            await following
        assert follower.frames == b"".join(line for _, line in logged)
        assert world.firmware.early_erases == 0

    run_virtually(scene())


def test_a_core_dump_is_fetched_while_it_is_followed_and_the_log_goes_on() -> None:
    async def scene() -> None:
        world = device()
        follower = Follower(world, Air())
        following = asyncio.ensure_future(follower.run())
        await log_lines(world, [3.0])
        dump = sample_core_dump(DEVICE, 2000)
        world.firmware.crash(dump)
        await asyncio.sleep(20)
        assert world.core_dumps() == [dump]
        await log_lines(world, [1.0])
        await asyncio.sleep(WITHIN)
        assert not world.firmware.log
        follower.leave()
        await following
        assert world.firmware.early_erases == 0

    run_virtually(scene())


def test_who_leaves_takes_what_is_under_way_and_unsubscribes() -> None:
    async def scene() -> None:
        world = device()
        follower = Follower(world, Air())
        following = asyncio.ensure_future(follower.run())
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        follower.leave()
        await following
        assert asyncio.get_running_loop().time() - began <= WITHIN

    run_virtually(scene())


def test_a_dump_that_can_not_be_taken_costs_a_connection_now_and_then_and_no_line() -> None:
    """It keeps new lines back until a disconnect, and is offered again at once."""

    async def scene() -> None:
        world = device(
            core_dump=sample_core_dump(DEVICE, 70_000),
            chunk_payload=200,
            clock=lambda: Moment(round(1000 * asyncio.get_running_loop().time()), 0),
        )
        follower = Follower(world, Air())
        following = asyncio.ensure_future(follower.run())
        await log_lines(world, [30.0])
        await asyncio.sleep(2 * WITHIN)
        first = follower.frames
        requests = world.firmware.requests
        await asyncio.sleep(60)
        assert world.firmware.requests - requests < 60 * 10
        await log_lines(world, [0.0, 2.0, 0.3])
        await asyncio.sleep(2 * WITHIN)
        assert follower.frames != first
        # What a log goes on with is told from the rest of it where it is kept.
        assert follower.at[-1][1] == LogMemory.frames_of(world.firmware.log)
        follower.leave()
        await following
        assert world.firmware.early_erases == 0

    run_virtually(scene())
