"""What can be fuzzed, and what one input may cost."""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SLOWEST: Final = 0.100
"""Seconds of processor time for one input."""
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of memory for one input, at its peak."""
SUSPICIOUS: Final = 0.020
"""Inputs that take longer than this have their memory measured, as has one in so many."""
SAMPLED: Final = 1009


@dataclass(frozen=True)
class Target:
    """One parser, the errors that it may raise, and bytes to begin with."""

    name: str
    run: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]
    longest: int = 4096


class Broken(Exception):
    """An input that a parser did not bear."""


@dataclass
class Trial:
    """Runs inputs on a target, with its limits, and remembers the worst of each."""

    target: Target
    inputs: int = 0
    accepted: int = 0
    slowest: float = 0.0
    largest: int = 0
    began: float = field(default_factory=time.monotonic)
    _refused: bool = False

    def one(self, data: bytes) -> None:
        """Run one input; raises Broken when it raises, takes or allocates what it must not."""
        self.inputs += 1
        taken = self._time(data)
        self.accepted += not self._refused
        if taken > SLOWEST:
            taken = min(taken, self._time(data), self._time(data))
        self.slowest = max(self.slowest, taken)
        if taken > SLOWEST:
            raise Broken(f"took {taken:.3f} s")
        if taken > SUSPICIOUS or self.inputs % SAMPLED == 0:
            peak = self._peak(data)
            self.largest = max(self.largest, peak)
            if peak > LARGEST:
                raise Broken(f"took {peak} bytes")

    def _time(self, data: bytes) -> float:
        start = time.thread_time()
        self._refused = False
        try:
            self.target.run(data)
        except self.target.errors:
            self._refused = True
        except Exception as error:
            raise Broken(f"raised {type(error).__name__}: {error}") from error
        return time.thread_time() - start

    def _peak(self, data: bytes) -> int:
        tracemalloc.start()
        try:
            self._time(data)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def report(self) -> dict[str, object]:
        """Return what was done and the worst that was seen."""
        return {
            "target": self.target.name,
            "inputs": self.inputs,
            "accepted": self.accepted,
            "seconds": round(time.monotonic() - self.began, 1),
            "slowest_ms": round(self.slowest * 1000, 2),
            "largest_bytes": self.largest,
        }
