"""What the cloud sends to devices: heard on one wildcard, or device by device."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

from ...model.identity import DeviceKey
from ..errors import SubscriptionRefused
from ..mqtt.transport import Transport, Unsubscribe
from .topics import device_of


class DeviceTopics:
    """Messages for devices on topics that end in ``/application/serial``.

    One wildcard subscription hears all devices. A broker's policy may refuse it; then there
    is one subscription a device, until the wildcard is allowed some day. ``callback`` gets
    messages of devices listened for and of others, which a wildcard brings as well; None is a
    device whose name can't be read. No device waits for another one's subscription.
    """

    def __init__(
        self,
        transport: Transport,
        wildcard: str,
        topic_of: Callable[[DeviceKey], str],
        callback: Callable[[DeviceKey | None, bytes, bool], None],
    ) -> None:
        self._transport = transport
        self._wildcard = wildcard
        self._topic_of = topic_of
        self._callback = callback
        self._met_at: dict[DeviceKey, float] = {}
        self._all: asyncio.Task[Unsubscribe] | None = None
        self._single: dict[DeviceKey, asyncio.Task[Unsubscribe]] = {}
        self._refused = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def wildcard_refused(self) -> bool:
        """Whether the broker made us listen device by device."""
        return self._refused

    async def listen_to_all(self) -> None:
        """Hear messages for all devices, where the broker allows that."""
        if self._all is None or _failed(self._all):
            self._all = asyncio.create_task(
                self._transport.subscribe(
                    self._wildcard,
                    self._received,
                    self._wildcard_refused,
                    on_allowed=self._wildcard_allowed,
                ),
                eager_start=True,
            )
        await _settled(self._all)

    async def listen(self, key: DeviceKey, identified_at: float = math.inf) -> None:
        """Hear messages for a device; what comes of it is known when this returns.

        Where not all devices can be listened to at once, those come first that were identified last
        (``identified_at``, Unix seconds), and before them those without such a time.
        """
        self._topic_of(key)
        self._met_at[key] = identified_at
        await self.listen_to_all()
        if self._refused and key in self._met_at:
            await _settled(self._listen_to(key))

    async def listen_for_answer(self, key: DeviceKey) -> None:
        """Hear messages for a device now; raises SubscriptionRefused where that can't be."""
        await self.listen(key)
        if not self._refused and await self._transport.subscribed(self._wildcard):
            return
        await _settled(self._listen_to(key))
        if not await self._transport.subscribed(self._topic_of(key)):
            raise SubscriptionRefused("the broker does not let us hear the cloud's answer")

    def identified(self, key: DeviceKey, at: float) -> None:
        """Note when a device that is listened to was identified."""
        if key in self._met_at:
            self._met_at[key] = at

    async def leave(self, key: DeviceKey) -> None:
        """Don't hear messages for a device any longer, except through the wildcard."""
        self._met_at.pop(key, None)
        await self._leave(key)

    def _listen_to(self, key: DeviceKey) -> asyncio.Task[Unsubscribe]:
        """Subscribe to one device's topic, once."""
        if (subscribing := self._single.get(key)) is None or _failed(subscribing):
            subscribing = asyncio.create_task(
                self._transport.subscribe(
                    self._topic_of(key),
                    self._received,
                    rank=lambda: self._met_at.get(key, -math.inf),
                ),
                eager_start=True,
            )
            self._single[key] = subscribing
        return subscribing

    async def _leave(self, key: DeviceKey) -> None:
        if (subscribing := self._single.pop(key, None)) is None:
            return
        if subscribing.cancel():
            await asyncio.wait([subscribing])
        if not _failed(subscribing):
            await subscribing.result()()

    def _wildcard_refused(self) -> None:
        self._refused = True
        for key in self._met_at:
            self._in_background(self._listen_to_known(key))

    def _wildcard_allowed(self) -> None:
        self._refused = False
        for key in list(self._single):
            self._in_background(self._leave(key))

    async def _listen_to_known(self, key: DeviceKey) -> None:
        if self._refused and key in self._met_at:
            await asyncio.wait([self._listen_to(key)])

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001
        self._callback(device_of(topic), payload, retained)


async def _settled(task: asyncio.Task[Unsubscribe]) -> None:
    """Wait for a subscription that others wait for too; raises what made it fail."""
    if not task.done():
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _failed(task: asyncio.Task[Unsubscribe]) -> bool:
    """Return whether a subscription has ended without one."""
    return task.done() and (task.cancelled() or task.exception() is not None)
