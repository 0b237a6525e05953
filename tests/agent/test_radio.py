"""The simulated radio: what a link does to packets, and when."""

import asyncio

import pytest
from bleak.exc import BleakError

from custom_components.ulogger.agent.gatt import CONFIG, LOG_ACK, LOG_DATA
from custom_components.ulogger.agent.packets import encode_ack, parse_chunk
from demo.device.link import SimulatedClient, TunableClient
from demo.device.radio import Air
from demo.device.samples import sample_log
from demo.device.virtual_time import Deadlock, run_virtually

from ..support.agent_world import device, story

LOG = sample_log(8000)


def now():
    return asyncio.get_running_loop().time()


async def listening(air, client_type=SimulatedClient, log=LOG):
    """Connect and subscribe; the offsets heard, each with its time."""
    client = client_type(device(log).firmware, air)
    await client.connect()
    heard = []
    await client.start_notify(
        LOG_DATA, lambda _, value: heard.append((round(now(), 6), parse_chunk(value).offset))
    )
    return client, heard


async def ask(client, *offsets):
    for offset in offsets:
        await client.write_gatt_char(LOG_ACK, encode_ack(offset), response=False)


async def use(client):
    """Read and write until the link breaks."""
    while True:
        await client.read_gatt_char(CONFIG)
        await client.write_gatt_char(LOG_ACK, encode_ack(0), response=True)


@story
async def test_a_request_is_answered_in_the_event_after_its_own():
    client, heard = await listening(Air(interval=0.03))
    began = now()
    await ask(client, 0)
    await asyncio.sleep(0.5)
    assert heard == [(pytest.approx(began + 0.06), 0)]


@story
async def test_an_event_carries_so_many_packets_each_way():
    client, heard = await listening(Air(interval=0.03, packets_up=6, packets_down=4))
    await ask(client, 0, *range(16, 16 * 12, 16))
    await asyncio.sleep(0.5)
    times = [at for at, _ in heard]
    assert [times.count(at) for at in sorted(set(times))] == [4, 4, 4]


@story
async def test_what_the_notify_queue_can_not_hold_is_gone_without_a_sign():
    client, heard = await listening(Air(queue=27 * 4, packets_up=20))
    await ask(client, 0, *range(16, 160, 16))
    await asyncio.sleep(1)
    assert [offset for _, offset in heard] == [0, 16, 32, 48]
    assert client.traffic.overflowed == 6


@story
async def test_loss_follows_the_seed():
    runs = []
    for seed in (1, 1, 2):
        client, heard = await listening(Air(loss=0.3, seed=seed, packets_up=20))
        await client.write_gatt_char(LOG_ACK, encode_ack(0), response=True)
        await ask(client, *range(16, 640, 16))
        await asyncio.sleep(2 - now() % 1)
        runs.append([offset for _, offset in heard])
        await client.disconnect()
    assert runs[0] == runs[1] != runs[2]
    assert 5 < len(runs[0]) < 35


@story
async def test_duplicates_and_swaps_stay_close_to_their_place():
    client, heard = await listening(Air(duplication=0.3, reordering=0.3, packets_up=20))
    await ask(client, 0, *range(16, 640, 16))
    await asyncio.sleep(2)
    offsets = [offset for _, offset in heard]
    assert offsets != sorted(offsets)
    assert len(offsets) > len(set(offsets)) == 40


@story
async def test_a_proxy_adds_its_latency_each_way_and_keeps_the_order():
    client, heard = await listening(Air(interval=0.03, proxy_latency=0.02))
    await ask(client, *range(0, 320, 16))
    await asyncio.sleep(2)
    assert [offset for _, offset in heard] == list(range(0, 320, 16))
    assert heard[0][0] % 0.03 == pytest.approx(0.02)


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_link_breaks_at_any_byte(cut):
    @story
    async def scenario():
        lost = []
        world = device(LOG)
        client = SimulatedClient(
            world.firmware, Air(cut_after=cut), disconnected=lambda: lost.append(now())
        )
        await client.connect()
        with pytest.raises(BleakError):
            await use(client)
        assert len(lost) == 1
        assert not client.is_connected
        assert world.firmware.advertising

    scenario()


@story
async def test_a_second_host_is_refused():
    world = device(LOG)
    await SimulatedClient(world.firmware).connect()
    with pytest.raises(BleakError):
        await SimulatedClient(world.firmware).connect()


@story
async def test_the_interval_can_be_shortened():
    client, heard = await listening(Air(interval=0.05), TunableClient)
    await client.set_connection_params(6, 12, 0, 500)
    began = now()
    await ask(client, 0)
    await asyncio.sleep(0.5)
    assert heard[0][0] - began <= 0.015 + 1e-6


def test_waiting_for_nothing_is_reported():
    with pytest.raises(Deadlock):
        run_virtually(asyncio.Event().wait())


@story
async def test_minutes_pass_at_once():
    await asyncio.sleep(3600)
    assert now() >= 3600
