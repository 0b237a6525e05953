"""Logs that go on growing: what the device's own tick has begun is begun anew, never damage."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.agent import gatt
from custom_components.ulogger.agent.errors import StaleTransfer
from custom_components.ulogger.agent.packets import Chunk, encode_chunk
from custom_components.ulogger.agent.session import RECONNECTIONS, AgentSession
from custom_components.ulogger.agent.transfer import Transfer
from custom_components.ulogger.capture.log_buffer import LogHeader, check_log, xor_checksum
from custom_components.ulogger.model.capture import CaptureFault, CaptureKind
from demo.device.link import SimulatedClient
from demo.device.log_memory import Moment
from demo.device.radio import Air
from demo.device.samples import sample_frames, sample_log
from demo.device.virtual_time import run_virtually

from ..support.agent_world import DEVICE, World, device, story

LINE = sample_frames(30, seed=3)
LOG = sample_log(600)


def now():
    return asyncio.get_running_loop().time()


async def connect_at(world, phase):
    """Connect so long after a tick of the device's."""
    await asyncio.sleep((phase - now()) % 2.0)
    client = SimulatedClient(world.firmware, Air())
    await client.connect()
    return client


async def drain(session, world):
    async for pending in session.captures(DEVICE):
        async with pending as capture:
            check_log(capture.data)
            world.firmware.committed(capture.kind, capture.data)
            world.taken.append(capture)


async def stale_session(world, version=4):
    """A session whose device ticked before anybody listened, and logged a line since."""
    client = await connect_at(world, 1.9)
    await asyncio.sleep(0.2)
    world.firmware.append_log(LINE)
    return client, AgentSession(client, memory=world.memory)


def log_of(version, size=600):
    frames = sample_frames(size)
    header = LogHeader(version, 0, 0, 0, 1000, 0, len(frames), xor_checksum(frames))
    return header.pack() + frames


@pytest.mark.parametrize("version", [1, 3, 4])
@pytest.mark.parametrize("payload", [5, 16, 100])
def test_a_transfer_that_a_tick_began_before_is_told_from_damage(version, payload):
    @story
    async def scenario():
        world = device(log_of(version), chunk_payload=payload)
        client, session = await stale_session(world)
        with pytest.raises(StaleTransfer) as failed:
            await drain(session, world)
        assert failed.value.retryable
        assert world.memory.checksum_failures == 0
        assert not world.memory.partials
        assert world.firmware.erases == 0
        await client.disconnect()
        await drain(AgentSession(await connect_at(world, 0.1), memory=world.memory), world)
        [log] = world.logs()
        assert log[-len(LINE) :] == LINE

    scenario()


@story
async def test_it_is_noticed_at_its_first_chunks_and_no_leave_is_taken():
    world = device(sample_log(16_000))
    client, session = await stale_session(world)
    down, began = client.traffic.down, now()
    with pytest.raises(StaleTransfer):
        await drain(session, world)
    assert client.traffic.down - down < 12
    assert now() - began < 0.5


@story
async def test_after_the_first_chunks_the_log_may_grow():
    world = device(sample_log(8000))
    client = await connect_at(world, 0.1)
    asyncio.get_running_loop().call_later(0.5, world.firmware.append_log, LINE)
    await drain(AgentSession(client, memory=world.memory), world)
    assert world.logs() == [sample_log(8000)]
    assert world.firmware.log[25:] == LINE


@story
async def test_what_the_tick_sends_to_a_subscriber_is_taken_although_the_log_grew_since():
    world = device(log_of(3), chunk_payload=20)
    client = await connect_at(world, 1.5)
    session = AgentSession(client, memory=world.memory, now=now)
    await session.subscribe()
    await asyncio.sleep(0.6)
    ticked = math.floor(now() / 2) * 2
    world.firmware.append_log(LINE)
    await drain(session, world)
    assert world.logs() == [log_of(3)]
    assert world.taken[0].captured_at == pytest.approx(ticked, abs=0.1)
    assert world.firmware.log[17:] == LINE


@story
async def test_a_first_chunk_that_nobody_asked_for_is_not_asked_for_again():
    world = device(LOG)
    client = await connect_at(world, 1.5)
    asked = []
    write = client.write_gatt_char

    async def watched(char, data, /, *, response=None):
        asked.append(int.from_bytes(data, "little"))
        await write(char, data, response=response)

    client.write_gatt_char = watched
    session = AgentSession(client)
    await session.subscribe()
    await asyncio.sleep(0.6)
    await drain(session, world)
    assert asked[: asked.index(len(LOG))] == list(range(16, len(LOG), 16))


@story
async def test_a_subscription_is_made_once():
    class Counting(SimulatedClient):
        subscribed: tuple[str, ...] = ()

        async def start_notify(self, char, callback, /, **_):
            self.subscribed += (char.uuid,)
            await super().start_notify(char, callback)

    world = device(LOG)
    client = Counting(world.firmware)
    await client.connect()
    session = AgentSession(client)
    await session.subscribe()
    await drain(session, world)
    assert client.subscribed == (gatt.LOG_DATA, gatt.CORE_DUMP_DATA)


@story
async def test_a_header_that_tells_of_more_than_the_wire_can_name_is_too_long_not_stale():
    header = LogHeader(4, 0, 0, 0, 1000, 0, 65_535, 0)
    world = device(header.pack() + sample_frames(600))
    [capture] = await world.visit()
    assert capture.fault is CaptureFault.TOO_LONG
    assert world.firmware.erases == 0


@story
async def test_a_device_that_is_always_faster_keeps_its_log_and_is_never_damaged():
    world = device(LOG)

    class Always(SimulatedClient):
        async def start_notify(self, *args, **options):
            if world.firmware._sending is None:
                world.firmware._start(by_tick=True)
                world.firmware.append_log(LINE)
            await super().start_notify(*args, **options)

    with pytest.raises(StaleTransfer):
        await world.meet(client_type=Always)
    assert len(world.clients) == 1 + RECONNECTIONS
    assert world.memory.checksum_failures == 0
    assert world.firmware.log[25:] == LOG[25:] + LINE * (1 + RECONNECTIONS)


@story
async def test_the_next_time_both_chunks_of_the_header_are_asked_for_at_once():
    world = device(LOG)
    client, session = await stale_session(world)
    with pytest.raises(StaleTransfer):
        await drain(session, world)
    await client.disconnect()
    client = await connect_at(world, 0.1)
    asked = []
    write = client.write_gatt_char

    async def watched(char, data, /, *, response=None):
        asked.append((int.from_bytes(data, "little"), now()))
        await write(char, data, response=response)

    client.write_gatt_char = watched
    await drain(AgentSession(client, memory=world.memory), world)
    assert [offset for offset, _ in asked[:3]] == [0, 16, 32]
    assert asked[0][1] == asked[1][1] < asked[2][1]
    assert len(world.logs()) == 1


@pytest.mark.parametrize(("payload", "second"), [(5, 0), (12, 0), (16, 16), (20, 20), (25, 0)])
def test_a_request_before_the_total_is_known_is_below_the_smallest_total(payload, second):
    transfer = Transfer()
    transfer.start(0.0)
    first = encode_chunk(Chunk(0, 600, LOG[:payload]))
    transfer.on_chunk(CaptureKind.LOG, first, 0.1)
    assert transfer.header_ends_at == second
    assert list(Transfer(header_ends_at=second).start(0.0)) == [0, second][: 1 + bool(second)]
    assert list(Transfer(header_ends_at=25).start(0.0)) == [0]


@settings(max_examples=150, deadline=None)
@given(
    every=st.floats(0.2, 3.0),
    phase=st.floats(0, 2),
    before=st.floats(0, 2),
    agent=st.sampled_from(["older", "newer"]),
    version=st.sampled_from([1, 3, 4]),
    interval=st.sampled_from([0.0075, 0.03, 0.05]),
)
def test_whatever_the_device_logs_and_whenever_we_come_logs_are_whole(
    every, phase, before, agent, version, interval
):
    async def scenario() -> World:
        world = device(log_of(version), agent=agent, clock=lambda: Moment(round(now() * 1000), 0))

        async def live():
            while True:
                await asyncio.sleep(every)
                world.firmware.append_log(LINE)

        living = asyncio.create_task(live())
        for visit in range(4):
            await asyncio.sleep((phase - now()) % 2.0)
            for attempt in range(1 + RECONNECTIONS):
                client = SimulatedClient(world.firmware, Air(interval=interval))
                await client.connect()
                try:
                    # Whatever a client does between connecting and asking.
                    if not attempt and not visit % 2:
                        await asyncio.sleep(before)
                    await drain(AgentSession(client, memory=world.memory), world)
                    break
                except StaleTransfer:
                    continue
                finally:
                    await client.disconnect()
            else:
                raise AssertionError("always stale")
        living.cancel()
        return world

    world = run_virtually(scenario())
    assert world.firmware.early_erases == 0
    assert world.memory.checksum_failures == 0
    assert len(world.taken) >= 1
