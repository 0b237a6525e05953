"""A session that ends when it has held its connection slot for too long for what it brings."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..radio.session_cap import SessionCap
from .connection import SessionTooLong


class CappedRun:
    """One session, whose end moves on with what it brings (see `SessionCap`)."""

    def __init__(self) -> None:
        self._cap = SessionCap(asyncio.get_running_loop().time())
        self._limit = asyncio.timeout_at(self._cap.ends_at)
        self._running = False

    async def run[T](self, session: Coroutine[Any, Any, T]) -> T:
        """Run the session; raises `SessionTooLong` at its end, and what the session raises."""
        try:
            async with self._limit:
                self._running = True
                return await session
        except TimeoutError as err:
            if not self._limit.expired():
                raise
            raise SessionTooLong("the connection was held for too long for what came") from err
        finally:
            self._running = False

    def brought(self, done: int) -> None:
        """Take note that *done* bytes of the capture under way are here."""
        self._cap.brought(done)
        if self._running and not self._limit.expired():
            self._limit.reschedule(self._cap.ends_at)
