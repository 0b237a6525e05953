"""Session tokens: a device registers ("boot") and the cloud answers with its token."""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...model.identity import DeviceIdentity, DeviceKey
from ..errors import (
    CloudError,
    CloudUnavailable,
    InvalidMessage,
    MessageRefused,
    RegistrationDenied,
    RegistrationFailed,
    TopicDenied,
)
from ..mqtt.rate_limit import Clock
from ..mqtt.transport import Transport
from .device_topics import DeviceTopics
from .messages import boot_message, parse_boot_reply
from .service import RegistrationService
from .tokens import TokenCache
from .topics import Topics

REPLY_TIMEOUT = 15.0
"""Seconds after which uLogger's own library gives a registration up."""
IN_FLIGHT = 4
"""Registrations that the broker has yet to acknowledge; captures have the rest of its slots."""
LISTENING = 20
"""Registrations that wait for replies at once where each needs a subscription of its own."""


@dataclass(slots=True)
class _UnderWay:
    device: DeviceIdentity
    task: asyncio.Task[int]
    waiters: int = 0


class Registrar:
    """Gets session tokens, each once, however many ask.

    The reply's topic names application and serial but not the firmware, so there is at most
    one registration of a device at a time. Replies that can't be used are counted, and waited
    on past: one of them must not undo a good one. Any number of devices may wait for replies,
    but few at a time send, and all are backed off together when nobody answers.
    """

    def __init__(
        self,
        transport: Transport,
        topics: Topics,
        tokens: TokenCache,
        counters: Counter[str],
        *,
        reply_timeout: float = REPLY_TIMEOUT,
        clock: Clock = time.monotonic,
    ) -> None:
        self._transport = transport
        self._topics = topics
        self._tokens = tokens
        self._counters = counters
        self._reply_timeout = reply_timeout
        self._clock = clock
        self._service = RegistrationService(reply_timeout, clock)
        self._sending = asyncio.Semaphore(IN_FLIGHT)
        self._listening = asyncio.Semaphore(LISTENING)
        self._under_way: dict[DeviceKey, _UnderWay] = {}
        self._waiting: dict[DeviceKey, asyncio.Future[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies = DeviceTopics(
            transport, topics.boot_replies, topics.boot_reply, self._replied
        )

    @property
    def wildcard_refused(self) -> bool:
        """Whether the broker lets us hear replies only device by device."""
        return self._replies.wildcard_refused

    async def token(self, device: DeviceIdentity) -> int:
        """Return the device's session token, registering it if need be; raises CloudError."""
        while (token := self._tokens.get(device)) is None:
            under_way = self._under_way.get(device.key)
            if under_way is None:
                under_way = _UnderWay(device, asyncio.create_task(self._register(device)))
                self._under_way[device.key] = under_way
            elif under_way.device.git_hash != device.git_hash:
                await asyncio.wait([under_way.task])
                continue
            return await self._share(under_way)
        if device.key not in self._under_way and self._tokens.refresh_due(device):
            self._in_background(self._refresh(device))
        return token

    async def listen(self) -> None:
        """Hear also tokens that nobody asked for, where the broker allows that."""
        await self._replies.listen_to_all()

    async def _refresh(self, device: DeviceIdentity) -> None:
        """Ask for a new token; without one the old is good."""
        if device.key in self._under_way:
            return
        self._counters["tokens_refreshed"] += 1
        under_way = _UnderWay(device, asyncio.create_task(self._register(device)))
        self._under_way[device.key] = under_way
        with suppress(CloudError):
            await self._share(under_way)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _share(self, under_way: _UnderWay) -> int:
        """Wait for a registration; the last one who does not want it any longer ends it."""
        under_way.waiters += 1
        try:
            return await asyncio.shield(under_way.task)
        finally:
            under_way.waiters -= 1
            if not under_way.waiters:
                under_way.task.cancel()
                self._under_way.pop(under_way.device.key, None)

    async def _register(self, device: DeviceIdentity) -> int:
        if not self._transport.connected:
            raise CloudUnavailable("there is no connection to register over", sent=False)
        with self._service.attempt(device.key):
            if not self.wildcard_refused:
                return await self._exchange(device)
            async with self._listening:
                return await self._exchange(device)

    async def _exchange(self, device: DeviceIdentity) -> int:
        """Send a registration and wait for its reply."""
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[device.key] = reply
        self._counters["registrations"] += 1
        began = self._clock()
        try:
            async with self._sending:
                began = self._clock()
                async with asyncio.timeout(self._reply_timeout):
                    await self._replies.listen_for_answer(device.key)
                    await self._send(device)
            async with asyncio.timeout(began + self._reply_timeout - self._clock()):
                token = await reply
            self._service.answered(device.key)
        except TimeoutError as err:
            self._counters["registrations_unanswered"] += 1
            self._service.unanswered(began)
            raise RegistrationFailed("the cloud gave no session token in time") from err
        finally:
            if self._waiting.get(device.key) is reply:
                del self._waiting[device.key]
                await self._replies.leave(device.key)
        await self._tokens.put(device, token)
        return token

    async def _send(self, device: DeviceIdentity) -> None:
        """Publish the registration; what is denied here is the captures' fault in no case."""
        topic = self._topics.boot(device.application_id)
        try:
            await self._transport.publish(topic, boot_message(device))
        except TopicDenied as err:
            raise RegistrationDenied(topic, err.retry_after) from err
        except MessageRefused as err:
            raise RegistrationFailed(f"the registration is refused: {err}") from err

    def _replied(self, key: DeviceKey | None, payload: bytes, _retained: bool) -> None:  # noqa: FBT001
        if key is None:
            self._counters["boot_replies_unexpected"] += 1
            return
        try:
            token = parse_boot_reply(payload)
        except InvalidMessage:
            self._counters["boot_replies_invalid"] += 1
            return
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(token)
        elif self._tokens.replace(key, token):
            self._counters["tokens_pushed"] += 1
        else:
            self._counters["boot_replies_unexpected"] += 1
