"""Session tokens: a device registers ("boot") and the cloud answers with its token."""

import asyncio
from collections import Counter

from ...capture.model import DeviceIdentity, DeviceKey
from ..interface import CloudUnavailable, InvalidMessage, RegistrationFailed, Transport
from .device_topics import DeviceTopics
from .messages import boot_message, parse_boot_reply
from .tokens import TokenCache
from .topics import Topics

REPLY_TIMEOUT = 15.0
"""Seconds after which uLogger's own library gives a registration up."""


class Registrar:
    """Gets session tokens, each once, however many ask.

    The reply's topic names application and serial but not the firmware, so there is at most
    one registration of a device at a time. Replies that can't be used are counted, and waited
    on past: one of them must not undo a good one.
    """

    def __init__(
        self,
        transport: Transport,
        topics: Topics,
        tokens: TokenCache,
        counters: Counter[str],
        *,
        reply_timeout: float = REPLY_TIMEOUT,
    ) -> None:
        self._transport = transport
        self._topics = topics
        self._tokens = tokens
        self._counters = counters
        self._reply_timeout = reply_timeout
        self._under_way: dict[DeviceKey, tuple[DeviceIdentity, asyncio.Task[int]]] = {}
        self._waiting: dict[DeviceKey, asyncio.Future[int]] = {}
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
            other, task = self._under_way.get(device.key, (None, None))
            if task is None:
                task = asyncio.create_task(self._register(device))
                self._under_way[device.key] = (device, task)
                task.add_done_callback(lambda _task: self._under_way.pop(device.key))
            elif other is None or other.git_hash != device.git_hash:
                await asyncio.wait([task])
                continue
            return await asyncio.shield(task)
        return token

    async def _register(self, device: DeviceIdentity) -> int:
        if not self._transport.connected:
            raise CloudUnavailable("there is no connection to register over")
        self._waiting[device.key] = asyncio.get_running_loop().create_future()
        self._counters["registrations"] += 1
        try:
            async with asyncio.timeout(self._reply_timeout):
                await self._replies.listen(device.key)
                await self._transport.publish(
                    self._topics.boot(device.application_id), boot_message(device)
                )
                token = await self._waiting[device.key]
        except TimeoutError as err:
            self._counters["registrations_unanswered"] += 1
            raise RegistrationFailed("the cloud gave no session token in time") from err
        finally:
            del self._waiting[device.key]
            await self._replies.leave(device.key)
        await self._tokens.put(device, token)
        return token

    def _replied(self, key: DeviceKey | None, payload: bytes) -> None:
        waiting = self._waiting.get(key) if key is not None else None
        if waiting is None or waiting.done():
            self._counters["boot_replies_unexpected"] += 1
            return
        try:
            waiting.set_result(parse_boot_reply(payload))
        except InvalidMessage:
            self._counters["boot_replies_invalid"] += 1
