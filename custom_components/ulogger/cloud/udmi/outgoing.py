"""Events that wait for a connection: those of blocks, which nobody else keeps.

At most `MOST_WAITING` wait; then the oldest are dropped and counted. They go one after another, so
that a device's are in order; those of a device that is not attached wait, and hold up no others.
What the broker refuses is dropped.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ..errors import CloudError

MOST_WAITING: Final = 300
TRY_AGAIN: Final = 1.0

type Event = tuple[str, str, Mapping[str, Any]]
"""The device, the subfolder, and what it says."""


class EventQueue:
    """Events on their way out; ``send`` returns at the acknowledgement and raises CloudError.

    ``attached`` says whether somebody may speak for a device on the present connection.
    """

    def __init__(
        self,
        send: Callable[[str, str, Mapping[str, Any]], Awaitable[None]],
        counters: Counter[str],
        *,
        attached: Callable[[str], bool] = lambda _device_id: True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._send = send
        self._counters = counters
        self._attached = attached
        self._sleep = sleep
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._connected = False

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._events)

    def put(self, device_id: str, subfolder: str, payload: Mapping[str, Any]) -> None:
        """Have an event sent in its turn."""
        self._events.append((device_id, subfolder, payload))
        if len(self._events) > MOST_WAITING:
            self._events.popleft()
            self._counters["events_dropped"] += 1
        self._wake.set()

    def forget(self, device_id: str) -> None:
        """Drop what waits of a device that is gone."""
        self._events = deque(each for each in self._events if each[0] != device_id)

    def connected(self, *, connected: bool) -> None:
        """Note whether something could be sent now."""
        self._connected = connected
        self._wake.set()

    def look(self) -> None:
        """Have what waited for its device go on, where that is attached now."""
        self._wake.set()

    def _next(self) -> Event | None:
        if not self._connected:
            return None
        return next((each for each in self._events if self._attached(each[0])), None)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            self._wake.clear()
            while (event := self._next()) is not None:
                try:
                    await self._send(*event)
                except CloudError as err:
                    if not err.about_message:
                        # There may be another connection at once, but not for every event.
                        await self._sleep(max(TRY_AGAIN, err.retry_after))
                        continue
                    self._counters["events_refused"] += 1
                else:
                    self._counters["events"] += 1
                # It may have been dropped while it was sent.
                self._events = deque(each for each in self._events if each is not event)
            await self._wake.wait()
