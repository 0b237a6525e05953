"""How fast to send and how soon to try again. Clock, sleep and chance are handed in."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

type Clock = Callable[[], float]
type Sleep = Callable[[float], Awaitable[None]]


class Pace:
    """A limit on messages and bytes a second, with a burst of a tenth of a second.

    AWS IoT Core takes 100 messages and 512 KB a second on one connection and closes it when
    that is exceeded for long; the defaults stay below even in the
    second of a burst.
    """

    BURST = 0.1

    def __init__(
        self,
        messages: float = 90,
        size: float = 450_000,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._per_message = 1 / messages
        self._per_byte = 1 / size
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock() - self.BURST

    async def take(self, size: int) -> None:
        """Wait until a message of ``size`` bytes may go; first come, first served."""
        now = self._clock()
        start = max(self._free_at, now - self.BURST)
        self._free_at = start + max(self._per_message, size * self._per_byte)
        if (wait := start - now) > 0:
            await self._sleep(wait)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts: doubling from ``first`` to ``longest``, by chance up to half less.

    The chance keeps many gateways from coming back in the same instant.
    """

    first: float = 1.0
    longest: float = 60.0
    chance: Callable[[], float] = random.random

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row (1 or more)."""
        return self.spread(min(self.longest, self.first * 2.0 ** min(failures - 1, 30)))

    def spread(self, seconds: float) -> float:
        """Shorten ``seconds`` by chance, by half at most."""
        return seconds * (1 - self.chance() / 2)
