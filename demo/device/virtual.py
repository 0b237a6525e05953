"""A virtual device as the proxy sees it: simulated firmware, an address, and a link at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import override

from custom_components.ulogger.agent.gatt import SERVICE
from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from .firmware import READ_SECONDS_PER_BYTE, Firmware, Generation
from .link import PROPERTIES, TunableClient
from .log_memory import Moment
from .radio import Air

DEMO_AIR = Air(interval=0.015)


@dataclass(frozen=True, slots=True)
class Erased:
    """What a device erased on the gateway's word: a log's frames, or a dump."""

    kind: CaptureKind
    content: bytes


class VirtualDevice:
    """One device in the proxy's reach; its memory outlives Home Assistant.

    ``log`` and ``core_dump`` are what was put into it at first, ``erased`` is everything
    that it has erased since, in order; ``emptied`` is set once nothing was left. ``air`` takes
    effect with the next connection.
    """

    def __init__(
        self,
        address: str,
        identity: DeviceIdentity,
        log: bytes = b"",
        core_dump: bytes | None = None,
        *,
        name: str = "uLogger Example",
        rssi: int = -58,
        air: Air = DEMO_AIR,
        agent: Generation = "newer",
        clock: Callable[[], Moment] | None = None,
        read_seconds_per_byte: float = READ_SECONDS_PER_BYTE,
    ) -> None:
        """Fill the device's memory."""
        self.address = address
        self.identity = identity
        self.name = name
        self.rssi = rssi
        self.air = air
        self.in_reach = True
        self.service_uuids: list[str] = []
        self.log = log
        self.core_dump = core_dump
        self.erased: list[Erased] = []
        self.emptied = asyncio.Event()
        self.connections = 0
        self.firmware = Firmware(
            identity,
            log,
            core_dump,
            schedule=asyncio.get_running_loop(),
            rssi=rssi,
            agent=agent,
            clock=clock,
            read_seconds_per_byte=read_seconds_per_byte,
            is_committed=self._erases,
        )
        self._link: TunableClient | None = None

    def _erases(self, kind: CaptureKind, content: bytes) -> bool:
        """Note what the firmware erases; whether somebody has it is found out later."""
        self.erased.append(Erased(kind, content))
        asyncio.get_running_loop().call_soon(self._note_empty)
        return True

    def _note_empty(self) -> None:
        if self.empty:
            self.emptied.set()

    @property
    def advertising(self) -> bool:
        """Whether it can be heard: not while connected."""
        return self.in_reach and self.firmware.advertising

    @property
    def table(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The GATT table of the example firmware."""
        return {SERVICE: PROPERTIES}

    @property
    def empty(self) -> bool:
        """Whether everything was taken from it."""
        return not self.firmware.log and self.firmware.core_dump is None

    async def connect(self, lost: Callable[[], None]) -> TunableClient:
        """Take a connection; OSError when there is one already or it is out of reach."""
        if not self.in_reach:
            raise ConnectionError("out of reach")
        if self._link is not None:
            raise ConnectionError("the device takes one connection at a time")
        link = TunableClient(self.firmware, self.air, disconnected=lost)
        await link.connect()
        self._link = link
        self.connections += 1
        return link

    async def disconnect(self) -> None:
        """Note that the host has gone."""
        if (link := self._link) is not None:
            self._link = None
            await link.disconnect()

    @property
    def connected(self) -> bool:
        """Whether a host has a link to it."""
        return self._link is not None and self._link.is_connected

    def cut(self) -> None:
        """Lose the link, wherever the transfer is."""
        if self._link is not None:
            self._link.radio.drop()

    def stall(self, seconds: float) -> None:
        """Have the link stand for so long and carry nothing."""
        if self._link is not None:
            self._link.radio.stall(seconds)

    def reset(self) -> None:
        """Restart the firmware: the link falls, and newer agents offer again what was taken."""
        self.cut()
        self.firmware.reset()


class ChangingDevice(VirtualDevice):
    """A device that says another serial in each connection: broken, or up to no good."""

    @override
    async def connect(self, lost: Callable[[], None]) -> TunableClient:
        """Take a connection under a serial that nobody has heard yet."""
        serial = f"{self.identity.serial}-{self.connections}"
        self.firmware.identity = replace(self.identity, serial=serial)
        return await super().connect(lost)
