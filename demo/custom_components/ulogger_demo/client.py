"""One GATT link through the proxy, as a bleak backend.

The proxy speaks one JSON object a line. A link is a connection of its own, so that a link lost
and a process killed look the same to the device: the socket closes.

====================================================  =========================================
Home Assistant says                                   the proxy answers
====================================================  =========================================
``{"op": "connect", "address"}``                      ``{"mtu", "services"}`` or ``{"error"}``
``{"op": "read", "id", "uuid"}``                      ``{"id", "value"}`` or ``{"id", "error"}``
``{"op": "write", "id", "uuid", "value"}``            ``{"id"}`` or ``{"id", "error"}``
``{"op": "command", "uuid", "value"}``                nothing: a write without response
``{"op": "subscribe"/"unsubscribe", "id", "uuid"}``   ``{"id"}`` or ``{"id", "error"}``
``{"op": "interval", "id", "ms"}``                    ``{"id"}``
..                                                    ``{"notify": uuid, "value"}`` at any time
====================================================  =========================================

Values are hexadecimal; ``services`` maps a service's UUID to ``{uuid: [properties]}``.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, override

from bleak.args import SizedBuffer
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakCharacteristicNotFoundError, BleakError

if TYPE_CHECKING:
    from .scanner import RemoteScanner

CCCD = "00002902-0000-1000-8000-00805f9b34fb"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 10.0
INTERVAL_UNIT_MS = 1.25


class RemoteClient(BaseBleakClient):
    """A link that the scanner's proxy holds for us; ``scanner`` is bound by a subclass."""

    scanner: ClassVar[RemoteScanner]

    def __init__(self, address_or_ble_device: BLEDevice | str, **kwargs: Any) -> None:
        """Take what Home Assistant's wrapper hands every backend."""
        super().__init__(address_or_ble_device, **kwargs)
        self._writer: asyncio.StreamWriter | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._mtu = 23
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._callbacks: dict[str, NotifyCallback] = {}

    @property
    @override
    def name(self) -> str:
        """The address, as backends without a better name do."""
        return self.address

    @property
    @override
    def mtu_size(self) -> int:
        """The ATT MTU, 23 unless the device asked for more."""
        return self._mtu

    @property
    @override
    def is_connected(self) -> bool:
        """Whether the link stands."""
        return self._writer is not None

    @override
    async def connect(self, pair: bool, **kwargs: Any) -> None:
        """Open the link and learn the device's GATT table."""
        self.scanner.allocate(self.address)
        try:
            async with asyncio.timeout(kwargs.get("timeout") or CONNECT_SECONDS):
                await self._open()
        except OSError as error:  # TimeoutError is one
            self.scanner.release(self.address)
            raise BleakError(f"No link to {self.address}: {error!r}") from error
        except BaseException:
            self.scanner.release(self.address)
            raise

    async def _open(self) -> None:
        reader, writer = await asyncio.open_connection(self.scanner.host, self.scanner.port)
        try:
            writer.write(_line({"op": "connect", "address": self.address}))
            answer: dict[str, Any] = json.loads(await reader.readline() or '{"error": "gone"}')
        except BaseException:
            writer.close()
            raise
        if "error" in answer:
            writer.close()
            raise BleakError(f"No link to {self.address}: {answer['error']}")
        self._mtu = answer["mtu"]
        self.services = gatt_table(answer["services"], self._mtu)
        self._writer = writer
        self._receiving = asyncio.create_task(self._receive(reader))

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            async for line in reader:
                self._take(json.loads(line))
        self._closed()

    def _take(self, message: dict[str, Any]) -> None:
        if "notify" in message:
            if callback := self._callbacks.get(message["notify"]):
                callback(bytearray.fromhex(message["value"]))
        elif (answer := self._waiting.pop(message["id"], None)) and not answer.done():
            answer.set_result(message)

    def _closed(self) -> None:
        """Tell everyone once that the link is gone."""
        if (writer := self._writer) is None:
            return
        self._writer = None
        writer.close()
        self._callbacks.clear()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BleakError("disconnected"))
        self._waiting.clear()
        self.scanner.release(self.address)
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    @override
    async def disconnect(self) -> None:
        """Close the link; the device notices as it would over the air."""
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None
        self._closed()

    @override
    async def pair(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: these devices do not pair."""
        raise BleakError("The demo's devices do not pair")

    @override
    async def unpair(self) -> None:
        """Refuse: these devices do not pair."""
        raise BleakError("The demo's devices do not pair")

    async def set_connection_params(
        self,
        min_interval: int,
        max_interval: int,
        latency: int,
        timeout: int,  # noqa: ASYNC109
    ) -> None:
        """Ask the device for another connection interval (units of 1.25 ms)."""
        await self._ask("interval", ms=max_interval * INTERVAL_UNIT_MS)

    @override
    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, **kwargs: Any
    ) -> bytearray:
        """Read a characteristic's value."""
        answer = await self._ask("read", uuid=characteristic.uuid)
        return bytearray.fromhex(answer["value"])

    @override
    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        """Write a value; without response, it is on its way when this returns."""
        value = bytes(data).hex()
        if response:
            await self._ask("write", uuid=characteristic.uuid, value=value)
        else:
            self._say({"op": "command", "uuid": characteristic.uuid, "value": value})

    @override
    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        """Subscribe to a characteristic's notifications."""
        self._callbacks[characteristic.uuid] = callback
        await self._ask("subscribe", uuid=characteristic.uuid)

    @override
    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """Take the subscription back."""
        await self._ask("unsubscribe", uuid=characteristic.uuid)
        self._callbacks.pop(characteristic.uuid, None)

    @override
    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, **kwargs: Any
    ) -> bytearray:
        """Refuse: the proxy keeps descriptors to itself."""
        raise BleakError(f"Descriptor {descriptor.uuid} can't be read through the proxy")

    @override
    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        """Refuse: the proxy keeps descriptors to itself."""
        raise BleakError(f"Descriptor {descriptor.uuid} can't be written through the proxy")

    def _say(self, message: dict[str, Any]) -> None:
        if self._writer is None:
            raise BleakError("Not connected")
        self._writer.write(_line(message))

    async def _ask(self, op: str, **fields: Any) -> dict[str, Any]:
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._say({"op": op, "id": number, **fields})
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                message = await answer
        finally:
            self._waiting.pop(number, None)
        if message.get("error") == "no such characteristic":
            raise BleakCharacteristicNotFoundError(fields["uuid"])
        if "error" in message:
            raise BleakError(message["error"])
        return message


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def gatt_table(
    services: Mapping[str, Mapping[str, list[Any]]], mtu: int
) -> BleakGATTServiceCollection:
    """Build bleak's table with handles as a small GATT server would number them."""
    handles = itertools.count(1)
    table = BleakGATTServiceCollection()
    for service_uuid, characteristics in services.items():
        service = BleakGATTService(None, next(handles), service_uuid)
        table.add_service(service)
        for uuid, properties in characteristics.items():
            characteristic = BleakGATTCharacteristic(
                None, next(handles), uuid, properties, lambda: mtu - 3, service
            )
            table.add_characteristic(characteristic)
            if "notify" in properties:
                table.add_descriptor(BleakGATTDescriptor(None, next(handles), CCCD, characteristic))
    return table
