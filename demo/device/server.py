"""The proxy's other end: advertisements and GATT links of virtual devices, over a loopback socket.

It lives in the demo's process and not in Home Assistant's, so that the devices keep their
memories when Home Assistant is killed. What is said on the socket stands in
``demo/custom_components/ulogger_demo/client.py``.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

ADVERTISING_SECONDS = 1.0
INTERVAL_UNIT_MS = 1.25

type Message = dict[str, Any]
type NotifyCallback = Callable[[Any, bytearray], None]


class Link(Protocol):
    """One connection to a device, called as bleak's client is, with UUIDs."""

    @property
    def mtu_size(self) -> int:
        """The ATT MTU in bytes."""

    async def read_gatt_char(self, uuid: str, /) -> bytearray:
        """Read a value."""

    async def write_gatt_char(
        self, uuid: str, data: bytes, /, *, response: bool | None = None
    ) -> None:
        """Write a value, as a request or as a command."""

    async def start_notify(self, uuid: str, callback: NotifyCallback, /) -> None:
        """Call back with every notification."""

    async def stop_notify(self, uuid: str, /) -> None:
        """End the notifications."""

    async def set_connection_params(
        self, min_interval: int, max_interval: int, latency: int, supervision: int, /
    ) -> None:
        """Ask for another connection interval, in units of 1.25 ms."""


class Peripheral(Protocol):
    """A device within the proxy's reach."""

    @property
    def address(self) -> str:
        """Its Bluetooth address."""

    @property
    def name(self) -> str:
        """What it calls itself on the air."""

    @property
    def rssi(self) -> int:
        """How strongly it is heard, in dBm."""

    @property
    def service_uuids(self) -> Sequence[str]:
        """The services that it advertises."""

    @property
    def advertising(self) -> bool:
        """Whether it can be heard now."""

    @property
    def table(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Its services, their characteristics and what these can do."""

    async def connect(self, lost: Callable[[], None]) -> Link:
        """Open a link, calling ``lost`` when the device drops it; OSError when it can't."""

    async def disconnect(self) -> None:
        """Close the link."""


class RadioServer:
    """Serves the devices in reach to any number of scanners."""

    def __init__(self, peripherals: Iterable[Peripheral] = ()) -> None:
        """Start with these devices in reach; more may be put into ``peripherals`` later."""
        self.peripherals = {device.address: device for device in peripherals}
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Close every connection and listen no more."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()
        self._server = None

    def drop(self) -> None:
        """Close every connection, as a proxy does that restarts, and go on listening."""
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                request = json.loads(await reader.readline() or "{}")
                if request.get("op") == "scan":
                    await self._advertise(reader, writer)
                elif request.get("op") == "connect":
                    await self._link(request["address"], reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _advertise(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.ensure_future(reader.read())
        while not gone.done():
            for device in list(self.peripherals.values()):
                if device.advertising:
                    writer.write(_line(_advertisement(device)))
            await writer.drain()
            await asyncio.wait([gone], timeout=ADVERTISING_SECONDS)
        # However the listener went, it went.
        gone.exception()

    async def _link(
        self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        device = self.peripherals.get(address)
        try:
            if device is None:
                raise ConnectionError("out of reach")
            client = await device.connect(writer.close)
        except OSError as error:
            writer.write(_line({"error": str(error) or type(error).__name__}))
            await writer.drain()
            return
        try:
            writer.write(_line({"mtu": client.mtu_size, "services": device.table}))
            session = _Session(client, writer)
            async for line in reader:
                await session.take(json.loads(line))
        finally:
            await device.disconnect()


class _Session:
    """Does to one device what one central asks."""

    def __init__(self, client: Link, writer: asyncio.StreamWriter) -> None:
        self._client = client
        self._writer = writer

    async def take(self, message: Message) -> None:
        """Carry out a request and answer it, except writes without response."""
        answer: Message = {"id": message.get("id")}
        try:
            answer |= await self._do(message)
        except Exception as error:  # noqa: BLE001
            answer["error"] = str(error) or type(error).__name__
        if "id" in message and not self._writer.is_closing():
            self._writer.write(_line(answer))

    async def _do(self, message: Message) -> Message:
        client, uuid = self._client, message.get("uuid", "")
        match message["op"]:
            case "read":
                return {"value": bytes(await client.read_gatt_char(uuid)).hex()}
            case "write" | "command" as op:
                value = bytes.fromhex(message["value"])
                await client.write_gatt_char(uuid, value, response=op == "write")
            case "subscribe":
                await client.start_notify(uuid, lambda _, value: self._notify(uuid, value))
            case "unsubscribe":
                await client.stop_notify(uuid)
            case "interval":
                units = round(message["ms"] / INTERVAL_UNIT_MS)
                await client.set_connection_params(units, units, 0, 400)
            case op:
                raise ValueError(f"the proxy does not know {op!r}")
        return {}

    def _notify(self, uuid: str, value: bytes | bytearray) -> None:
        if not self._writer.is_closing():
            self._writer.write(_line({"notify": uuid, "value": value.hex()}))


def _advertisement(device: Peripheral) -> Message:
    return {
        "address": device.address,
        "name": device.name,
        "rssi": device.rssi,
        "service_uuids": list(device.service_uuids),
        "manufacturer_data": {},
    }


def _line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"
