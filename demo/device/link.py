"""A Bluetooth client for simulated firmware: what bleak's client offers, over the radio."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bleak.exc import BleakCharacteristicNotFoundError, BleakError

from custom_components.ulogger.agent import gatt

from .firmware import Firmware
from .radio import Air, LinkDown, Radio, Traffic

INTERVAL_UNIT = 0.00125
"""Seconds in which connection intervals are counted."""
PROPERTIES = {
    gatt.LOG_DATA: ("notify",),
    gatt.CORE_DUMP_DATA: ("notify",),
    gatt.LOG_ACK: ("write", "write-without-response"),
    gatt.CONFIG: ("read", "notify"),
    gatt.LOG_CONFIG: ("write",),
    gatt.RSSI: ("read",),
}
"""The example firmware's GATT table."""


@dataclass(frozen=True, slots=True)
class SimulatedCharacteristic:
    """A row of the table."""

    uuid: str
    properties: tuple[str, ...]


class SimulatedServices:
    """The table, as a client has it after discovery."""

    def __init__(self, table: dict[str, tuple[str, ...]]) -> None:
        self.characteristics = {
            uuid: SimulatedCharacteristic(uuid, properties) for uuid, properties in table.items()
        }

    def get_characteristic(self, uuid: str) -> SimulatedCharacteristic | None:
        """Look a characteristic up."""
        return self.characteristics.get(uuid)


class SimulatedClient:
    """One host's link to one simulated device, with bleak's methods."""

    mtu_size = 23

    def __init__(
        self,
        firmware: Firmware,
        air: Air | None = None,
        *,
        table: dict[str, tuple[str, ...]] | None = None,
        disconnected: Callable[[], None] | None = None,
    ) -> None:
        rssi_missing = {} if firmware.rssi is not None else {gatt.RSSI}
        rows = PROPERTIES if table is None else table
        self.services = SimulatedServices({k: v for k, v in rows.items() if k not in rssi_missing})
        self.radio = Radio(firmware, air or Air(), lost=self._lost)
        self._firmware = firmware
        self._disconnected = disconnected
        self._operations: set[asyncio.Future[Any]] = set()

    @property
    def is_connected(self) -> bool:
        """Whether the link is up."""
        return self.radio.up

    @property
    def traffic(self) -> Traffic:
        """What has crossed the link."""
        return self.radio.traffic

    async def connect(self) -> None:
        """Connect; BleakError when the device has another host."""
        try:
            self.radio.connect()
        except ConnectionError as err:
            raise BleakError(str(err)) from err

    async def disconnect(self) -> None:
        """Disconnect."""
        self.radio.drop()

    async def start_notify(
        self, char_specifier: Any, callback: gatt.NotifyCallback, /, **_: Any
    ) -> None:
        """Subscribe: a reliable round trip to the device."""
        characteristic = self._resolve(char_specifier)

        def receive(value: bytes) -> None:
            callback(characteristic, bytearray(value))

        await self._round_trip(lambda: self.radio.subscribe(characteristic.uuid, receive))

    async def stop_notify(self, char_specifier: Any, /) -> None:
        """Unsubscribe."""
        uuid = self._resolve(char_specifier).uuid
        await self._round_trip(lambda: self.radio.subscribe(uuid, None))

    async def read_gatt_char(self, char_specifier: Any, /, **_: Any) -> bytearray:
        """Read a value."""
        read = {gatt.CONFIG: self._firmware.read_config, gatt.RSSI: self._firmware.read_rssi}
        return bytearray(await self._round_trip(read[self._resolve(char_specifier).uuid]))

    async def write_gatt_char(
        self, char_specifier: Any, data: bytes, /, *, response: bool | None = None
    ) -> None:
        """Write a value, with or without waiting for the device's word."""
        uuid = self._resolve(char_specifier).uuid
        value = bytes(data)
        if uuid == gatt.LOG_CONFIG:
            await self._round_trip(lambda: self._firmware.write_log_config(value))
        elif response:
            await self._round_trip(lambda: self._firmware.write_ack(value))
        elif self.radio.up:
            self.radio.send_up(lambda: self._firmware.write_ack(value), len(value))
        else:
            raise LinkDown

    async def _round_trip[T](self, operate: Callable[[], T]) -> T:
        """Let the device do something and wait for its response."""
        if not self.radio.up:
            raise LinkDown
        response: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def answer(result: T) -> None:
            if not response.done():
                response.set_result(result)

        def ask() -> None:
            result = operate()
            self.radio.send_down(lambda: answer(result), 1)

        self._operations.add(response)
        response.add_done_callback(self._operations.discard)
        self.radio.send_up(ask, 2, reliable=True)
        return await response

    def _resolve(self, specifier: Any) -> SimulatedCharacteristic:
        uuid = specifier if isinstance(specifier, str) else specifier.uuid
        if (found := self.services.get_characteristic(uuid)) is None:
            raise BleakCharacteristicNotFoundError(uuid)
        return found

    def _lost(self) -> None:
        for operation in list(self._operations):
            if not operation.done():
                operation.set_exception(LinkDown())
        if self._disconnected:
            self._disconnected()


class TunableClient(SimulatedClient):
    """A client whose Bluetooth stack lets the host choose the connection interval."""

    async def set_connection_params(
        self,
        min_interval: int,
        max_interval: int,
        latency: int,
        timeout: int,  # noqa: ASYNC109
    ) -> None:
        """Take the shortest interval that is asked for."""
        if not 6 <= min_interval <= max_interval <= 3200:
            raise BleakError(f"connection interval {min_interval} to {max_interval}")
        self.radio.interval = min_interval * INTERVAL_UNIT
