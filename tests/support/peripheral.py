"""A device for tests of the proxy: echoes what is written to it and notes what is done to it."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

SERVICE = "691fe31f-1a06-4c7c-88c7-0993ec53f40c"
VALUE = "3ad8119d-8f9d-4297-9302-aa56f2283a72"


class EchoDevice:
    """A peripheral and the link to it in one; a write is notified back."""

    name = "Echo"
    rssi = -40
    service_uuids = (SERVICE,)
    table: ClassVar = {SERVICE: {VALUE: ["read", "write", "write-without-response", "notify"]}}
    mtu_size = 185
    services = None

    def __init__(self, address: str = "C0:00:00:00:00:01") -> None:
        self.address = address
        self.value = b"hello"
        self.intervals: list[int] = []
        self.lost: Callable[[], None] | None = None
        self.disconnected = asyncio.Event()
        self._callbacks: dict[str, Callable[[Any, bytearray], None]] = {}

    @property
    def advertising(self) -> bool:
        return self.lost is None

    @property
    def is_connected(self) -> bool:
        return self.lost is not None

    async def connect(self, lost: Callable[[], None]) -> EchoDevice:
        if self.lost is not None:
            raise ConnectionError("the device takes one connection at a time")
        self.lost = lost
        return self

    async def disconnect(self) -> None:
        self.lost = None
        self.disconnected.set()

    async def read_gatt_char(self, uuid: str) -> bytearray:
        return bytearray(self.value)

    async def write_gatt_char(self, uuid: str, data: bytes, response: bool | None = None) -> None:
        if data == b"refuse":
            raise ValueError("refused")
        self.value = data
        if callback := self._callbacks.get(uuid):
            callback(None, bytearray(data))

    async def start_notify(self, uuid: str, callback: Callable[[Any, bytearray], None]) -> None:
        self._callbacks[uuid] = callback

    async def stop_notify(self, uuid: str) -> None:
        del self._callbacks[uuid]

    async def set_connection_params(
        self, low: int, high: int, latency: int, supervision: int
    ) -> None:
        self.intervals.append(high)
