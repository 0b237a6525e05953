"""One session: what it takes, when it lets the device erase, and how it ends."""

import asyncio
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from bleak.exc import BleakError

from custom_components.ulogger.agent import gatt
from custom_components.ulogger.agent.errors import (
    AgentError,
    BadLogConfig,
    ChecksumFailed,
    LinkLost,
    NoAnswer,
    NotAnAgent,
    SubscribeFailed,
)
from custom_components.ulogger.agent.link import FAST_INTERVAL, USUAL_INTERVAL
from custom_components.ulogger.agent.session import AgentSession
from custom_components.ulogger.model.capture import CaptureFault, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.log_config import LogConfig
from demo.device.link import PROPERTIES, SimulatedClient, TunableClient
from demo.device.radio import Air
from demo.device.samples import sample_core_dump, sample_log

from ..support.agent_world import DEVICE, DiskFull, device, story

LOG = sample_log(2000)
DUMP = sample_core_dump(DEVICE, 900)
DAMAGED = LOG[:1000] + bytes([LOG[1000] ^ 1]) + LOG[1001:]


def now():
    return asyncio.get_running_loop().time()


async def take_nothing(session):
    """Run a session that must not hand anything out."""
    async for pending in session.captures(DEVICE):
        raise AssertionError(pending)


async def connected(world, air=None, client_type=SimulatedClient):
    client = client_type(world.firmware, air or Air())
    await client.connect()
    return client


# What it takes


@story
async def test_a_log_and_a_dump_are_taken_and_erased():
    world = device(LOG, DUMP)
    await world.visit()
    assert (world.logs(), world.core_dumps()) == ([LOG], [DUMP])
    assert (world.firmware.log, world.firmware.core_dump) == (b"", None)
    assert world.firmware.early_erases == 0
    assert not world.memory.partials


@story
async def test_a_dump_alone_is_taken():
    world = device(b"", DUMP)
    await world.visit()
    assert world.core_dumps() == [DUMP]


@story
async def test_a_device_without_logs_ends_cleanly():
    world = device()
    assert await world.visit() == []
    assert now() < 6


@story
async def test_a_capture_says_when_its_first_chunk_came():
    world = device(LOG)
    [capture] = await world.visit(commit=lambda _: asyncio.sleep(5), now=now)
    assert capture.captured_at < 0.5


@story
async def test_what_is_logged_in_the_meantime_waits_for_the_next_session():
    world = device(LOG)

    async def log_more(_):
        world.firmware.append_log(bytes(20))

    assert len(await world.visit(commit=log_more)) == 1
    assert world.firmware.log


# Commit last


@story
async def test_nothing_is_erased_while_the_capture_is_not_committed():
    world = device(LOG, DUMP)
    erases = []

    async def slowly(_):
        await asyncio.sleep(30)
        erases.append(world.firmware.erases)

    await world.visit(commit=slowly)
    assert erases == [0, 0]
    assert world.firmware.erases == 1


@story
async def test_a_failed_commit_leaves_everything_on_the_device():
    world = device(LOG)

    async def full(_):
        raise DiskFull

    with pytest.raises(DiskFull):
        await world.visit(commit=full)
    assert world.firmware.log == LOG
    assert world.firmware.erases == 0


@story
async def test_a_capture_that_is_never_entered_is_not_erased():
    world = device(LOG)
    client = await connected(world)
    requests = []
    async for _ in AgentSession(client).captures(DEVICE):
        requests.append(world.firmware.requests)  # noqa: PERF401
    assert requests == [world.firmware.requests]
    assert world.firmware.log == LOG


@story
async def test_a_link_that_breaks_during_the_commit_is_an_error_and_keeps_the_log():
    world = device(LOG)

    async def breaking(_):
        await world.clients[-1].disconnect()

    with pytest.raises(LinkLost):
        await world.visit(commit=breaking)
    assert world.firmware.log == LOG


@story
async def test_the_erase_command_is_alone_and_with_response():
    world = device(LOG)
    client = await connected(world)
    writes = []
    write = client.write_gatt_char

    async def watched(char, data, /, *, response=None):
        writes.append((int.from_bytes(data, "little"), response))
        await write(char, data, response=response)

    client.write_gatt_char = watched
    async for pending in AgentSession(client).captures(DEVICE):
        async with pending:
            assert all(offset < len(LOG) for offset, _ in writes)
            assert not any(response for _, response in writes)
    assert [w for w in writes if w[0] >= len(LOG)] == [(len(LOG), True)]


@story
async def test_a_characteristic_that_takes_only_requests_is_enough():
    class OneAtATime(SimulatedClient):
        writing = False
        wrong = 0

        async def write_gatt_char(self, *args, response=None):
            self.wrong += self.writing or not response
            self.writing = True
            await super().write_gatt_char(*args, response=response)
            self.writing = False

    world = device(LOG, DUMP)
    await world.visit(table=PROPERTIES | {gatt.LOG_ACK: ("write",)}, client_type=OneAtATime)
    assert world.clients[0].wrong == 0
    assert len(world.taken) == 2
    assert not world.firmware.log


@story
async def test_a_characteristic_that_takes_only_commands_is_enough():
    world = device(LOG, DUMP)
    await world.visit(table=PROPERTIES | {gatt.LOG_ACK: ("write-without-response",)})
    assert len(world.taken) == 2
    assert not world.firmware.log


@story
async def test_after_a_lossy_transfer_the_erase_command_waits_until_the_link_is_quiet():
    world = device(LOG)
    client = await connected(world, Air(loss=0.1, seed=1))
    written = {}
    write = client.write_gatt_char

    async def watched(char, data, /, *, response=None):
        written[int.from_bytes(data, "little")] = now()
        await write(char, data, response=response)

    client.write_gatt_char = watched
    async for pending in AgentSession(client).captures(DEVICE):
        async with pending:
            last_request = max(written.values())
    assert written[len(LOG)] - last_request > 0.17


# Checksums


@story
async def test_a_torn_header_is_fetched_again():
    world = device(LOG, torn_reads=3)
    await world.visit()
    assert world.logs() == [LOG]


@story
async def test_a_log_that_stays_damaged_is_never_erased():
    world = device(DAMAGED)
    for failures in (1, 2, 3):
        with pytest.raises(ChecksumFailed):
            await world.visit()
        assert world.memory.checksum_failures == failures
        assert not world.memory.partials
    assert world.firmware.log == DAMAGED


@story
async def test_a_damaged_log_is_handed_out_when_the_caller_accepts_it():
    world = device(DAMAGED)
    [capture] = await world.visit(accept_damaged=True)
    assert capture.fault is CaptureFault.CHECKSUM
    assert capture.data == DAMAGED
    assert not world.firmware.log


@story
async def test_a_success_forgets_the_failures():
    world = device(LOG)
    world.memory.checksum_failures = 2
    await world.visit()
    assert world.memory.checksum_failures == 0


# Too long


@story
async def test_a_dump_over_u16_is_handed_out_once_and_never_erased():
    dump = sample_core_dump(DEVICE, 70_000)
    world = device(b"", dump, chunk_payload=200)
    [capture] = await world.visit()
    assert capture.fault is CaptureFault.TOO_LONG
    assert capture.data == dump[:65_536]
    assert world.firmware.core_dump == dump
    assert await world.visit() == []


# Links that fail


@pytest.mark.parametrize("cut", [0, 3, 21, 500, 1999, 2600, 3500])
def test_a_cut_link_is_an_error_and_the_next_session_fetches_the_rest(cut):
    @story
    async def scenario():
        world = device(LOG, DUMP)
        with pytest.raises(LinkLost):
            await world.visit(Air(cut_after=cut))
        await world.visit()
        assert set(world.logs()) == {LOG}
        assert world.core_dumps() == [DUMP]
        assert world.firmware.early_erases == 0

    scenario()


@story
async def test_after_a_cut_only_the_tail_is_fetched():
    world = device(LOG)
    with pytest.raises(LinkLost):
        await world.visit(Air(cut_after=1800))
    await world.visit()
    assert world.logs() == [LOG]
    assert world.clients[1].traffic.down < 60


@story
async def test_another_device_at_the_address_gets_no_prefix_of_the_first():
    world = device(LOG)
    with pytest.raises(LinkLost):
        await world.visit(Air(cut_after=1800))
    assert world.memory.partials
    world.memory.belongs_to(DeviceIdentity(42, "other").key)
    assert not world.memory.partials


@story
async def test_a_device_that_stops_answering_is_an_error():
    world = device(LOG)
    client = await connected(world)
    asyncio.get_running_loop().call_later(0.3, setattr, world.firmware, "_notify", None)
    with pytest.raises(NoAnswer):
        await take_nothing(AgentSession(client))
    assert now() < 15


@story
async def test_the_caller_can_tell_of_a_broken_link():
    world = device(LOG)
    client = await connected(world)
    session = AgentSession(client)
    asyncio.get_running_loop().call_later(0.2, session.link_lost)
    with pytest.raises(LinkLost):
        await take_nothing(session)
    assert now() < 0.4


@pytest.mark.parametrize(
    "operation", ["read_gatt_char", "start_notify", "write_gatt_char", "stop_notify"]
)
@pytest.mark.parametrize("how", ["hangs", "fails", "times out"])
def test_no_operation_can_hang_a_session_or_let_a_foreign_error_out(operation, how):
    async def broken(*_, **__):
        if how == "hangs":
            await asyncio.Event().wait()
        raise BleakError("no") if how == "fails" else TimeoutError

    @story
    async def scenario():
        world = device(LOG)
        client = await connected(world)
        setattr(client, operation, broken)
        session = AgentSession(client, memory=world.memory)
        try:
            identity = await session.identify()
            async for pending in session.captures(identity):
                async with pending as capture:
                    world.firmware.committed(capture.kind, capture.data)
        except AgentError:
            pass
        else:
            assert operation == "stop_notify"
        assert now() < 40
        assert world.firmware.early_erases == 0

    scenario()


@story
async def test_a_refused_subscription_may_be_a_stale_table():
    world = device(LOG)
    client = await connected(world)

    async def refuse(*_):
        raise BleakError("refused")

    client.start_notify = refuse
    with pytest.raises(SubscribeFailed) as failed:
        await take_nothing(AgentSession(client))
    assert failed.value.stale_cache


@pytest.mark.parametrize("missing", [gatt.LOG_ACK, gatt.LOG_DATA, gatt.CORE_DUMP_DATA])
def test_a_missing_characteristic_means_it_is_not_an_agent(missing):
    @story
    async def scenario():
        world = device(LOG)
        table = {uuid: row for uuid, row in PROPERTIES.items() if uuid != missing}
        with pytest.raises(NotAnAgent) as failed:
            await world.visit(table=table)
        assert failed.value.stale_cache

    scenario()


# The link's parameters, progress, and the small characteristics


class WatchedClient(TunableClient):
    async def set_connection_params(self, *params):
        self.__dict__.setdefault("asked", []).append(params[:2])
        await super().set_connection_params(*params)


@story
async def test_a_short_interval_is_asked_for_and_given_back():
    world = device(LOG)
    await world.visit(client_type=WatchedClient)
    assert world.clients[0].asked == [FAST_INTERVAL, USUAL_INTERVAL]


@story
async def test_a_stack_that_refuses_the_interval_is_no_failure():
    class Refusing(SimulatedClient):
        async def set_connection_params(self, *_):
            raise BleakError("not here")

    world = device(LOG)
    await world.visit(client_type=Refusing)
    assert world.logs() == [LOG]


@story
async def test_progress_comes_every_second_or_every_tenth_and_no_more_often():
    heard = []
    world = device(sample_log(16_000), log_region=16_384)
    await world.visit(on_progress=lambda progress: heard.append((now(), progress)))
    assert len(heard) >= 10
    moments = [(at, progress.done) for at, progress in heard]
    assert all(
        after - before >= 1 or here - there >= 1600 or here == 16_000
        for (before, there), (after, here) in pairwise(moments)
    )
    assert heard[-1][1].total == heard[-1][1].done == 16_000
    assert [p.done for _, p in heard] == sorted(p.done for _, p in heard)
    assert heard[0][1].kind is CaptureKind.LOG


@story
async def test_progress_moves_on_a_short_log_too_and_ends_with_all_of_it():
    heard = []
    world = device(LOG)
    await world.visit(on_progress=heard.append)
    done = [progress.done for progress in heard]
    assert len(done) >= 5
    assert done == sorted(set(done))
    assert done[-1] == len(LOG)


@story
async def test_identifying_reads_and_writes_nothing_else():
    world = device(LOG)
    client = await connected(world)
    assert await AgentSession(client).identify() == DEVICE
    assert (client.traffic.up, client.traffic.down) == (1, 1)


@story
async def test_the_signal_strength_is_optional():
    session = AgentSession(await connected(device()))
    await asyncio.sleep(2)
    assert await session.read_rssi() == -60
    assert await AgentSession(await connected(device(rssi=None))).read_rssi() is None


@story
async def test_a_signal_strength_that_was_not_measured_yet_is_unknown():
    world = device()
    client = await connected(world)
    session = AgentSession(client)
    assert await session.read_rssi() is None
    await asyncio.sleep(2)
    assert await session.read_rssi() == -60


@story
async def test_a_log_configuration_reaches_the_device():
    world = device()
    session = AgentSession(await connected(world))
    config = LogConfig(0, 3, 60)
    await session.write_log_config(config)
    assert world.firmware.log_config == config
    for seconds in (0, 49 * 86_400 + 1):
        with pytest.raises(BadLogConfig):
            await session.write_log_config(LogConfig(0, 3, seconds))
    assert world.firmware.log_config == config


# No task hop


def test_requests_are_written_within_the_notification_callback():
    """A backend that does not wait sees the next request before the callback returns."""

    async def scenario():
        written = []
        notify = {}
        first = asyncio.Event()

        async def start_notify(char, callback, /):
            notify[char.uuid] = callback

        async def write(_, data, /, *, response=None):
            written.append(int.from_bytes(data, "little"))
            first.set()

        async def nothing(*_):
            return None

        char = {u: SimpleNamespace(uuid=u, properties=p) for u, p in PROPERTIES.items()}
        client = SimpleNamespace(
            is_connected=True,
            services=SimpleNamespace(get_characteristic=char.get),
            start_notify=start_notify,
            stop_notify=nothing,
            write_gatt_char=write,
        )
        session = AgentSession(client)
        taking = asyncio.ensure_future(anext(session.captures(DEVICE)))
        await first.wait()
        notify[gatt.LOG_DATA](None, bytearray(b"\0\0" + b"\x64\0" + LOG[:16]))
        assert written == [0, 16, 32]
        taking.cancel()

    asyncio.run(scenario())


def test_the_transfer_needs_less_than_fifty_microseconds_a_chunk():
    from bench.cpu import microseconds_per_chunk

    began = time.perf_counter()
    assert microseconds_per_chunk() < 50
    assert time.perf_counter() - began < 20
