"""How soon to try again. Chance is handed in."""

import random
from collections.abc import Callable
from dataclasses import dataclass


def never() -> float:
    """Return what leaves nothing to chance."""
    return 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts: doubling from ``first`` to ``longest``, by chance up to half less.

    The chance keeps many gateways from coming back in the same instant; where only this gateway
    asks, or another spreads, it is `never`.
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
