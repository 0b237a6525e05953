"""A GATT link through the demo's proxy is the device's own."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from bleak.exc import BleakError

from demo.custom_components.ulogger_demo.client import RemoteClient
from demo.device.server import RadioServer

from ..support.peripheral import SERVICE, VALUE, EchoDevice

pytestmark = pytest.mark.usefixtures("socket_enabled")


class Slots:
    """What the client needs of the scanner."""

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.port = port
        self.allocated: list[str] = []

    def allocate(self, address: str) -> None:
        self.allocated.append(address)

    def release(self, address: str) -> None:
        self.allocated.remove(address)


@pytest.fixture
def device() -> EchoDevice:
    return EchoDevice()


@pytest.fixture
async def slots(device: EchoDevice) -> AsyncIterator[Slots]:
    async with RadioServer([device]) as server:
        yield Slots(server.port)


@pytest.fixture
def lost() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def client(device: EchoDevice, slots: Slots, lost: asyncio.Event) -> RemoteClient:
    return client_of(slots, device.address, lost)


def client_of(slots: Slots, address: str, lost: asyncio.Event) -> RemoteClient:
    bound = type("Bound", (RemoteClient,), {"scanner": slots})
    return bound(address, timeout=5.0, disconnected_callback=lost.set)


async def test_the_table_of_the_device_is_seen(client: RemoteClient, slots: Slots) -> None:
    await client.connect(pair=False)
    characteristic = client.services.get_characteristic(VALUE)
    assert characteristic.service_uuid == SERVICE
    assert "notify" in characteristic.properties
    assert client.mtu_size == 185
    assert characteristic.max_write_without_response_size == 182
    assert slots.allocated == [client.address]
    await client.disconnect()
    assert slots.allocated == []


async def test_values_are_read_written_and_notified(
    client: RemoteClient, device: EchoDevice
) -> None:
    await client.connect(pair=False)
    characteristic = client.services.get_characteristic(VALUE)
    heard: asyncio.Queue[bytearray] = asyncio.Queue()
    assert await client.read_gatt_char(characteristic) == b"hello"
    await client.start_notify(characteristic, heard.put_nowait)
    await client.write_gatt_char(characteristic, b"one", response=True)
    await client.write_gatt_char(characteristic, b"two", response=False)
    assert [await heard.get(), await heard.get()] == [b"one", b"two"]
    await client.stop_notify(characteristic)
    await client.write_gatt_char(characteristic, b"three", response=True)
    assert heard.empty()
    await client.disconnect()
    await device.disconnected.wait()


async def test_a_device_that_drops_the_link_is_noticed_once(
    client: RemoteClient, device: EchoDevice, lost: asyncio.Event, slots: Slots
) -> None:
    await client.connect(pair=False)
    assert device.lost is not None
    device.lost()
    await lost.wait()
    assert not client.is_connected
    assert slots.allocated == []
    with pytest.raises(BleakError):
        await client.read_gatt_char(client.services.get_characteristic(VALUE))


async def test_a_refusal_is_an_error_and_the_link_stays(client: RemoteClient) -> None:
    await client.connect(pair=False)
    characteristic = client.services.get_characteristic(VALUE)
    with pytest.raises(BleakError, match="refused"):
        await client.write_gatt_char(characteristic, b"refuse", response=True)
    assert await client.read_gatt_char(characteristic) == b"hello"
    await client.disconnect()


async def test_a_second_link_is_refused_and_its_slot_given_back(
    client: RemoteClient, slots: Slots, device: EchoDevice, lost: asyncio.Event
) -> None:
    await client.connect(pair=False)
    with pytest.raises(BleakError, match="one connection"):
        await client_of(slots, device.address, lost).connect(pair=False)
    assert slots.allocated == [device.address]
    await client.disconnect()


async def test_a_device_out_of_reach_is_an_error(slots: Slots, lost: asyncio.Event) -> None:
    with pytest.raises(BleakError, match="out of reach"):
        await client_of(slots, "C0:00:00:00:00:99", lost).connect(pair=False)
    assert slots.allocated == []


async def test_an_interval_is_passed_on_in_its_own_units(
    client: RemoteClient, device: EchoDevice
) -> None:
    await client.connect(pair=False)
    await client.set_connection_params(6, 12, 0, 400)
    assert device.intervals == [12]
    await client.disconnect()


async def test_a_device_is_heard_until_somebody_connects(device: EchoDevice) -> None:
    other = EchoDevice("C0:00:00:00:00:02")
    async with RadioServer([device, other]) as server:
        assert [await heard(server), await heard(server)] == [device.address] * 2
        client = client_of(Slots(server.port), device.address, asyncio.Event())
        await client.connect(pair=False)
        assert await heard(server) == other.address
        await client.disconnect()
        await device.disconnected.wait()
        assert await heard(server) == device.address


async def heard(server: RadioServer) -> str:
    """The first device that a new scanner hears."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b'{"op": "scan"}\n')
    address: str = json.loads(await reader.readline())["address"]
    writer.close()
    return address
