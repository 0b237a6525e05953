"""An account's road in virtual time: outbox, delivery, cloud and transport, up to a broker."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, override

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import OutboxError
from custom_components.ulogger.outbox.model import Item
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.sending.delivery import Delivery, DeliveryListener

from .outbox_world import open_outbox
from .virtual_broker import VirtualBroker

CUSTOMER = 42
GOOD = 7
"""The application of devices that nothing is wrong with."""


def device(number: int, application: int = GOOD) -> DeviceIdentity:
    """Return one of many devices."""
    return DeviceIdentity(application, f"D{number:04}", "sensor", "1.0", "abc")


def captured(of: DeviceIdentity, number: int = 0, kind: CaptureKind = CaptureKind.LOG) -> Capture:
    """Return a capture unlike all others."""
    body = Random(f"{of.serial} {kind} {number}").randbytes(200)
    if kind is CaptureKind.LOG:
        body = LogHeader(4, 0, 0, 1, 1_000, 1, len(body), xor_checksum(body)).pack() + body
    return Capture(kind, of, body, 1_790_000_000.0 + number)


class Account(DeliveryListener):
    """One account at work on a broker."""

    def __init__(self, outbox: Outbox, broker: VirtualBroker) -> None:
        loop = asyncio.get_running_loop()
        self.outbox = outbox
        self.broker = broker
        self.transport = broker.transport(f"cust-{CUSTOMER}-ha-account")
        self.tokens = TokenCache({}, self._save)
        self.cloud = UloggerCloud(self.transport, customer_id=CUSTOMER, tokens=self.tokens)
        self.cloud._registrar._clock = loop.time
        self.cloud._registrar._service._clock = loop.time
        self.delivery = Delivery(outbox, self.cloud, self, clock=loop.time)
        self.transport.on_state = self._state_changed
        self.transport.on_denied = self.delivery.lift
        self.done: dict[str, list[tuple[float, CaptureKind]]] = {}
        self.failures: list[tuple[float, str, str]] = []
        self.put_aside: list[str] = []
        self.states: list[ConnectionState] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Connect and deliver."""
        for work in (self.transport.run(), self.delivery.run()):
            self._tasks.append(asyncio.create_task(work))

    async def stop(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.outbox.close()

    async def _save(self, _tokens: dict[str, Any]) -> None:
        """Keep tokens in memory only."""

    def _state_changed(self, state: ConnectionState) -> None:
        self.states.append(state)
        if state is ConnectionState.CONNECTED:
            self.delivery.resume()

    async def add(self, *captures: Capture) -> None:
        for capture in captures:
            await self.outbox.add(capture)
        self.delivery.wake()

    async def register(self, devices: Iterable[DeviceIdentity]) -> None:
        """Have tokens for devices."""
        for each in devices:
            await self.tokens.put(each, 5)

    async def until(self, condition: Callable[[], object], seconds: float) -> float:
        """Wait until a condition holds, and return when that was; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - time is virtual
                await asyncio.sleep(0.01)
        return asyncio.get_running_loop().time()

    def has(self, devices: Iterable[DeviceIdentity]) -> Callable[[], bool]:
        """Whether something of each device was delivered."""
        serials = {each.serial for each in devices}
        return lambda: serials <= self.done.keys()

    @override
    def delivered(self, item: Item) -> None:
        now = asyncio.get_running_loop().time()
        self.done.setdefault(item.key[1], []).append((now, item.capture.kind))

    @override
    def failed(self, item: Item, error: CloudError) -> None:
        now = asyncio.get_running_loop().time()
        self.failures.append((now, item.key[1], error.reason))

    @override
    def quarantined(self, item: Item) -> None:
        self.put_aside.append(item.key[1])

    @override
    def outbox_failed(self, error: OutboxError) -> None:
        raise error


@asynccontextmanager
async def account(directory: Path, broker: VirtualBroker) -> AsyncIterator[Account]:
    """Make an account, not started yet."""

    async def run(work: Callable[..., Any], *values: Any) -> Any:
        return work(*values)

    made = Account(await open_outbox(directory / "account.db", run), broker)
    try:
        yield made
    finally:
        await made.stop()
