"""Whether a device has nothing left: silence is believed only of one that answers."""

import asyncio
from contextlib import suppress

import pytest

from custom_components.ulogger.agent.errors import AgentError
from custom_components.ulogger.agent.session import AgentSession
from demo.device.link import SimulatedClient
from demo.device.radio import Air
from demo.device.samples import sample_core_dump, sample_log
from demo.device.virtual_time import run_virtually

from ..support.agent_world import DEVICE, World, device, story

LOG = sample_log(700)
DUMP = sample_core_dump(DEVICE, 900)
STALL = 4.0
"""Seconds: longer than the patience for what may follow a log, shorter than any operation's."""


async def left(world: World, stalls: float = 0.0) -> AgentSession:
    """Visit a device; the link may stall once the erase command for its log was answered."""
    client = SimulatedClient(world.firmware, Air())
    await client.connect()
    session = AgentSession(client, memory=world.memory)
    with suppress(AgentError):
        async for pending in session.captures(DEVICE):
            async with pending as capture:
                world.firmware.committed(capture.kind, capture.data)
            if stalls:
                client.radio.stall(stalls)
    await client.disconnect()
    return session


@pytest.mark.parametrize("rssi", [-60, None])
@pytest.mark.parametrize("log", [b"", LOG])
@pytest.mark.parametrize("dump", [None, DUMP])
def test_a_device_that_gave_all_and_still_answers_is_empty(
    log: bytes, dump: bytes | None, rssi: int | None
) -> None:
    async def scene() -> None:
        world = device(log, dump, rssi=rssi)
        session = await left(world)
        assert session.emptied
        assert not world.firmware.log

    run_virtually(scene())


@pytest.mark.parametrize("rssi", [-60, None])
def test_the_silence_of_a_link_that_stalls_empties_nothing(rssi: int | None) -> None:
    async def scene() -> None:
        world = device(LOG, DUMP, rssi=rssi)
        session = await left(world, STALL)
        assert session.emptied is None
        assert world.firmware.log

    run_virtually(scene())


@story
async def test_a_link_that_stalls_for_good_says_nothing_of_the_device():
    world = device(LOG)
    session = await left(world, 60.0)
    assert session.emptied is None


@story
async def test_a_log_behind_which_a_dump_is_too_long_stays():
    world = device(LOG, sample_core_dump(DEVICE, 70_000), chunk_payload=200)
    first = await left(world)
    assert (first.emptied, first.dump_waits) == (None, True)
    again = await left(world)
    assert again.emptied is False
    assert world.firmware.log


@story
async def test_the_signal_strength_is_that_of_the_end():
    world = device(LOG, rssi=-71)
    client = SimulatedClient(world.firmware, Air())
    await client.connect()
    session = AgentSession(client)
    async for pending in session.captures(DEVICE):
        async with pending as capture:
            world.firmware.committed(capture.kind, capture.data)
        assert session.rssi is None
    assert session.rssi == -71
    await asyncio.sleep(0)
    await client.disconnect()
