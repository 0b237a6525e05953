"""How fast to send and how soon to try again. Clock, sleep and chance are handed in."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable

type Clock = Callable[[], float]
type Sleep = Callable[[float], Awaitable[None]]


class RateLimit:
    """A limit on messages and bytes a second, with a burst of a tenth of a second.

    AWS IoT Core takes 100 messages and 512 KB (of 1,000 bytes) a second on one connection and
    closes it when that is exceeded for long; it takes one connection a second from a client.
    The defaults stay below in every second, whatever the sizes.
    """

    BURST = 0.1
    CONNECT_EVERY = 1.0

    def __init__(
        self,
        messages: float = 90,
        size: float = 450_000,
        *,
        most: int = 500_000,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """``size`` is the bytes a second in the long run, ``most`` those in any one second."""
        self._per_message = 1 / messages
        self._per_byte = 1 / size
        self._most = most
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock() - self.BURST
        self._second: deque[tuple[float, int]] = deque()
        self._in_second = 0
        self._connected_at = -math.inf

    async def take(self, size: int) -> None:
        """Wait until a message of ``size`` bytes may go; first come, first served."""
        now = self._clock()
        start = self._with_room(max(self._free_at, now - self.BURST), now, size)
        self._free_at = start + max(self._per_message, size * self._per_byte)
        if (wait := start - now) > 0:
            await self._sleep(wait)

    async def connect(self) -> None:
        """Wait until a connection may be opened."""
        if (wait := self._connected_at + self.CONNECT_EVERY - self._clock()) > 0:
            await self._sleep(wait)
        self._connected_at = self._clock()

    def _with_room(self, start: float, now: float, size: int) -> float:
        """Return when the second before has room for ``size`` bytes, and take the room."""
        second = self._second
        goes_at = max(start, now)
        while second and (second[0][0] <= goes_at - 1 or self._in_second + size > self._most):
            went_at, gone = second.popleft()
            self._in_second -= gone
            goes_at = max(goes_at, went_at + 1)
        second.append((goes_at, size))
        self._in_second += size
        return goes_at if goes_at > now else start
