"""The simulated firmware behind a real ATT server, and a bleak backend over a real ATT client.

Two virtual controllers of Google's bumble share a link in this process: discovery, CCCD, MTU,
long reads and disconnects are the traffic that a radio would carry.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, ClassVar, Self, override

from bleak.args import SizedBuffer
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bumble.att import ATT_Error, Attribute
from bumble.controller import Controller
from bumble.core import AdvertisingData, BaseBumbleError
from bumble.device import Connection, Device, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

from custom_components.ulogger.agent.gatt import (
    CONFIG,
    CORE_DUMP_DATA,
    LOG_ACK,
    LOG_CONFIG,
    LOG_DATA,
    RSSI,
    SERVICE,
)

from .firmware import Firmware

WRITABLE = Characteristic.WRITE | Characteristic.WRITE_WITHOUT_RESPONSE
PROPERTY_NAMES = {
    Characteristic.READ: "read",
    Characteristic.WRITE: "write",
    Characteristic.WRITE_WITHOUT_RESPONSE: "write-without-response",
    Characteristic.NOTIFY: "notify",
}


def _device(link: LocalLink, name: str, address: str) -> Device:
    """Make a host with a controller of its own on the link."""
    controller = Controller(name, link=link, public_address=address)
    return Device(
        name=name, address=Address(address), host=Host(controller, AsyncPipeSink(controller))
    )


class BumblePeripheral:
    """A firmware that can be heard and connected to on a virtual link."""

    def __init__(
        self,
        link: LocalLink,
        address: str,
        firmware: Firmware,
        *,
        name: str = "uLogger Example",
        serves_agent: bool = True,
    ) -> None:
        """Put the firmware's GATT table into a server; without the agent's it is just a device."""
        self._serves_agent = serves_agent
        self.address = address
        self.firmware = firmware
        self.connection: Connection | None = None
        self._device = _device(link, name, address)
        self._outgoing: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._sending: asyncio.Task[None] | None = None
        self._characteristics: dict[str, Characteristic[bytes]] = {
            uuid: Characteristic(uuid, properties, permissions, value)
            for uuid, properties, permissions, value in (
                (LOG_DATA, Characteristic.NOTIFY, Attribute.READABLE, b""),
                (CORE_DUMP_DATA, Characteristic.NOTIFY, Attribute.READABLE, b""),
                (LOG_ACK, WRITABLE, Attribute.WRITEABLE, self._writes(firmware.write_ack)),
                (
                    CONFIG,
                    Characteristic.READ,
                    Attribute.READABLE,
                    self._reads(firmware.read_config),
                ),
                (
                    LOG_CONFIG,
                    WRITABLE,
                    Attribute.WRITEABLE,
                    self._writes(firmware.write_log_config),
                ),
                (RSSI, Characteristic.READ, Attribute.READABLE, self._reads(firmware.read_rssi)),
            )
        }

    @staticmethod
    def _reads(read: Callable[[], bytes]) -> CharacteristicValue[bytes]:
        return CharacteristicValue(read=lambda _: read())

    @staticmethod
    def _writes(write: Callable[[bytes], None]) -> CharacteristicValue[bytes]:
        return CharacteristicValue(write=lambda _, value: write(value))

    async def __aenter__(self) -> Self:
        """Power on and advertise."""
        if self._serves_agent:
            self._device.add_service(Service(SERVICE, list(self._characteristics.values())))
        self._device.on(Device.EVENT_CONNECTION, self._connected)
        await self._device.power_on()
        name = (AdvertisingData.COMPLETE_LOCAL_NAME, self._device.name.encode())
        await self._device.start_advertising(
            auto_restart=True, advertising_data=bytes(AdvertisingData([name]))
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Fall silent."""
        self._stop()
        await self._device.stop_advertising()
        await self._device.power_off()

    async def drop(self) -> None:
        """Drop the link from the device's side."""
        if self.connection is not None:
            await self.connection.disconnect()

    def _connected(self, connection: Connection) -> None:
        self.connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._disconnected)
        self._outgoing = asyncio.Queue()
        self._sending = asyncio.create_task(self._send(connection, self._outgoing))
        self.firmware.connect(lambda uuid, value: self._outgoing.put_nowait((uuid, value)))

    def _disconnected(self, _reason: int) -> None:
        self._stop()
        self.connection = None
        self.firmware.disconnect()

    def _stop(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    async def _send(
        self, connection: Connection, outgoing: asyncio.Queue[tuple[str, bytes]]
    ) -> None:
        """Notify in order; a host that has not subscribed is not told, as on a real device."""
        while True:
            uuid, value = await outgoing.get()
            await self._device.notify_subscriber(connection, self._characteristics[uuid], value)


class BumbleCentral:
    """The host's radio on a virtual link; its `backend` is a class that bleak can use."""

    def __init__(
        self, link: LocalLink, *, mtu: int = 23, address: str = "F0:00:00:00:00:01"
    ) -> None:
        """Ask for ``mtu`` on every connection, unless it is ATT's own 23."""
        self.device = _device(link, "host", address)
        self.mtu = mtu
        self.backend: type[BumbleClient] = type("Backend", (BumbleClient,), {"central": self})

    async def __aenter__(self) -> Self:
        """Power on."""
        await self.device.power_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Power off."""
        await self.device.power_off()


class BumbleClient(BaseBleakClient):
    """One connection of a central, as a bleak backend; ``central`` is bound by a subclass."""

    central: ClassVar[BumbleCentral]

    def __init__(self, address_or_ble_device: BLEDevice | str, **kwargs: Any) -> None:
        """Take what bleak hands every backend."""
        super().__init__(address_or_ble_device, **kwargs)
        self._connection: Connection | None = None
        self._mtu = 23

    @property
    @override
    def mtu_size(self) -> int:
        """The ATT MTU in bytes."""
        return self._mtu

    @property
    @override
    def is_connected(self) -> bool:
        """Whether the link is up."""
        return self._connection is not None

    @override
    async def connect(self, pair: bool, **kwargs: Any) -> None:
        """Connect, exchange the MTU and discover everything."""
        try:
            connection = await self.central.device.connect(
                self.address, timeout=kwargs.get("timeout", self._timeout)
            )
            self._connection = connection
            connection.on(Connection.EVENT_DISCONNECTION, self._disconnected)
            peer = Peer(connection)
            if self.central.mtu != self._mtu:
                self._mtu = await peer.request_mtu(self.central.mtu)
            self.services = await _discover(peer, self._mtu)
        except BaseBumbleError as error:
            raise BleakError(f"No link to {self.address}: {error!r}") from error

    def _disconnected(self, _reason: int) -> None:
        self._connection = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    @override
    async def disconnect(self) -> None:
        """Close the link."""
        if self._connection is not None:
            with contextlib.suppress(BaseBumbleError):
                await self._connection.disconnect()

    @override
    async def pair(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: these devices do not pair."""
        raise BleakError("These devices do not pair")

    @override
    async def unpair(self) -> None:
        """Refuse: these devices do not pair."""
        raise BleakError("These devices do not pair")

    async def _over_the_air[T](self, work: Any) -> T:
        """Do one ATT procedure; whatever ends it is a BleakError, as with other backends."""
        if (connection := self._connection) is None:
            work.close()
            raise BleakError("Not connected")
        try:
            result: T = await connection.cancel_on_disconnection(work)
        except (BaseBumbleError, ATT_Error) as error:
            raise BleakError(f"{error!r}") from error
        except asyncio.CancelledError:
            if self._connection is None:
                raise BleakError("disconnected") from None
            raise
        return result

    @override
    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, **kwargs: Any
    ) -> bytearray:
        """Read a value, with as many reads as it takes."""
        return bytearray(await self._over_the_air(characteristic.obj.read_value()))

    @override
    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        """Write a value as a request or as a command."""
        await self._over_the_air(
            characteristic.obj.write_value(bytes(data), with_response=response)
        )

    @override
    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        """Write the CCCD and call back with every notification."""
        await self._over_the_air(
            characteristic.obj.subscribe(lambda value: callback(bytearray(value)))
        )

    @override
    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """Clear the CCCD."""
        await self._over_the_air(characteristic.obj.unsubscribe(force=True))

    @override
    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, **kwargs: Any
    ) -> bytearray:
        """Read a descriptor."""
        return bytearray(await self._over_the_air(descriptor.obj.read_value()))

    @override
    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        """Write a descriptor."""
        await self._over_the_air(descriptor.obj.write_value(bytes(data), with_response=True))


async def _discover(peer: Peer, mtu: int) -> BleakGATTServiceCollection:
    """Discover services, characteristics and descriptors into bleak's table."""
    table = BleakGATTServiceCollection()
    for found in await peer.discover_services():
        service = BleakGATTService(found, found.handle, _uuid(found.uuid))
        table.add_service(service)
        for proxy in await peer.discover_characteristics(service=found):
            characteristic = BleakGATTCharacteristic(
                proxy, proxy.handle, _uuid(proxy.uuid), _names(proxy), lambda: mtu - 3, service
            )
            table.add_characteristic(characteristic)
            for descriptor in await peer.discover_descriptors(proxy):
                table.add_descriptor(
                    BleakGATTDescriptor(
                        descriptor, descriptor.handle, _uuid(descriptor.type), characteristic
                    )
                )
    return table


def _uuid(uuid: Any) -> str:
    return (
        str(uuid.to_hex_str("-")).lower()
        if len(uuid.uuid_bytes) == 16
        else (f"0000{uuid.to_hex_str()}-0000-1000-8000-00805f9b34fb".lower())
    )


def _names(proxy: CharacteristicProxy[bytes]) -> list[Any]:
    return [name for flag, name in PROPERTY_NAMES.items() if flag & proxy.properties]
