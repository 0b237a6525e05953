"""A device, a link and a host on virtual time, for tests that read as stories."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from custom_components.ulogger.agent.errors import AgentError, StaleTransfer
from custom_components.ulogger.agent.memory import TransferMemory
from custom_components.ulogger.agent.session import RECONNECTIONS, AgentSession
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.device.firmware import Firmware
from demo.device.link import SimulatedClient
from demo.device.radio import Air
from demo.device.virtual_time import run_virtually

DEVICE = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")

type Commit = Callable[[Capture], Awaitable[None]]


async def at_once(capture: Capture) -> None:
    """Commit without taking any time."""


class DiskFull(Exception):
    """What a commit fails with."""


@dataclass
class World:
    """One firmware, visited by sessions one after another, and what they took."""

    firmware: Firmware
    memory: TransferMemory = field(default_factory=TransferMemory)
    taken: list[Capture] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    clients: list[SimulatedClient] = field(default_factory=list)

    async def visit(
        self,
        air: Air | None = None,
        *,
        commit: Commit = at_once,
        table: dict[str, tuple[str, ...]] | None = None,
        client_type: type[SimulatedClient] = SimulatedClient,
        **options: Any,
    ) -> list[Capture]:
        """Connect, take and commit what there is, disconnect; errors are the caller's."""
        client = client_type(self.firmware, air or Air(), table=table)
        self.clients.append(client)
        await client.connect()
        taken: list[Capture] = []
        try:
            session = AgentSession(client, memory=self.memory, **options)
            async for pending in session.captures(DEVICE):
                async with pending as capture:
                    await commit(capture)
                    self.firmware.committed(capture.kind, capture.data)
                    self.taken.append(capture)
                    taken.append(capture)
        finally:
            await client.disconnect()
        return taken

    async def meet(self, air: Air | None = None, **options: Any) -> list[Capture]:
        """Visit, and again at once as long as the device was faster, as the integration does."""
        for _ in range(RECONNECTIONS):
            with suppress(StaleTransfer):
                return await self.visit(air, **options)
        return await self.visit(air, **options)

    async def visit_until_empty(self, airs: list[Air], commit: Commit = at_once) -> int:
        """Visit over these links, the last one again and again; how often it took."""
        for number in range(40):
            if not self.firmware.log and not self.firmware.core_dump:
                return number
            air = airs[min(number, len(airs) - 1)]
            try:
                await self.visit(replace(air, seed=air.seed + number), commit=commit)
            except (AgentError, DiskFull) as err:
                self.errors.append(err)
        raise AssertionError(f"still not empty; {self.errors}")

    def logs(self) -> list[bytes]:
        """The logs taken, in order."""
        return [c.data for c in self.taken if c.kind is CaptureKind.LOG]

    def core_dumps(self) -> list[bytes]:
        """The core dumps taken, in order."""
        return [c.data for c in self.taken if c.kind is CaptureKind.CORE_DUMP]


def device(log: bytes = b"", core_dump: bytes | None = None, **options: Any) -> World:
    """Make a world around a device; to be called on the running virtual loop."""
    loop = asyncio.get_running_loop()
    return World(Firmware(DEVICE, log, core_dump, schedule=loop, **options))


def story(scenario: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Turn a coroutine into a test that runs on virtual time."""

    def test() -> None:
        async def told() -> None:
            await scenario()

        run_virtually(told())

    test.__name__ = scenario.__name__
    test.__doc__ = scenario.__doc__
    test.__module__ = scenario.__module__
    return test
