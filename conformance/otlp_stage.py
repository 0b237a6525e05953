"""Our outbox, delivery and OTLP destination at work, and a collector that takes what they send."""

import asyncio
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.otlp.client import OtlpClient
from custom_components.ulogger.cloud.otlp.endpoint import Endpoint
from custom_components.ulogger.cloud.otlp.otlp import OtlpDestination
from custom_components.ulogger.cloud.otlp.progress import Volatile
from custom_components.ulogger.cloud.otlp.resource import GatewayIdentity
from custom_components.ulogger.insight.crash_report import CrashReport, crash_report
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.backoff import never
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.outbox.errors import OutboxError
from custom_components.ulogger.outbox.model import Item
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.sending.delivery import Delivery
from demo.fleet import EXAMPLE, Buffers
from demo.otlp import LocalCollector

from .expecting import NotSo, expect

GATEWAY: Final = GatewayIdentity("ha-5eed5eed", "0.1.0", "2026.10")
CAPTURED_AT: Final = 1_795_225_292.0
NAME: Final = "otlp"
TIMEOUT: Final = 0.5
WITHIN: Final = 20.0
TOKEN: Final = "Bearer s3cret"


async def run(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run what blocks in a thread."""
    return await asyncio.to_thread(function, *arguments)


class Stage:
    """A real outbox, a delivery, and a destination that sends to a local collector."""

    def __init__(
        self,
        collector: LocalCollector,
        outbox: Outbox,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.collector = collector
        self.outbox = outbox
        self.captures: dict[int, Capture] = {}
        self.progress = Volatile()
        self.quarantined_ids: list[int] = []
        self.now = CAPTURED_AT
        self.clock = asyncio.get_running_loop().time
        self._session = session
        self._tls = tls
        self._tasks: list[asyncio.Task[None]] = []
        self.start()

    def start(self) -> None:
        """Begin to deliver, as after a start."""
        endpoint = Endpoint(self.collector.url, {"Authorization": TOKEN}, self._tls)
        self.destination = OtlpDestination(
            NAME,
            OtlpClient(self._session, endpoint, timeout=TIMEOUT, now=lambda: self.now),
            GATEWAY,
            run,
            reading_of=self._reading_of,
            crash_of=self._crash_of,
            progress=self.progress,
            chance=never,
        )
        self.destination.on_state = self._state_changed
        self.delivery = Delivery(self.outbox, self.destination, self)
        self._tasks = [
            asyncio.create_task(self.destination.run()),
            asyncio.create_task(self.delivery.run()),
        ]

    async def stop(self) -> None:
        """End, as before a restart."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def keep(self, capture: Capture) -> int:
        """Have a capture sent; returns its ID."""
        added = await self.outbox.add(capture)
        capture_id = added.capture_id
        if capture_id is None:
            raise NotSo("the outbox has not kept a capture")
        self.captures[capture_id] = capture
        self.delivery.wake()
        return capture_id

    async def settled(self, *ids: int) -> None:
        """Wait until the collector has captures; waiting times that are ours are cut short."""
        async with asyncio.timeout(WITHIN):
            while await self.delivery.wait_delivered(EXAMPLE.key, ids, 0.2) != set(ids):
                self.hurry()

    def hurry(self) -> None:
        """Forget all waiting times."""
        self.destination.forgive()
        self.delivery.retry_now()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that nobody tells of."""
        try:
            async with asyncio.timeout(WITHIN):
                while not condition():  # noqa: ASYNC110 - told to nobody
                    await asyncio.sleep(0.005)
        except TimeoutError as err:
            raise NotSo(what) from err

    def came(self) -> Counter[str]:
        """Return the records that came, by what identifies each."""
        records = self.collector.received.records
        return Counter(each.attributes["log.record.uid"] for each in records)

    def expect_all(self, *captures: Capture, again: bool = False) -> None:
        """Check that each frame arrived, and once unless an answer was lost."""
        came = self.came()
        frames = [frame for each in captures for frame in read(each).frames]
        points = [frame for frame in frames if frame.metric or frame.frame.is_heartbeat]
        dumps = sum(each.kind is CaptureKind.CORE_DUMP for each in captures)
        expect(len(came) == len(frames) - len(points) + dumps, f"{len(came)} records came")
        got = len(self.collector.received.points)
        expect(got >= len(points) if again else got == len(points), f"{got} points came")
        expect(again or max(came.values(), default=0) <= 1, "a record came twice")

    async def _reading_of(self, capture_id: int) -> Reading:
        return await asyncio.to_thread(read, self.captures[capture_id])

    async def _crash_of(self, capture: Capture) -> CrashReport | None:
        return await asyncio.to_thread(lambda: crash_report(CoreDump.parse(capture.data)))

    def _state_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            self.delivery.resume()

    # What the delivery notifies of

    def delivered(self, item: Item) -> None:
        """A capture is there."""

    def failed(self, item: Item, error: CloudError) -> None:
        """A capture was not taken this time."""

    def quarantined(self, item: Item) -> None:
        """A capture was refused for good."""
        self.quarantined_ids.append(item.capture_id)

    def outbox_failed(self, error: OutboxError) -> None:
        """The disk failed, which it must not here."""
        raise NotSo(str(error))


@asynccontextmanager
async def stage(
    totals: Counter[str],
    server: ssl.SSLContext | None = None,
    client: ssl.SSLContext | None = None,
) -> AsyncGenerator[Stage]:
    """Set everything up, and count what the collector could not parse."""
    with tempfile.TemporaryDirectory() as place:
        outbox = await Outbox.open(Path(place, "outbox.sqlite"), run)
        await outbox.set_destinations({NAME: 0.0})
        async with LocalCollector(server) as collector, aiohttp.ClientSession() as session:
            made = Stage(collector, outbox, session, client)
            try:
                yield made
            finally:
                await made.stop()
                await outbox.close()
                totals["messages"] += collector.received.requests
                totals["invalid"] += len(collector.received.invalid)


def log(at: float = CAPTURED_AT) -> Capture:
    """Return the example's log."""
    return Capture(CaptureKind.LOG, EXAMPLE, Buffers.load().log, at)


def dump(at: float = CAPTURED_AT + 1) -> Capture:
    """Return the example's core dump."""
    return Capture(CaptureKind.CORE_DUMP, EXAMPLE, Buffers.load().core_dump, at)
