"""Two hosts that take a log off a simulated device: ours, and one that waits for every chunk."""

import asyncio
from dataclasses import dataclass
from struct import Struct
from typing import Any

from custom_components.ulogger.agent.gatt import LOG_ACK, LOG_DATA
from custom_components.ulogger.agent.session import AgentSession
from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.device.firmware import READ_SECONDS_PER_BYTE, Firmware
from demo.device.link import SimulatedClient
from demo.device.radio import Air
from demo.device.samples import sample_log

DEVICE = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
PAYLOAD = 16
"""Bytes of log in a chunk, as in the example firmware."""
REPEAT = 2.0
"""Seconds after which the host that waits asks again."""
_CHUNK = Struct("<HH")
_ACK = Struct("<H")


@dataclass(frozen=True, slots=True)
class Run:
    """One log taken by one host, on virtual time."""

    seconds: float
    size: int
    identical: bool
    early_erases: int
    overflowed: int


async def windowed(client: SimulatedClient, firmware: Firmware) -> tuple[bytes, float]:
    """Take the log as the integration does; the time is when the capture is whole."""
    loop = asyncio.get_running_loop()
    async for pending in AgentSession(client).captures(DEVICE):
        async with pending as capture:
            at = loop.time()
            firmware.committed(capture.kind, capture.data)
        return capture.data, at
    return b"", loop.time()


async def stop_and_wait(client: SimulatedClient, firmware: Firmware) -> tuple[bytes, float]:
    """Take the log as uLogger's own host does: ack every chunk as it arrives, ask for no other."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()

    def arrived(_: Any, value: bytearray) -> None:
        chunks.put_nowait(bytes(value))

    await client.start_notify(LOG_DATA, arrived)
    data = b""
    await client.write_gatt_char(LOG_ACK, _ACK.pack(0), response=False)
    while True:
        try:
            async with asyncio.timeout(REPEAT):
                chunk = await chunks.get()
        except TimeoutError:
            await client.write_gatt_char(LOG_ACK, _ACK.pack(len(data)), response=False)
            continue
        offset, total = _CHUNK.unpack_from(chunk)
        if offset == len(data):
            data += chunk[_CHUNK.size :]
        if len(data) >= total:
            at = loop.time()
            firmware.committed(CaptureKind.LOG, data)
            await client.write_gatt_char(LOG_ACK, _ACK.pack(len(data)), response=True)
            return data, at
        await client.write_gatt_char(LOG_ACK, _ACK.pack(len(data)), response=False)


HOSTS = {"windowed": windowed, "stop_and_wait": stop_and_wait}


async def take(host: str, air: Air, size: int, *, device_cost: bool = True) -> Run:
    """Let a host take a log of ``size`` bytes over a link, from a device that computes or not."""
    loop = asyncio.get_running_loop()
    log = sample_log(size, air.seed)
    firmware = Firmware(
        DEVICE,
        log,
        schedule=loop,
        log_region=size,
        chunk_payload=PAYLOAD,
        read_seconds_per_byte=READ_SECONDS_PER_BYTE if device_cost else 0.0,
    )
    client = SimulatedClient(firmware, air)
    await client.connect()
    began = loop.time()
    data, ended = await HOSTS[host](client, firmware)
    await client.disconnect()
    return Run(
        seconds=ended - began,
        size=size,
        identical=data == log,
        early_erases=firmware.early_erases,
        overflowed=client.traffic.overflowed,
    )
