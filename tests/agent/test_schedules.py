"""Whatever the link does: the capture is identical, nothing is erased early, and it ends."""

import asyncio
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custom_components.ulogger.model.capture import Capture, CaptureKind
from demo.device.radio import Air
from demo.device.samples import sample_core_dump, sample_frames, sample_log
from demo.device.virtual_time import run_virtually

from ..support.agent_world import DEVICE, DiskFull, World, device

SCHEDULES = 2000
BOUND = 1200.0
"""Seconds of virtual time within which every schedule ends, ours taking at most some minutes."""

AIRS = st.builds(
    Air,
    interval=st.sampled_from([0.0075, 0.015, 0.03, 0.05]),
    packets_up=st.integers(1, 6),
    packets_down=st.integers(1, 6),
    queue=st.sampled_from([128, 512, 3072]),
    loss=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    duplication=st.sampled_from([0.0, 0.05, 0.3]),
    reordering=st.sampled_from([0.0, 0.05, 0.3]),
    proxy_latency=st.sampled_from([0.0, 0.02]),
    seed=st.integers(0, 2**16),
)
CUTS = st.lists(st.integers(0, 4000), max_size=3)


class Disk:
    """A commit that takes its time and sometimes fails."""

    def __init__(self, seed: int, *, slow: bool, failures: int) -> None:
        self._random = Random(seed)
        self._slow = slow
        self._failures = failures

    async def __call__(self, _: Capture) -> None:
        if self._slow:
            await asyncio.sleep(self._random.uniform(0, 5))
        if self._failures:
            self._failures -= 1
            raise DiskFull


async def _append_now_and_then(world: World, seed: int, appended: list[bytes]) -> None:
    random = Random(seed)
    while True:
        await asyncio.sleep(random.expovariate(1.0))
        frames = sample_frames(random.randrange(12, 60), random.randrange(1000))
        if len(appended) < 5 and world.firmware.append_log(frames):
            appended.append(frames)


@pytest.mark.timeout(600)
@settings(max_examples=SCHEDULES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    air=AIRS,
    cuts=CUTS,
    log_size=st.one_of(st.just(0), st.integers(26, 1200)),
    dump_size=st.one_of(st.just(0), st.integers(264, 700)),
    agent=st.sampled_from(["older", "newer"]),
    payload=st.sampled_from([5, 16, 20, 100]),
    torn=st.integers(0, 2),
    slow_disk=st.booleans(),
    disk_failures=st.integers(0, 1),
    appending=st.booleans(),
    rereads_header=st.booleans(),
)
def test_every_schedule_ends_with_the_capture_committed_before_the_erase(
    air,
    cuts,
    log_size,
    dump_size,
    agent,
    payload,
    torn,
    slow_disk,
    disk_failures,
    appending,
    rereads_header,
):
    log = sample_log(log_size, air.seed) if log_size else b""
    dump = sample_core_dump(DEVICE, dump_size, air.seed) if dump_size else None

    async def scenario() -> tuple[World, list[bytes], float]:
        world = device(
            log,
            dump,
            agent=agent,
            chunk_payload=payload,
            torn_reads=torn,
            log_region=4096,
            rereads_header=rereads_header,
        )
        disk = Disk(air.seed, slow=slow_disk, failures=disk_failures)
        appended: list[bytes] = []
        if appending:
            logging = asyncio.ensure_future(_append_now_and_then(world, air.seed, appended))
        broken = [
            Air(**{name: getattr(air, name) for name in Air.__slots__} | {"cut_after": cut})
            for cut in cuts
        ]
        await world.visit_until_empty([*broken, air], disk)
        if appending:
            logging.cancel()
        return world, appended, asyncio.get_running_loop().time()

    world, appended, ended = run_virtually(scenario())

    assert world.firmware.early_erases == 0
    assert world.firmware.bytes_erased_uncommitted == 0
    assert ended < BOUND
    if dump is not None:
        assert set(world.core_dumps()) == {dump}
    if not appending:
        assert set(world.logs()) == ({log} if log else set())
        return
    everything = log[25:] + b"".join(appended)
    for taken in world.logs():
        assert taken[25:] in everything


def test_the_kinds_are_never_confused():
    """Both memories are taken, each as what it is."""

    async def scenario() -> World:
        world = device(sample_log(700), sample_core_dump(DEVICE, 600))
        await world.visit_until_empty([Air()])
        return world

    world = run_virtually(scenario())
    assert [capture.kind for capture in world.taken] == [CaptureKind.LOG, CaptureKind.CORE_DUMP]
