"""A collector on loopback and a destination that sends to it, without Home Assistant."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.otlp.client import OtlpClient
from custom_components.ulogger.cloud.otlp.endpoint import Endpoint
from custom_components.ulogger.cloud.otlp.otlp import OtlpDestination
from custom_components.ulogger.cloud.otlp.progress import Volatile
from custom_components.ulogger.cloud.otlp.resource import GatewayIdentity
from custom_components.ulogger.insight.crash_report import CrashReport, crash_report
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.backoff import never
from custom_components.ulogger.model.capture import Capture
from demo.otlp import LocalCollector

GATEWAY = GatewayIdentity("ha-5eed5eed", "0.1.0", "2026.10.4")
CAPTURED_AT = 1_790_000_000.25


async def run(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


class World:
    """A destination, what it can read, and the collector that it sends to."""

    def __init__(
        self,
        collector: LocalCollector,
        session: aiohttp.ClientSession,
        image: Any = None,
        timeout: float = 5.0,
        **options: Any,
    ) -> None:
        self.collector = collector
        self.captures: dict[int, Capture] = {}
        self.image = image
        self.states: list[ConnectionState] = []
        self.progress = Volatile()
        endpoint = Endpoint.checked(collector.url, "Authorization: Bearer s3cret")
        self.client = OtlpClient(session, endpoint, timeout=timeout)
        self.destination = OtlpDestination(
            "otlp",
            self.client,
            GATEWAY,
            run,
            reading_of=self.reading_of,
            crash_of=self.crash_of,
            **{"progress": self.progress, "chance": never, **options},
        )
        self.destination.on_state = self.states.append

    async def reading_of(self, capture_id: int) -> Reading:
        return read(self.captures[capture_id], self.image)

    async def crash_of(self, capture: Capture) -> CrashReport | None:
        with suppress(CaptureError):
            return crash_report(CoreDump.parse(capture.data), self.image)
        return None

    async def deliver(self, capture: Capture, capture_id: int = 1) -> None:
        self.captures[capture_id] = capture
        await self.destination.deliver(capture, capture_id)

    async def until(self, state: ConnectionState) -> None:
        async with asyncio.timeout(10):
            while self.destination.state is not state:  # noqa: ASYNC110 - told to nobody here
                await asyncio.sleep(0.002)


@asynccontextmanager
async def world(connected: bool = True, **options: Any) -> AsyncGenerator[World]:
    """Start a collector, and a destination beside it."""
    async with LocalCollector() as collector, aiohttp.ClientSession() as session:
        made = World(collector, session, **options)
        running = asyncio.create_task(made.destination.run())
        try:
            if connected:
                await made.until(ConnectionState.CONNECTED)
            yield made
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
