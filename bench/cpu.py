"""Processor time that our host's own code needs for a chunk, the backend left out."""

import asyncio
import gc
from time import perf_counter
from typing import Any

from custom_components.ulogger.agent import gatt
from custom_components.ulogger.agent.packets import Chunk, encode_chunk
from custom_components.ulogger.agent.session import AgentSession
from demo.device.link import PROPERTIES, SimulatedServices
from demo.device.samples import sample_log

from .hosts import DEVICE, PAYLOAD

SIZE = 61440
ROUNDS = 5


class InstantDevice:
    """A client that answers requests when it is told to, and takes no time of its own."""

    is_connected = True
    mtu_size = 23
    services = SimulatedServices(PROPERTIES)

    def __init__(self, log: bytes) -> None:
        self._chunks = {
            offset: bytearray(encode_chunk(Chunk(offset, len(log), log[offset : offset + PAYLOAD])))
            for offset in range(0, len(log), PAYLOAD)
        }
        self._asked: list[int] = []
        self._first = asyncio.Event()
        self._notify: dict[str, gatt.NotifyCallback] = {}

    async def start_notify(self, char: Any, callback: gatt.NotifyCallback, /) -> None:
        """Subscribe."""
        self._notify[char.uuid] = callback

    async def stop_notify(self, char: Any, /) -> None:
        """Unsubscribe."""

    async def read_gatt_char(self, _: Any, /) -> bytearray:
        """Read nothing."""
        return bytearray()

    async def write_gatt_char(
        self, _: Any, data: bytes, /, *, response: bool | None = None
    ) -> None:
        """Take a request."""
        if not response:
            self._asked.append(int.from_bytes(data, "little"))
            self._first.set()

    async def answer(self) -> tuple[float, int]:
        """Answer all requests until none come; the seconds spent inside the host."""
        spent, count = 0.0, 0
        await self._first.wait()
        notify = self._notify[gatt.LOG_DATA]
        while self._asked:
            asked, self._asked = self._asked, []
            chunks = [self._chunks[offset] for offset in asked]
            began = perf_counter()
            for chunk in chunks:
                notify(None, chunk)
            spent += perf_counter() - began
            count += len(chunks)
        return spent, count


async def _round() -> float:
    device = InstantDevice(sample_log(SIZE))
    answering = asyncio.ensure_future(device.answer())
    async for pending in AgentSession(device).captures(DEVICE):
        async with pending:
            pass
        break
    spent, count = await answering
    return spent / count * 1e6


def microseconds_per_chunk() -> float:
    """Return the best of some rounds: notification in, request written."""
    gc.disable()
    try:
        return min(asyncio.run(_round()) for _ in range(ROUNDS))
    finally:
        gc.enable()
