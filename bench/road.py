"""Our road from the outbox to a broker, as benchmarks drive it."""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.cloud.errors import CloudError, RegistrationFailed
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.mqtt.rate_limit import RateLimit
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.credentials import Credentials, build_tls_context
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import ULOGGER, DeviceIdentity
from custom_components.ulogger.outbox.errors import OutboxError
from custom_components.ulogger.outbox.model import Item
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.sending.delivery import Delivery
from demo.cloud.broker import LocalBroker
from demo.cloud.waiting import until_connected

CUSTOMER_ID = 42
CLIENT_ID = f"cust-{CUSTOMER_ID}-ha-bench"
APPLICATION_ID = 7
LOG_SIZE = 4_390
DEVICES = 10


def device(number: int) -> DeviceIdentity:
    """Return one of the devices that take turns."""
    return DeviceIdentity(APPLICATION_ID, f"BENCH{number:03}", "bench", "1.0.0", "abcdef0")


def make_capture(number: int, chance: Random, devices: int = DEVICES) -> Capture:
    """Return a log buffer of the usual size, unlike all others; devices take turns."""
    data = chance.randbytes(LOG_SIZE - 25)
    header = LogHeader(4, 0, 0, 1, 1_000, 1, len(data), xor_checksum(data))
    return Capture(CaptureKind.LOG, device(number % devices), header.pack() + data, time.time())


class Listener:
    """Counts what the delivery tells."""

    def __init__(self) -> None:
        self.count = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    async def wait(self, count: int) -> None:
        """Wait until so many captures have been delivered since the last time."""
        self.count, self._wanted = 0, count
        self._reached.clear()
        await self._reached.wait()

    def delivered(self, _item: Item) -> None:
        """Count."""
        self.count += 1
        if self.count >= self._wanted:
            self._reached.set()

    def failed(self, _item: Item, error: CloudError) -> None:
        """Give up: nothing may fail here but registrations that shall."""
        if not isinstance(error, RegistrationFailed):
            raise SystemExit(f"a delivery failed: {error}")

    def quarantined(self, _item: Item) -> None:
        """Nothing comes here."""

    def outbox_failed(self, _error: OutboxError) -> None:
        """Nor does this happen."""


class Bench:
    """Our road from the outbox to the broker."""

    def __init__(self, outbox: Outbox, transport: MqttTransport, cloud: UloggerCloud) -> None:
        self.outbox = outbox
        self.transport = transport
        self.listener = Listener()
        self.delivery = Delivery(outbox, cloud, self.listener)
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Connect and begin to deliver."""
        self._tasks = [
            asyncio.create_task(self.transport.run()),
            asyncio.create_task(self.delivery.run()),
        ]
        await until_connected(self.transport, 10)

    async def stop(self) -> None:
        """End, and let go of the outbox."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.outbox.close()


@asynccontextmanager
async def road(
    broker: LocalBroker,
    folder: Path,
    *,
    devices: int = DEVICES,
    port: int | None = None,
    pace: RateLimit | None = None,
) -> AsyncGenerator[Bench]:
    """Put outbox, connection and cloud together, not connected yet.

    ``devices`` have a session token, ``port`` is another way to the broker, ``pace`` a limit on
    what is sent.
    """

    async def save(_tokens: dict[str, Any]) -> None:
        """Keep tokens in memory only."""

    context = await asyncio.to_thread(tls_context, broker)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as pool:

        async def run(work: Callable[..., Any], *args: Any) -> Any:
            return await loop.run_in_executor(pool, work, *args)

        outbox = await Outbox.open(folder / "outbox.db", run)
        await outbox.set_destinations({ULOGGER: 0.0})
        transport = MqttTransport(
            Broker(
                host=broker.host,
                port=port or broker.port,
                client_id=CLIENT_ID,
                tls=context,
            ),
            pace=pace,
        )
        tokens = TokenCache({}, save)
        for number in range(devices):
            await tokens.put(device(number), number + 1)
        bench = Bench(
            outbox, transport, UloggerCloud(transport, customer_id=CUSTOMER_ID, tokens=tokens)
        )
        try:
            yield bench
        finally:
            await bench.stop()


def tls_context(broker: LocalBroker) -> ssl.SSLContext:
    """Return the customer's TLS context."""
    customer = broker.customer
    return build_tls_context(
        Credentials.checked(customer.certificate, customer.private_key, broker.ca)
    )
