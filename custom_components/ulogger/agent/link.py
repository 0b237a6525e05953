"""A client's operations with a time limit, its errors narrowed, and requests without a task hop."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from bleak.exc import BleakCharacteristicNotFoundError, BleakError

from .errors import AgentError, LinkLost, NotAnAgent, SubscribeFailed
from .gatt import LOG_ACK, NAMES, Characteristic, GattClient, NotifyCallback
from .packets import encode_ack

OPERATION_LIMIT: Final = 10.0
"""Seconds that any read, write or subscription may take."""
CLEANUP_LIMIT: Final = 2.0
FAST_INTERVAL: Final = (6, 12)
"""Connection interval asked for during a transfer, in units of 1.25 ms: 7.5 to 15 ms."""
USUAL_INTERVAL: Final = (24, 40)
"""The interval asked for afterwards: 30 to 50 ms, what Bluetooth stacks begin with."""
SUPERVISION: Final = 500
"""Link supervision timeout in units of 10 ms."""

type Failed = Callable[[AgentError], None]


@contextmanager
def narrowed() -> Iterator[None]:
    """Let only errors of this room out of a Bluetooth operation."""
    try:
        yield
    except BleakCharacteristicNotFoundError as err:
        raise NotAnAgent(str(err)) from err
    except (BleakError, OSError, EOFError) as err:
        raise LinkLost(str(err) or type(err).__name__) from err


class Link:
    """A connected client, as a session uses it."""

    def __init__(self, client: GattClient) -> None:
        self._client = client

    @property
    def up(self) -> bool:
        """Whether the connection still stands."""
        return self._client.is_connected

    def find(self, uuid: str) -> Characteristic | None:
        """Look a characteristic up in the client's table."""
        with narrowed():
            found: Characteristic | None = self._client.services.get_characteristic(uuid)
        return found

    def require(self, uuid: str) -> Characteristic:
        """Look a characteristic up; NotAnAgent when the table does not have it."""
        if (found := self.find(uuid)) is None:
            raise NotAnAgent(f"the device has no characteristic {NAMES[uuid]}")
        return found

    async def read(self, uuid: str) -> bytes:
        """Read a value."""
        characteristic = self.require(uuid)
        return bytes(await self._limited(self._client.read_gatt_char(characteristic)))

    async def write(self, characteristic: Characteristic, data: bytes, *, response: bool) -> None:
        """Write a value."""
        await self._limited(self._client.write_gatt_char(characteristic, data, response=response))

    async def subscribe(self, uuid: str, callback: NotifyCallback) -> None:
        """Have a characteristic notify; SubscribeFailed when it won't while the link stands."""
        characteristic = self.require(uuid)
        try:
            await self._limited(self._client.start_notify(characteristic, callback))
        except LinkLost as err:
            if self.up:
                raise SubscribeFailed(f"{NAMES[uuid]}: {err}") from err
            raise

    async def unsubscribe(self, uuid: str) -> None:
        """End notifications, if the link is there to say so."""
        if self.up and (characteristic := self.find(uuid)) is not None:
            with suppress(AgentError):
                await self._limited(self._client.stop_notify(characteristic), CLEANUP_LIMIT)

    async def interval(self, shortest: int, longest: int) -> None:
        """Ask for a connection interval where the Bluetooth stack lets us."""
        set_params = getattr(self._client, "set_connection_params", None)
        if set_params is not None and self.up:
            with suppress(AgentError, NotImplementedError):
                await self._limited(set_params(shortest, longest, 0, SUPERVISION), CLEANUP_LIMIT)

    async def _limited[T](self, operation: Awaitable[T], limit: float = OPERATION_LIMIT) -> T:
        with narrowed():
            async with asyncio.timeout(limit):
                return await operation


class Requests:
    """Writes acks from within a notification callback.

    Writing is a coroutine in bleak, but most backends hand a command to the radio before
    they first wait, if they wait at all: the coroutine is stepped at once, and only one that
    waits becomes a task. Where the characteristic takes no commands, requests go one after
    another, as ATT demands. A failed write is reported once, to ``failed``.
    """

    def __init__(self, client: GattClient, ack: Characteristic, failed: Failed) -> None:
        self._write = client.write_gatt_char
        self._ack = ack
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._commands = "write-without-response" in ack.properties
        self._pending: set[asyncio.Task[None]] = set()
        self._queue: deque[int] = deque()

    def send(self, offsets: Sequence[int]) -> None:
        """Ask for these chunks."""
        if self._commands:
            for offset in offsets:
                self._step(self._one(offset))
            return
        self._queue.extend(offsets)
        if offsets and not self._pending:
            self._step(self._drain())

    def forget(self) -> None:
        """Drop what was not handed to the client yet: nobody needs it any more."""
        self._queue.clear()

    def close(self) -> None:
        """Give up what was not written yet."""
        self.forget()
        for task in self._pending:
            task.cancel()

    def _step(self, writing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.Task(writing, loop=self._loop, eager_start=True)
        if not task.done():
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def _one(self, offset: int) -> None:
        try:
            await self._write(self._ack, encode_ack(offset), response=False)
        except (BleakError, OSError, EOFError) as err:
            self._failed(LinkLost(f"{NAMES[LOG_ACK]}: {err}"))

    async def _drain(self) -> None:
        try:
            while self._queue:
                async with asyncio.timeout(OPERATION_LIMIT):
                    await self._write(self._ack, encode_ack(self._queue.popleft()), response=True)
        except (BleakError, OSError, EOFError) as err:
            self._failed(LinkLost(f"{NAMES[LOG_ACK]}: {err}"))
