"""A virtual device as the proxy sees it: simulated firmware, an address, and a link at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from custom_components.ulogger.agent.gatt import (
    CONFIG,
    CORE_DUMP_DATA,
    LOG_ACK,
    LOG_CONFIG,
    LOG_DATA,
    RSSI,
    SERVICE,
    NotifyCallback,
)
from custom_components.ulogger.capture.model import CaptureKind, DeviceIdentity

from .firmware import Firmware

TABLE = {
    SERVICE: {
        LOG_DATA: ["notify"],
        CORE_DUMP_DATA: ["notify"],
        LOG_ACK: ["write", "write-without-response"],
        CONFIG: ["read", "notify"],
        LOG_CONFIG: ["write", "write-without-response"],
        RSSI: ["read"],
    }
}

QUEUE_DEPTH = 128
"""Notifications that the device's radio has room for (about 3 KB)."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What a device erased on our word: a log's frames, or a dump."""

    kind: CaptureKind
    content: bytes


class VirtualDevice:
    """One device in the proxy's reach; its memory outlives Home Assistant.

    ``held`` is every buffer that was put into it, ``erased`` everything that it erased.
    """

    table = TABLE

    def __init__(
        self,
        address: str,
        identity: DeviceIdentity,
        log: bytes,
        core_dump: bytes | None,
        *,
        name: str = "uLogger Example",
        rssi: int = -58,
        interval: float = 0.015,
        packets: int = 6,
    ) -> None:
        """Fill the device; ``packets`` travel each way every ``interval`` seconds."""
        self.address = address
        self.identity = identity
        self.name = name
        self.rssi = rssi
        self.service_uuids: list[str] = []
        self.log = log
        self.core_dump = core_dump
        self.erased: list[Erased] = []
        self.connections = 0
        self.firmware = Firmware(
            identity,
            log,
            core_dump,
            schedule=asyncio.get_running_loop(),
            rssi=rssi,
            is_committed=self._erases,
        )
        self._interval = interval
        self._packets = packets
        self._link: AirLink | None = None

    def _erases(self, kind: CaptureKind, content: bytes) -> bool:
        """Note what the firmware erases; whether somebody has it is found out later."""
        self.erased.append(Erased(kind, content))
        return True

    @property
    def advertising(self) -> bool:
        """Whether it can be heard: not while connected."""
        return self.firmware.advertising

    async def connect(self, lost: Callable[[], None]) -> AirLink:
        """Take a connection; ConnectionError when there is one already."""
        link = AirLink(self.firmware, lost, self._interval, self._packets)
        self._link = link
        self.connections += 1
        return link

    async def disconnect(self) -> None:
        """Note that the host has gone."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def cut(self) -> None:
        """Lose the link, wherever the transfer is."""
        if self._link is not None:
            self._link.cut()

    def reset(self) -> None:
        """Restart the firmware: the link falls, and newer agents offer again what was taken."""
        self.cut()
        self.firmware.reset()


class AirLink:
    """A connection in real time: both ways, so many packets at every connection event."""

    mtu_size = 23
    services = None

    def __init__(
        self, firmware: Firmware, lost: Callable[[], None], interval: float, packets: int
    ) -> None:
        """Connect to the firmware."""
        self._firmware = firmware
        self._lost = lost
        self.interval = interval
        self._packets = packets
        self._inbound: list[Callable[[], object]] = []
        self._outbound: list[tuple[str, bytes]] = []
        self._callbacks: dict[str, NotifyCallback] = {}
        self._event: asyncio.TimerHandle | None = None
        self.is_connected = True
        firmware.connect(self._queue)

    def close(self) -> None:
        """End the connection."""
        if self.is_connected:
            self.is_connected = False
            self._firmware.disconnect()
            if self._event is not None:
                self._event.cancel()

    def cut(self) -> None:
        """Lose the connection, telling the other end."""
        if self.is_connected:
            self.close()
            self._lost()

    async def read_gatt_char(self, uuid: str) -> bytearray:
        """Read the identification or the signal strength."""
        reads = {CONFIG: self._firmware.read_config, RSSI: self._firmware.read_rssi}
        return bytearray(await self._in_its_turn(reads[uuid]))

    async def write_gatt_char(
        self, uuid: str, data: bytes, *, response: bool | None = None
    ) -> None:
        """Write an ack or a log configuration; without response, nobody waits for it."""
        writes = {LOG_ACK: self._firmware.write_ack, LOG_CONFIG: self._firmware.write_log_config}
        if response:
            await self._in_its_turn(partial(writes[uuid], data))
        else:
            self._send(partial(writes[uuid], data))

    async def start_notify(self, uuid: str, callback: NotifyCallback) -> None:
        """Pass notifications on from now on."""
        await self._in_its_turn(lambda: self._callbacks.update({uuid: callback}))

    async def stop_notify(self, uuid: str) -> None:
        """Pass them on no longer."""
        await self._in_its_turn(lambda: self._callbacks.pop(uuid, None))

    async def set_connection_params(
        self, min_interval: int, max_interval: int, latency: int, supervision: int, /
    ) -> None:
        """Take the shortest interval on offer, in units of 1.25 ms."""
        self.interval = min_interval * 0.00125

    async def _in_its_turn[T](self, work: Callable[[], T]) -> T:
        """Do something at a connection event and return what came of it."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def carry_out() -> None:
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001
                done.set_exception(error)

        self._send(carry_out)
        return await done

    def _send(self, work: Callable[[], object]) -> None:
        if not self.is_connected:
            raise ConnectionError("not connected")
        self._inbound.append(work)
        self._schedule()

    def _queue(self, uuid: str, value: bytes) -> None:
        """Take a notification from the firmware; without room it is lost without a sign."""
        if uuid in self._callbacks and len(self._outbound) < QUEUE_DEPTH:
            self._outbound.append((uuid, value))
            self._schedule()

    def _schedule(self) -> None:
        if self._event is None:
            self._event = asyncio.get_running_loop().call_later(self.interval, self._at_event)

    def _at_event(self) -> None:
        self._event = None
        inbound, self._inbound = _split(self._inbound, self._packets)
        outbound, self._outbound = _split(self._outbound, self._packets)
        for work in inbound:
            work()
        for uuid, value in outbound:
            if callback := self._callbacks.get(uuid):
                callback(None, bytearray(value))
        if self.is_connected and (self._inbound or self._outbound):
            self._schedule()


def _split[T](queue: list[T], count: int) -> tuple[list[T], list[T]]:
    return queue[:count], queue[count:]
