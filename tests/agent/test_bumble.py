"""The session over real ATT traffic: bleak's client, two virtual controllers, a GATT server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from bleak import BleakClient
from bumble.link import LocalLink

from custom_components.ulogger.agent.errors import LinkLost, NotAnAgent
from custom_components.ulogger.agent.gatt import CONFIG, CORE_DUMP_DATA, LOG_ACK, LOG_DATA, SERVICE
from custom_components.ulogger.agent.memory import TransferMemory
from custom_components.ulogger.agent.session import AgentSession
from custom_components.ulogger.model.capture import CaptureFault, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.device.bumble_link import BumbleCentral, BumblePeripheral
from demo.device.firmware import Firmware

FIXTURES = Path(__file__).parents[1] / "fixtures/agent"
LOG = (FIXTURES / "v4-crash/log.bin").read_bytes()
LONG_LOG = (FIXTURES / "v3-long/log.bin").read_bytes()
DUMP = (FIXTURES / "v4-crash/core_dump.bin").read_bytes()
ADDRESS = "C0:00:00:00:00:01"
DEVICE = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
CCCD = "00002902-0000-1000-8000-00805f9b34fb"


class Bench:
    """A device, a host, and what the host keeps."""

    def __init__(self) -> None:
        self.link = LocalLink()
        self.stack = AsyncExitStack()
        self.memory = TransferMemory()
        self.lost = asyncio.Event()

    async def device(
        self, log: bytes = LOG, core_dump: bytes | None = None, **options: int
    ) -> BumblePeripheral:
        firmware = Firmware(
            DEVICE, log, core_dump, schedule=asyncio.get_running_loop(), agent="older", **options
        )
        return await self.stack.enter_async_context(BumblePeripheral(self.link, ADDRESS, firmware))

    async def connect(self, *, mtu: int = 23) -> BleakClient:
        address = f"F0:00:00:00:00:{len(self.link.controllers):02X}"
        central = BumbleCentral(self.link, mtu=mtu, address=address)
        await self.stack.enter_async_context(central)
        client = BleakClient(
            ADDRESS,
            backend=central.backend,
            disconnected_callback=lambda _: self.lost.set(),
            timeout=5.0,
        )
        await client.connect()
        self.stack.push_async_callback(client.disconnect)
        return client

    async def collect(
        self, client: BleakClient, firmware: Firmware
    ) -> list[tuple[CaptureKind, bytes]]:
        collected = []
        async for pending in AgentSession(client, memory=self.memory).captures(DEVICE):
            async with pending as capture:
                firmware.committed(capture.kind, capture.data)
                collected.append((capture.kind, capture.data))
        return collected


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with bench.stack:
        yield bench


async def test_the_agents_table_is_discovered_over_att(bench: Bench) -> None:
    await bench.device()
    client = await bench.connect()
    service = client.services.get_service(SERVICE)
    assert service is not None
    for uuid in (LOG_DATA, CORE_DUMP_DATA):
        characteristic = service.get_characteristic(uuid)
        assert characteristic is not None
        assert characteristic.properties == ["notify"]
        assert [descriptor.uuid for descriptor in characteristic.descriptors] == [CCCD]
    ack = service.get_characteristic(LOG_ACK)
    assert ack is not None
    assert set(ack.properties) == {"write", "write-without-response"}


async def test_an_identification_longer_than_one_read_arrives_whole(bench: Bench) -> None:
    await bench.device()
    client = await bench.connect()
    assert len(await client.read_gatt_char(CONFIG)) > client.mtu_size - 3
    assert await AgentSession(client).identify() == DEVICE


async def test_log_and_core_dump_arrive_whole_and_are_erased_once_committed(bench: Bench) -> None:
    device = await bench.device(LOG, DUMP)
    client = await bench.connect()
    assert await bench.collect(client, device.firmware) == [
        (CaptureKind.LOG, LOG),
        (CaptureKind.CORE_DUMP, DUMP),
    ]
    assert (device.firmware.log, device.firmware.core_dump) == (b"", None)
    assert device.firmware.early_erases == 0


async def test_sixteen_kibibytes_cross_in_default_notifications(bench: Bench) -> None:
    device = await bench.device(LONG_LOG)
    client = await bench.connect()
    assert client.mtu_size == 23
    assert await bench.collect(client, device.firmware) == [(CaptureKind.LOG, LONG_LOG)]


async def test_a_larger_mtu_carries_larger_chunks(bench: Bench) -> None:
    device = await bench.device(LONG_LOG, chunk_payload=240)
    client = await bench.connect(mtu=247)
    assert client.mtu_size == 247
    assert await bench.collect(client, device.firmware) == [(CaptureKind.LOG, LONG_LOG)]
    assert device.firmware.requests < len(LONG_LOG) / 100


async def test_nothing_is_notified_before_the_cccd_is_written_nor_after_it_is_cleared(
    bench: Bench,
) -> None:
    device = await bench.device()
    client = await bench.connect()
    chunks: asyncio.Queue[bytearray] = asyncio.Queue()
    await client.write_gatt_char(LOG_ACK, b"\0\0", response=True)
    await client.start_notify(LOG_DATA, lambda _, value: chunks.put_nowait(value))
    assert chunks.empty()
    await client.write_gatt_char(LOG_ACK, b"\x10\0", response=True)
    assert (await chunks.get())[:2] == b"\x10\0"
    await client.stop_notify(LOG_DATA)
    await client.write_gatt_char(LOG_ACK, b"\x20\0", response=True)
    assert await AgentSession(client).identify() == DEVICE
    assert chunks.empty()
    assert device.firmware.requests == 3


async def test_a_link_lost_mid_transfer_keeps_everything_and_the_next_fetches_the_rest(
    bench: Bench,
) -> None:
    device = await bench.device(LONG_LOG)
    client = await bench.connect()
    session = AgentSession(client, memory=bench.memory)
    captures = session.captures(DEVICE)
    fetching = asyncio.ensure_future(anext(captures))
    while device.firmware.requests < 200:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await device.drop()
    await bench.lost.wait()
    session.link_lost()
    with pytest.raises(LinkLost):
        await fetching
    assert not client.is_connected
    assert device.firmware.log == LONG_LOG
    before = device.firmware.requests

    again = await bench.connect()
    assert await bench.collect(again, device.firmware) == [(CaptureKind.LOG, LONG_LOG)]
    assert device.firmware.requests - before < 1025
    assert device.firmware.early_erases == 0


async def test_a_capture_that_was_not_committed_stays_on_the_device(bench: Bench) -> None:
    device = await bench.device()
    client = await bench.connect()
    pending = await anext(AgentSession(client, memory=bench.memory).captures(DEVICE))
    with pytest.raises(OSError, match="disk full"):
        async with pending:
            raise OSError("disk full")
    await client.disconnect()
    await bench.lost.wait()
    assert device.firmware.log == LOG


async def test_a_dump_longer_than_the_wire_can_say_is_handed_out_and_not_erased(
    bench: Bench,
) -> None:
    dump = (70_000).to_bytes(4, "little") + DUMP[4:264] + bytes(70_000 - 264)
    device = await bench.device(b"", dump, chunk_payload=240)
    client = await bench.connect(mtu=247)
    async for pending in AgentSession(client, memory=bench.memory).captures(DEVICE):
        async with pending as capture:
            assert capture.fault is CaptureFault.TOO_LONG
            assert dump.startswith(capture.data)
            assert len(capture.data) > 60_000
    assert device.firmware.core_dump == dump


async def test_a_second_host_finds_nobody_until_the_first_has_gone(bench: Bench) -> None:
    device = await bench.device()
    first = await bench.connect()
    assert not device.firmware.advertising
    await first.disconnect()
    await bench.lost.wait()
    second = await bench.connect()
    assert await AgentSession(second).identify() == DEVICE


async def test_a_device_without_the_agent_is_told_apart(bench: Bench) -> None:
    other = Firmware(DEVICE, schedule=asyncio.get_running_loop())
    await bench.stack.enter_async_context(
        BumblePeripheral(bench.link, ADDRESS, other, serves_agent=False)
    )
    client = await bench.connect()
    with pytest.raises(NotAnAgent):
        await AgentSession(client).identify()
