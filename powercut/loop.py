"""An asyncio loop that does not wait for timers, but does for threads."""

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import override

from demo.device.virtual_time import Deadlock

SPEED = 20
"""How much faster time goes while a thread is at work; else it jumps to the next timer."""


class _Hasty(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.jobs = 0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not self.jobs:
            if timeout is None:
                raise Deadlock("nothing is scheduled that could wake a task")
            self.now += max(timeout, 0.0)
            return super().select(0)
        began = time.monotonic()
        ready = super().select(timeout and timeout / SPEED)
        passed = (time.monotonic() - began) * SPEED
        self.now += passed if timeout is None or ready else max(timeout, 0.0)
        return ready


class HastyLoop(asyncio.SelectorEventLoop):
    """Minutes of radio in seconds, with jobs in an executor beside it."""

    def __init__(self) -> None:
        self._hasty = _Hasty()
        super().__init__(self._hasty)

    @override
    def time(self) -> float:
        return self._hasty.now

    @override
    def run_in_executor[*Ts, T](
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self._hasty.jobs += 1
        job = super().run_in_executor(executor, func, *args)
        job.add_done_callback(self._done)
        return job

    def _done(self, _: object) -> None:
        self._hasty.jobs -= 1
