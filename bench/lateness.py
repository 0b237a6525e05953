"""How late an event loop comes while a thread works beside it, and how much of that is ours.

Linux tells how long a thread was ready to run and had to wait for a processor, as on a machine
that has other things to do. What is left of a delay is ours: the interpreter's lock was held.
"""

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

PROBE_EVERY: Final = 0.001
_NANOSECONDS: Final = 1e9


class Lateness:
    """The worst that was seen of a loop, in seconds; ``ours`` is None where nothing tells."""

    def __init__(self, *beside: int) -> None:
        """Watch the running loop, and take the threads ``beside`` it for those that delay it."""
        self.worst = 0.0
        self.ours: float | None = 0.0
        self._threads = (threading.get_native_id(), *beside)

    async def watch(self) -> None:
        """Note by how much the event loop comes late, until cancelled."""
        while True:
            waited = waited_for_processor(self._threads)
            began = time.perf_counter()
            await asyncio.sleep(PROBE_EVERY)
            late = time.perf_counter() - began - PROBE_EVERY
            self.worst = max(self.worst, late)
            until = waited_for_processor(self._threads)
            if self.ours is None or waited is None or until is None:
                self.ours = None
            else:
                self.ours = max(self.ours, late - (until - waited))


def waited_for_processor(threads: Iterable[int]) -> float | None:
    """Return the seconds that threads of this process waited for a processor, None if unknown."""
    with suppress(OSError, ValueError, IndexError):
        return (
            sum(
                int(Path(f"/proc/self/task/{each}/schedstat").read_text().split()[1])
                for each in threads
            )
            / _NANOSECONDS
        )
    return None
