"""A small uLogger cloud behind the local broker: it registers devices and keeps what it gets."""

import asyncio
import gzip
import hashlib
import itertools
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Any, Self

import aiomqtt

from .broker import LocalBroker

FIRST_TOKEN = 0x1000_0001
_FILTERS = {
    "boot": "boot/v0/+/+/+",
    "binlog": "binlog/v0/+/+/+",
    "core-dump": "core-dump/v0/+/+",
    "metrics": "metrics/v0/+/+/+",
    "events": "events/v0/+/+/+",
    "logs": "logs/v0/#",
}
_LOG_CONFIG = Struct("<BII")
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """One message, in the order of arrival. ``topic`` is without the bridge's prefix."""

    index: int
    kind: str
    topic: str
    payload: bytes
    at: float

    @property
    def token(self) -> int:
        """The session token in a log buffer's header."""
        return int.from_bytes(self.payload[1:5], "little")

    def json(self) -> Any:
        """Read the payload as JSON, unpacking it when it is gzipped."""
        packed = self.payload.startswith(b"\x1f\x8b")
        return json.loads(gzip.decompress(self.payload) if packed else self.payload)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a device was registered as."""

    application_id: int
    serial: str
    device_type: str
    git_version: str
    git_hash: str


class LocalCloud:
    """The service. ``muted`` leaves registrations unanswered; everything is kept anyway.

    ``directory`` keeps each message as a file too. The session is a lasting one: what the
    broker has acknowledged arrives here even when this client was away for a while.
    """

    def __init__(
        self, broker: LocalBroker, *, directory: Path | None = None, prefix: str = ""
    ) -> None:
        self.broker = broker
        self.prefix = prefix
        self.muted = False
        self.messages: list[Received] = []
        self.registrations: dict[int, Registration] = {}
        self.reply: Callable[[dict[str, Any], int], bytes | None] = _ordinary_reply
        self.on_message: Callable[[Received], None] | None = None
        self.connections = 0
        self._directory = directory
        self._tokens = itertools.count(FIRST_TOKEN)
        self._client: aiomqtt.Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._changed = asyncio.Condition()
        self._recent: deque[bytes] = deque(maxlen=256)

    # Life

    async def start(self) -> None:
        """Connect, and stay connected until `stop`; returns once subscribed."""
        if self._directory is not None:
            await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True)
        self._task = asyncio.create_task(self._run(), name="local cloud")
        await self.ready()

    async def ready(self) -> None:
        """Wait until connected and subscribed."""
        async with asyncio.timeout(30):
            await self._ready.wait()

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self.stop()

    # What came

    def of(self, kind: str) -> list[Received]:
        """All messages of one kind (`binlog`, `core-dump`, `metrics`, ...) in order."""
        return [message for message in self.messages if message.kind == kind]

    def device_of(self, log: Received) -> Registration | None:
        """Whom a log's session token names; None for a token that was never given out."""
        return self.registrations.get(log.token)

    async def wait_for(self, kind: str, count: int = 1, seconds: float = 30) -> list[Received]:
        """Wait until ``count`` messages of a kind have come; raises TimeoutError."""
        await self.wait_until(lambda: len(self.of(kind)) >= count, seconds)
        return self.of(kind)

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until ``condition``, asked at each message, holds; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    def clear(self) -> None:
        """Forget the messages; tokens stay valid."""
        self.messages.clear()

    # What it sends

    async def send_log_config(
        self,
        application_id: int,
        serial: str,
        *,
        level: int,
        module_flags: int = 0xFFFF_FFFF,
        timeout: int = 3600,  # noqa: ASYNC109 - a field of the message
        modules: Sequence[str] = (),
        group_id: int = 0,
    ) -> None:
        """Tell a device what to log, as the cloud's web page does."""
        payload = _LOG_CONFIG.pack(level, module_flags, timeout)
        payload += json.dumps(list(modules)).encode() if modules else b""
        customer = self.broker.customer_id
        topic = f"config/v0/{customer}/{group_id}/{application_id}/{serial}"
        await self.publish(topic, payload)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish anything, behind the prefix."""
        await self.ready()
        assert self._client is not None
        await self._client.publish(self.prefix + topic, payload, qos=1)

    # How it does it

    async def _run(self) -> None:
        context = await asyncio.to_thread(self.broker.client_context)
        while True:
            try:
                await self._connected(context)
            except aiomqtt.MqttError as err:
                _LOGGER.debug("The local cloud lost its broker: %s", err)
            finally:
                self._ready.clear()
                self._client = None
            await asyncio.sleep(0.05)

    async def _connected(self, context: Any) -> None:
        client = aiomqtt.Client(
            self.broker.host,
            self.broker.port,
            identifier=f"local-cloud-{self.broker.port}",
            clean_session=False,
            tls_context=context,
            keepalive=10,
            logger=_LOGGER,
        )
        client.pending_calls_threshold = 10_000
        async with client:
            before = frozenset(self._recent)
            again = len(before)
            for topic in _FILTERS.values():
                await client.subscribe(self.prefix + topic, qos=1)
            self._client = client
            self.connections += 1
            self._ready.set()
            async for message in client.messages:
                payload = message.payload
                assert isinstance(payload, bytes)
                mark = hashlib.sha256(f"{message.mid} {message.topic} ".encode() + payload).digest()
                self._recent.append(mark)
                again -= 1
                if again >= 0 and mark in before:
                    continue  # the broker did not get our acknowledgement and repeats itself
                await self._take(client, message.topic.value.removeprefix(self.prefix), payload)

    async def _take(self, client: aiomqtt.Client, topic: str, payload: bytes) -> None:
        received = Received(
            len(self.messages), topic.partition("/")[0], topic, payload, time.time()
        )
        if self._directory is not None:
            await asyncio.to_thread(_write, self._directory, received)
        self.messages.append(received)
        if received.kind == "boot" and not self.muted:
            await self._register(client, topic, payload)
        if self.on_message is not None:
            self.on_message(received)
        async with self._changed:
            self._changed.notify_all()

    async def _register(self, client: aiomqtt.Client, topic: str, payload: bytes) -> None:
        asked = json.loads(payload)
        application_id = int(topic.rsplit("/", 1)[1])
        token = next(self._tokens)
        if (reply := self.reply(asked, token)) is None:
            return
        self.registrations[token] = Registration(
            application_id, asked["serial"], asked["device_type"], asked["version"], asked["git"]
        )
        await client.publish(f"{self.prefix}{topic}/{asked['serial']}", reply, qos=1)


def _ordinary_reply(_asked: dict[str, Any], token: int) -> bytes:
    return json.dumps({"token": token}).encode()


def _write(directory: Path, message: Received) -> None:
    name = f"{message.index:06}-{message.kind}.bin"
    (directory / name).write_bytes(message.payload)
    line = {"index": message.index, "topic": message.topic, "at": message.at, "file": name}
    with (directory / "messages.jsonl").open("a") as index:
        index.write(json.dumps(line) + "\n")
