"""Links too short for what the device has: every session goes on where the one before ended."""

import asyncio

import pytest

from custom_components.ulogger.agent.errors import AgentError
from custom_components.ulogger.agent.memory import END_PROOF, PROOF, Partial
from custom_components.ulogger.agent.transfer import Transfer
from custom_components.ulogger.capture.log_buffer import check_log
from custom_components.ulogger.model.capture import CaptureKind
from demo.device.log_memory import LogMemory, Moment
from demo.device.radio import Air
from demo.device.samples import sample_core_dump, sample_frames, sample_log

from ..support.agent_world import DEVICE, World, device, story
from .test_transfer import Exchange, with_tick

SLOW = {"interval": 0.05, "packets_up": 2, "packets_down": 2}
LINE = sample_frames(30, seed=3)
DUMP = sample_core_dump(DEVICE, 3000)


def now():
    return asyncio.get_running_loop().time()


def clocked(log_size=0, core_dump=None, **options) -> World:
    """A device whose headers carry the time."""
    world = device(
        b"", core_dump, clock=lambda: Moment(round(now() * 1000), 0), log_region=20_000, **options
    )
    if log_size:
        world.firmware.append_log(sample_frames(log_size - 25))
    return world


async def until_empty(world, air, *, limit=40, **options):
    """Visit again and again; how many notifications each link carried."""
    for _ in range(limit):
        try:
            await world.meet(air, **options)
        except AgentError as err:
            world.errors.append(err)
        if not world.firmware.log and not world.firmware.core_dump:
            return [client.traffic.down for client in world.clients]
        await asyncio.sleep(1)
    raise AssertionError(f"not empty after {limit} visits: {world.errors[-3:]}")


# What is asked for


def test_the_proof_is_asked_for_first_then_what_follows_the_prefix():
    log = sample_log(4000)
    exchange = Exchange(log, partials={CaptureKind.LOG: Partial(4000, log[:3008], 0.0)})
    asked = [*exchange.asked]
    while exchange.transfer.outcome is None:
        exchange.answer(len(exchange.asked))
        asked += exchange.asked
    assert asked == [*range(0, PROOF, 16), *range(3008 - END_PROOF, 4000, 16)]
    assert exchange.transfer.data == log


def test_a_proof_that_fails_costs_nothing_that_is_asked_for_twice():
    old, new = sample_log(4000), sample_log(4000, seed=2)
    exchange = Exchange(new, partials={CaptureKind.LOG: Partial(4000, old[:3008], 0.0)})
    asked = [*exchange.asked]
    while exchange.transfer.outcome is None:
        exchange.answer(len(exchange.asked))
        asked += exchange.asked
    assert sorted(asked) == list(range(0, 4000, 16))
    assert exchange.transfer.data == new


def test_a_prefix_whose_end_is_another_is_forgotten():
    log = sample_log(4000)
    prefix = log[:2999] + bytes([log[2999] ^ 1])
    exchange = Exchange(log, partials={CaptureKind.LOG: Partial(4000, prefix, 0.0)})
    assert exchange.finish().resumed == 0
    assert exchange.transfer.data == log


def grown(size, tick):
    """A log of the same boot with more behind it, and its header of that moment."""
    frames = sample_log(4000)[25:] + sample_frames(size - 4000, seed=5)
    memory = LogMemory(
        b"", region=20_000, newer=True, rereads_header=True, clock=lambda: Moment(tick, 0)
    )
    memory.append(frames)
    return memory.buffer()


@pytest.mark.parametrize("trailer", [b"", bytes(40)])
def test_a_log_that_grew_begins_with_what_it_was(trailer):
    old = with_tick(sample_log(4000), 1000) + trailer
    new = grown(4500, 11_000)
    transfer = Exchange(new, partials={CaptureKind.LOG: Partial(len(old), old, 0.0)})
    transfer.now = 10.0
    assert transfer.finish().resumed == 4000 - PROOF - END_PROOF
    assert transfer.transfer.data == new


@pytest.mark.parametrize("tick", [1000, 500, 60_000], ids=["stopped", "back", "jumped"])
def test_a_log_that_grew_in_another_boot_starts_over(tick):
    old = with_tick(sample_log(4000), 1000)
    exchange = Exchange(grown(4500, tick), partials={CaptureKind.LOG: Partial(4000, old, 0.0)})
    exchange.now = 10.0
    assert exchange.finish().resumed == 0


def test_a_prefix_is_dated_at_its_first_chunk():
    exchange = Exchange(sample_log(4000))
    exchange.answer()
    at = exchange.now
    for _ in range(4):
        exchange.answer(len(exchange.asked), after=5)
    partial = exchange.transfer.partial()
    assert partial is not None
    assert partial.at == at


def test_an_older_prefix_is_not_given_up_for_a_shorter_one_before_its_proof():
    log = sample_log(4000)
    exchange = Exchange(
        log, payload=100, partials={CaptureKind.LOG: Partial(4000, log[:3000], 0.0)}
    )
    exchange.answer()
    assert exchange.transfer.partial() is None


def test_any_way_of_keeping_and_going_on_gives_the_same_log():
    log = sample_log(1200)
    for size in range(PROOF + 1, 1201, 7):
        for payload in (5, 16, 20, 100):
            kept = {CaptureKind.LOG: Partial(1200, log[:size], 0.0)}
            exchange = Exchange(log, payload=payload, partials=kept)
            assert exchange.finish().data == log, (size, payload)


def test_a_transfer_without_anything_kept_asks_in_order():
    transfer = Transfer()
    assert list(transfer.start(0.0)) == [0]


# Sessions


@pytest.mark.parametrize("seconds", [10.0, 20.0])
def test_sixteen_kib_come_over_links_of_some_seconds(seconds):
    @story
    async def scenario():
        world = clocked(16_384)
        down = await until_empty(world, Air(**SLOW, cut_after_seconds=seconds))
        assert len(world.logs()) == 1
        assert len(down) <= (4 if seconds == 10 else 2)
        assert sum(down) < 1024 * 1.1 + 20 * len(down)
        check_log(world.logs()[0])

    scenario()


@pytest.mark.parametrize("agent", ["older", "newer"])
def test_a_log_is_taken_once_while_the_dump_behind_it_comes_in_pieces(agent):
    @story
    async def scenario():
        dump = sample_core_dump(DEVICE, 60_000)
        world = clocked(16_384, dump, agent=agent)
        down = await until_empty(world, Air(cut_after_notifications=1100))
        assert (len(world.logs()), world.core_dumps()) == (1, [dump])
        assert len(down) <= 6
        assert sum(down) < (1024 + 3750) * 1.05
        assert world.firmware.early_erases == 0
        assert not world.memory.partials

    scenario()


@story
async def test_a_log_that_grew_behind_a_dump_is_taken_with_what_came_since():
    world = clocked(2000, DUMP, agent="older")
    first = world.firmware.log
    with pytest.raises(AgentError):
        await world.visit(Air(cut_after_notifications=200))
    assert len(world.logs()) == 1
    world.firmware.append_log(LINE)
    await world.visit()
    assert world.logs()[1][25:] == first[25:] + LINE
    assert world.core_dumps() == [DUMP]
    assert world.firmware.early_erases == 0
    assert world.firmware.bytes_lost_by_agent == 0


@story
async def test_a_device_that_starts_again_offers_its_log_anew_and_it_is_taken_anew():
    world = clocked(2000, DUMP)
    with pytest.raises(AgentError):
        await world.visit(Air(cut_after_notifications=200))
    world.firmware._memory._clock = lambda: Moment(round(now() * 1000) % 1000, 0)
    await asyncio.sleep(60)
    await world.visit()
    assert len(world.logs()) == 2


@story
async def test_after_the_last_word_to_a_dump_nothing_is_known_of_the_log():
    world = clocked(2000, DUMP)
    original = world.firmware.write_ack

    def last_word(data):
        original(data)
        if int.from_bytes(data, "little") >= len(DUMP):
            world.clients[-1].radio.drop()

    world.firmware.write_ack = last_word
    with pytest.raises(AgentError):
        await world.visit()
    assert world.firmware.erases == 1
    assert CaptureKind.LOG not in world.memory.partials
    world.firmware.write_ack = original
    world.firmware.append_log(sample_frames(2000 - 25))
    await world.visit()
    assert len(world.logs()) == 2
    assert world.firmware.early_erases == 0


@story
async def test_a_log_without_a_dump_behind_it_is_not_remembered():
    world = clocked(2000)
    await world.visit()
    assert not world.memory.partials


@story
async def test_when_the_link_breaks_before_the_dump_begins_the_log_is_handed_out_again():
    world = clocked(2000, DUMP)
    original = world.firmware.write_ack

    def end_of_log(data):
        original(data)
        if int.from_bytes(data, "little") == 2000:
            asyncio.get_running_loop().call_later(0.05, world.clients[-1].radio.drop)

    world.firmware.write_ack = end_of_log
    with pytest.raises(AgentError):
        await world.visit()
    world.firmware.write_ack = original
    before = world.clients[-1].traffic.down
    await world.visit()
    assert len(world.logs()) == 2
    assert world.clients[-1].traffic.down < before + 3000 // 16 - 100


@story
async def test_a_log_whose_header_has_no_tick_is_handed_out_each_time():
    log = b"\x01" + bytes(8) + (600).to_bytes(2, "little") + bytes(2) + bytes(600)
    world = device(log, DUMP)
    with pytest.raises(AgentError):
        await world.visit(Air(cut_after_notifications=120))
    await world.visit()
    assert len(world.logs()) == 2


@story
async def test_the_log_behind_a_dump_that_is_too_long_is_taken_once():
    dump = sample_core_dump(DEVICE, 70_000)
    world = clocked(2000, dump, chunk_payload=200)
    for _ in range(3):
        await world.visit()
    assert len(world.logs()) == 1
    assert len(world.core_dumps()) == 1
    world.firmware.append_log(LINE)
    await world.visit()
    assert len(world.logs()) == 2
