"""Loads of one device that are under way to one destination."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ..cloud.errors import CloudError
from .load import Load

type Deliver = Callable[[Load], Coroutine[Any, Any, None]]
type Record = Callable[[list[Load]], Coroutine[Any, Any, bool]]


class Flight:
    """Sends loads side by side and has their acknowledgements recorded in their order.

    ``deliver`` sends one (raises CloudError), ``record`` notes some on disk and says whether the
    disk took that. Once a load or a note has failed, nothing more may begin; what is under way
    is waited for, and what of it is acknowledged is recorded all the same: it is not sent twice.
    """

    def __init__(self, deliver: Deliver, record: Record) -> None:
        self._deliver = deliver
        self._record = record
        self._under_way: deque[tuple[Load, asyncio.Task[None]]] = deque()
        self._acknowledged: list[Load] = []
        self._recording: asyncio.Task[bool] | None = None
        self._failures: list[tuple[Load, CloudError]] = []
        self._unexpected: BaseException | None = None
        self._note_failed = False

    @property
    def failed(self) -> bool:
        """Whether nothing more may begin."""
        return bool(self._failures or self._unexpected or self._note_failed)

    def begin(self, load: Load) -> None:
        """Send a load."""
        self._under_way.append((load, asyncio.create_task(self._deliver(load))))

    async def room_for(self, most: int) -> bool:
        """Wait until fewer than ``most`` are under way; False once anything has failed."""
        while self._under_way and not self.failed:
            if len(self._under_way) < most and not self._under_way[0][1].done():
                break
            await self._first_ended()
        return not self.failed

    async def close(self) -> list[tuple[Load, CloudError]]:
        """Wait for all that is under way and for the notes; returns what failed, in order.

        Raises what nobody foresaw.
        """
        while self._under_way:
            await self._first_ended()
        await self._recorded()
        if self._unexpected is not None:
            raise self._unexpected
        return self._failures

    async def abort(self) -> None:
        """Stop what is under way; acknowledgements that came are recorded."""
        for _load, task in self._under_way:
            task.cancel()
        while self._under_way:
            await self._first_ended()
        await self._recorded()

    async def _first_ended(self) -> None:
        """Wait for the oldest, without stopping it when the waiting is stopped."""
        load, task = self._under_way[0]
        await asyncio.wait((task,))
        self._under_way.popleft()
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._acknowledged.append(load)
            self._record_soon()
        elif isinstance(error, CloudError):
            self._failures.append((load, error))
        else:
            self._unexpected = error

    def _record_soon(self) -> None:
        """Write the next note once the one before is written."""
        if self._recording is None and self._acknowledged and not self._note_failed:
            noting, self._acknowledged = self._acknowledged, []
            self._recording = asyncio.create_task(self._record(noting))
            self._recording.add_done_callback(self._noted)

    def _noted(self, recording: asyncio.Task[bool]) -> None:
        self._recording = None
        if recording.cancelled():
            self._note_failed = True
        elif (error := recording.exception()) is not None:
            self._unexpected, self._note_failed = error, True
        elif not recording.result():
            self._note_failed = True
        else:
            self._record_soon()

    async def _recorded(self) -> None:
        """Wait for the notes: stopped between acknowledgement and note, it would be sent twice."""
        while self._recording is not None:
            await asyncio.wait((self._recording,))
            await asyncio.sleep(0)
