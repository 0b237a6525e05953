"""What the cloud sends to devices: heard on one wildcard, or device by device."""

import asyncio
from collections.abc import Callable

from ...capture.model import DeviceKey
from ..interface import Transport, Unsubscribe
from .topics import device_of


class DeviceTopics:
    """Messages for devices on topics that end in ``/application/serial``.

    One wildcard subscription hears all devices. A broker's policy may refuse it; then there
    is one subscription a device. ``callback`` gets messages of devices listened for and of
    others, which a wildcard brings as well; None is a device whose name can't be read.
    """

    def __init__(
        self,
        transport: Transport,
        wildcard: str,
        topic_of: Callable[[DeviceKey], str],
        callback: Callable[[DeviceKey | None, bytes], None],
    ) -> None:
        self._transport = transport
        self._wildcard = wildcard
        self._topic_of = topic_of
        self._callback = callback
        self._keys: set[DeviceKey] = set()
        self._single: dict[DeviceKey, Unsubscribe] = {}
        self._leave_wildcard: Unsubscribe | None = None
        self._refused = False
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def wildcard_refused(self) -> bool:
        """Whether the broker made us listen device by device."""
        return self._refused

    async def listen(self, key: DeviceKey) -> None:
        """Hear messages for a device; the broker has answered when this returns."""
        self._topic_of(key)
        self._keys.add(key)
        await self._bring_up_to_date()

    async def leave(self, key: DeviceKey) -> None:
        """Don't hear messages for a device any longer, except through the wildcard."""
        self._keys.discard(key)
        if (unsubscribe := self._single.pop(key, None)) is not None:
            await unsubscribe()

    async def _bring_up_to_date(self) -> None:
        async with self._lock:
            if self._leave_wildcard is None and not self._refused:
                self._leave_wildcard = await self._transport.subscribe(
                    self._wildcard, self._received, self._wildcard_was_refused
                )
            if not self._refused:
                return
            if self._leave_wildcard is not None:
                leave, self._leave_wildcard = self._leave_wildcard, None
                await leave()
            for key in self._keys - self._single.keys():
                self._single[key] = await self._transport.subscribe(
                    self._topic_of(key), self._received
                )

    def _wildcard_was_refused(self) -> None:
        self._refused = True
        task = asyncio.get_running_loop().create_task(self._bring_up_to_date())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _received(self, topic: str, payload: bytes) -> None:
        self._callback(device_of(topic), payload)
