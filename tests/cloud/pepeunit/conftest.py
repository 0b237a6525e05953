"""A local Pepeunit, and units of ours that run on it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_socket

from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.mqtt.rate_limit import RateLimit
from custom_components.ulogger.cloud.pepeunit.env import Env
from custom_components.ulogger.cloud.pepeunit.link import (
    BYTES_A_SECOND,
    LARGEST_MESSAGE,
    MESSAGES_A_SECOND,
    Security,
)
from custom_components.ulogger.cloud.pepeunit.schema import Schema
from custom_components.ulogger.cloud.pepeunit.unit import Mapped, PepeunitDestination
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.backoff import Backoff
from custom_components.ulogger.model.capture import Capture
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit

QUICK = Backoff(first=0.02, longest=0.2)


async def in_thread(job: Callable[..., Any], *arguments: Any) -> Any:
    """Run a job as Home Assistant's executor does."""
    return await asyncio.to_thread(job, *arguments)


def quick_transport(broker: Broker) -> MqttTransport:
    """Return a transport as it is used, but one that comes back at once."""
    return MqttTransport(
        broker,
        pace=RateLimit(MESSAGES_A_SECOND, BYTES_A_SECOND, most=950_000),
        largest=LARGEST_MESSAGE,
        most_filters=1000,
        backoff=QUICK,
    )


class Running:
    """Units of ours at a local Pepeunit, until the test ends."""

    def __init__(self, pepeunit: LocalPepeunit) -> None:
        self.pepeunit = pepeunit
        self.captures: dict[int, Capture] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def reading(self, capture_id: int) -> Reading:
        return read(self.captures[capture_id])

    def unit(self, unit: Unit, mapped: Mapped | None = None, **more: Any) -> PepeunitDestination:
        """Make a destination of a unit; it does not run yet."""
        return PepeunitDestination(
            "unit",
            Env.parse(more.pop("env", None) or self.pepeunit.env(unit)),
            Schema.parse(unit.schema()),
            more.pop("security", Security(None)),
            reading_of=self.reading,
            run=in_thread,
            mapped=mapped or Mapped(frozenset(unit.inputs), frozenset(unit.outputs)),
            make=quick_transport,
            **more,
        )

    async def start(self, destination: PepeunitDestination) -> PepeunitDestination:
        """Run a destination until it listens to all topics, and on until the test ends."""
        self._tasks.append(asyncio.create_task(destination.run()))
        await until(lambda: destination.link.settled)
        return destination

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the loop run until a condition holds; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


type Start = Callable[..., Awaitable[PepeunitDestination]]


@pytest.fixture
def unit() -> Unit:
    """A unit with two inputs and two outputs."""
    return Unit.make(inputs=["lamp", "note"], outputs=["temperature", "secret"])


@pytest.fixture
async def pepeunit(
    tmp_path: Path, unit: Unit, socket_enabled: None
) -> AsyncGenerator[LocalPepeunit]:
    """A local Pepeunit with that unit."""
    pytest_socket.enable_socket()
    async with LocalPepeunit(tmp_path / "pepeunit", with_tls=True, units=[unit]) as local:
        yield local


@pytest.fixture
async def running(pepeunit: LocalPepeunit) -> AsyncGenerator[Running]:
    """Runs units until the test ends."""
    units = Running(pepeunit)
    yield units
    await units.stop()
