"""A delivery between a real outbox and a cloud that does as it is told, on virtual time."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, override

import pytest

from custom_components.ulogger.cloud.destination import ConnectionState, Destination
from custom_components.ulogger.cloud.errors import CloudError, CloudUnavailable
from custom_components.ulogger.model.capture import Capture
from custom_components.ulogger.model.identity import DeviceIdentity, DeviceKey
from custom_components.ulogger.outbox.errors import DiskFull, OutboxError
from custom_components.ulogger.outbox.model import CaptureState, Item
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.sending.delivery import (
    Delivery,
    DeliveryListener,
)
from demo.device.virtual_time import run_virtually

from .outbox_world import CLOCK, DESTINATION, LAMP, NOW, open_outbox

DOOR = DeviceIdentity(7, "DOOR-1", "door", "2.0.0", "fedcba")
DEVICES = (CLOCK, LAMP, DOOR)
HOUR = 3600.0
PREPARE_SECONDS = 15.0

type Sent = tuple[str, int]
"""Serial and number of a capture."""


def name(capture: Capture) -> Sent:
    return capture.device.serial, round(capture.captured_at - NOW)


def many(name: str, number: int) -> list[DeviceIdentity]:
    return [DeviceIdentity(7, f"{name}-{n}", "door", "2.0.0", "fedcba") for n in range(number)]


class ScriptedCloud(Destination):
    """Each capture meets the outcomes that were put down for it, and then none but success."""

    def __init__(self) -> None:
        self.id = DESTINATION
        self.on_state = None
        self.over: set[DeviceKey] = set()
        self.at_once = 1
        self.lost = 0
        self.there = True
        self.script: defaultdict[Sent, list[Exception]] = defaultdict(list)
        self.tries: list[tuple[float, Sent]] = []
        self.took: list[Capture] = []
        self.hold: dict[Sent, asyncio.Event] = {}
        self.unready: set[str] = set()
        self.unprepared: CloudError | None = None
        self.prepared: list[str] = []

    @property
    @override
    def state(self) -> ConnectionState:
        return ConnectionState.CONNECTED if self.there else ConnectionState.DISCONNECTED

    @override
    async def run(self) -> None:
        raise NotImplementedError

    @override
    def window(self, capture: Capture) -> int:
        return self.at_once

    @override
    def over_quota(self) -> set[DeviceKey]:
        return self.over

    @override
    def ready(self, capture: Capture) -> bool:
        return capture.device.serial not in self.unready

    @override
    async def prepare(self, capture: Capture) -> None:
        self.prepared.append(capture.device.serial)
        await asyncio.sleep(PREPARE_SECONDS)
        if self.unprepared is not None:
            raise self.unprepared

    @override
    async def deliver(self, capture: Capture, capture_id: int) -> None:
        which = name(capture)
        self.tries.append((asyncio.get_running_loop().time(), which))
        if which in self.hold:
            await self.hold[which].wait()
        connection = self.lost
        # A little more each time: what was sent first is answered first.
        await asyncio.sleep(0.01 + len(self.tries) * 1e-7)
        if connection != self.lost and self.at_once > 1:
            raise CloudUnavailable("lost with another")
        if self.script[which]:
            error = self.script[which].pop(0)
            self.lost += isinstance(error, CloudUnavailable)
            raise error
        self.took.append(capture)

    def names(self, device: DeviceIdentity | None = None) -> list[Sent]:
        taken = [name(capture) for capture in self.took]
        return [each for each in taken if device is None or each[0] == device.serial]

    def times(self, which: Sent) -> list[float]:
        return [at for at, each in self.tries if each == which]


class Heard(DeliveryListener):
    def __init__(self) -> None:
        self.told: list[str] = []

    @override
    def delivered(self, item: Item) -> None:
        self.told.append("delivered")

    @override
    def failed(self, item: Item, error: CloudError) -> None:
        self.told.append(error.reason)

    @override
    def quarantined(self, item: Item) -> None:
        self.told.append("quarantined")

    @override
    def outbox_failed(self, error: OutboxError) -> None:
        self.told.append(error.reason)


class Pump:
    """A delivery between a real outbox and a scripted cloud."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.cloud = ScriptedCloud()
        self.heard = Heard()
        self.delivery = Delivery(
            outbox,
            self.cloud,
            self.heard,
            clock=asyncio.get_running_loop().time,
        )
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.delivery.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task

    async def add(self, *captures: Capture) -> list[int]:
        ids = [(await self.outbox.add(each)).capture_id for each in captures]
        self.delivery.wake()
        return ids

    async def states(self) -> dict[int, CaptureState]:
        return {row.capture_id: row.state for row in await self.outbox.listing()}

    def fail_marks(self, *failing: int) -> None:
        """Have the disk refuse the notes of delivery with these numbers, counted from 0."""
        queue = self.delivery._queue
        really, count = queue.delivered, iter(range(1_000_000))

        async def delivered(ids: Any, **details: Any) -> int:
            if next(count) in failing:
                raise DiskFull("told so")
            return await really(ids, **details)

        queue.delivered = delivered  # type: ignore[method-assign]


@asynccontextmanager
async def pumping(directory: Path) -> AsyncIterator[Pump]:
    async def run(work: Callable[..., Any], *values: Any) -> Any:
        return work(*values)

    outbox = await open_outbox(directory / "account.db", run, now=lambda: NOW)
    pump = Pump(outbox)
    try:
        yield pump
    finally:
        await pump.stop()
        await outbox.close()


type Scene = Callable[[Callable[[Pump], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Play a scene on virtual time."""

    def play(act: Callable[[Pump], Coroutine[Any, Any, None]]) -> None:
        async def played() -> None:
            async with pumping(tmp_path) as pump:
                await act(pump)

        run_virtually(played())

    return play
