"""The outbox: captures on disk, from the device's release until every destination has them."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Self

from ..model.capture import Capture
from ..model.identity import DeviceKey
from . import database, deliveries, files, opening, queries, records, recovery
from .database import Database, Run
from .model import (
    Added,
    CaptureState,
    DestinationCounters,
    DeviceCounters,
    Recovery,
    Row,
    Space,
)
from .queue import Queue

_RETAINED_AT_ONCE: Final = 200
_PAGES_AT_ONCE: Final = 500
_DAY: Final = 86_400.0
_CHECK_SECONDS: Final = 2.0
_LONGEST_FREEZE: Final = 3600.0


class Outbox:
    """Captures that are safe on disk, and a queue of them for each destination.

    Whatever changes something has reached the disk when it returns. Every method raises an
    ``OutboxError`` (``retryable``, ``reason``) and nothing else; after one nothing is half done.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        run: Run,
        recovered: Recovery | None,
        now: Callable[[], float],
    ) -> None:
        self._path = path
        self._run = run
        self._now = now
        self._database = Database(connection, path, run)
        self._recovered = recovered
        self._unnoted: set[DeviceKey] = set()
        self._thaw_timer: asyncio.TimerHandle | None = None
        self._thawing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        run: Run,
        *,
        now: Callable[[], float] = time.time,
        check_seconds: float = _CHECK_SECONDS,
    ) -> Self:
        """Open the file, creating or repairing it; its structure is checked for a bounded time.

        Raises ``OutboxLocked`` (another process has it), ``OutboxTooNew`` (a later version wrote
        it), ``DiskFull`` or ``DiskFailed``. A damaged file is no error: see ``recovered``.
        """
        connection, recovered = await run(opening.open_file, path, now(), check_seconds)
        return cls(path, connection, run, recovered, now)

    @staticmethod
    async def remove(path: Path, run: Run) -> None:
        """Delete a closed outbox with everything that was ever set aside of it."""

        def delete() -> None:
            for file in recovery.belongings(path):
                file.unlink(missing_ok=True)

        await run(delete)

    @property
    def recovered(self) -> Recovery | None:
        """What became of a damaged file, told again at each opening until it is dismissed."""
        return self._recovered

    async def dismiss_recovery(self) -> None:
        """Take note of the recovery; the file set aside stays where it is."""
        await self._database.write(recovery.dismiss)
        self._recovered = None

    async def close(self) -> None:
        """Finish what was begun and let go of the file."""
        self._cancel_timer()
        await self._database.close()

    async def add(self, capture: Capture) -> Added:
        """Take a capture in. When this returns, the device may erase it.

        A capture with a fault goes into quarantine; what the device still had and offers again
        is counted and not kept twice; of a log that begins with such captures only the new
        frames are kept. What may be a repetition is kept whole, and marked.
        """
        key = capture.device.key
        unnoted = key in self._unnoted

        def work(connection: sqlite3.Connection) -> Added:
            if unnoted:
                records.erased(connection, key)
            return records.add(connection, capture, self._now())

        added = await self._database.write(work)
        if unnoted:
            self._unnoted.discard(key)
        return added

    async def erased(self, key: DeviceKey) -> None:
        """Note that a device has confirmed the erase of whatever it has offered so far.

        From now on the same content is new. A note that fails is made with the next capture.
        """
        self._unnoted.add(key)
        await self._database.write(lambda c: records.erased(c, key))
        self._unnoted.discard(key)

    async def held(self, ids: Iterable[int]) -> None:
        """Note that a device was not told to erase these captures, and offers them again."""
        noted = tuple(ids)
        await self._database.write(lambda c: records.held(c, noted))

    async def set_destinations(self, wanted: Mapping[str, float]) -> None:
        """Make ready for exactly these destinations: each by its ID, and what it asks for.

        That is the moment (Unix seconds) since when it wants captures: one that is new gets what
        was stored since then and is still here. Of one that is not named any longer everything is
        forgotten, but no capture.
        """
        copied = dict(wanted)
        await self._database.write(lambda c: deliveries.set_destinations(c, copied, self._now()))

    def queue(self, destination: str) -> Queue:
        """Return what waits for one of the destinations."""
        return Queue(self._database, destination, self._now)

    async def quarantine(self, capture_id: int, reason: str) -> bool:
        """Take a capture that can never be delivered anywhere out of its device's way.

        ``reason`` is a ``CaptureFault`` (or "damaged"). False when nobody waits for it.
        """
        return await self._database.write(
            lambda c: records.set_fault(c, capture_id, reason, self._now())
        )

    async def retry(self, capture_id: int) -> bool:
        """Let a quarantined capture wait again, at its old place. False if it was not in it."""
        return await self._database.write(lambda c: records.retry(c, capture_id, self._now()))

    async def discard(self, capture_id: int) -> bool:
        """Delete a capture because its owner says so. False when it is not here."""
        return await self._database.write(lambda c: records.discard(c, capture_id))

    async def read(self, capture_id: int) -> Capture:
        """Load one capture with its bytes, in whatever state; raises ``NoSuchCapture``."""
        return await self._database.read(lambda c: queries.read(c, capture_id))

    async def listing(
        self,
        key: DeviceKey | None = None,
        *,
        states: Collection[CaptureState] = tuple(CaptureState),
        limit: int | None = None,
    ) -> list[Row]:
        """Describe captures, newest first, without loading their bytes."""
        return await self._database.read(lambda c: queries.listing(c, key, states, limit))

    async def logs(self, key: DeviceKey) -> list[tuple[float, int]]:
        """Return when each log of a device was captured (Unix seconds), and its ID."""
        return await self._database.read(lambda c: queries.logs(c, key))

    async def counters(self) -> Mapping[DeviceKey, DeviceCounters]:
        """Read the counters of every device; ``DeviceCounters.total`` adds them up."""
        return await self._database.read(lambda c: queries.counters(c, self._now()))

    async def delivery_counters(self) -> Mapping[str, Mapping[DeviceKey, DestinationCounters]]:
        """Read the counters of every destination, by device."""
        return await self._database.read(lambda c: queries.delivery_counters(c, self._now()))

    async def space(self) -> Space:
        """Tell how much room there is; ``Space.has_room`` decides whether to collect."""

        def measure(connection: sqlite3.Connection) -> Space:
            return Space(
                free=shutil.disk_usage(self._path.parent).free,
                file=files.size(self._path),
                undelivered=queries.undelivered_bytes(connection),
            )

        return await self._database.read(measure)

    async def sweep(self, *, days: float, megabytes: float) -> int:
        """Delete captures that nobody waits for and that are too old or too many, oldest first.

        Captures that a destination waits for, or that are in quarantine, are never touched.
        Counters and the memory of contents stay, the file shrinks. Returns how many captures went.
        """
        before = self._now() - days * _DAY
        apply_retention = partial(
            records.apply_retention, before=before, megabytes=megabytes, most=_RETAINED_AT_ONCE
        )
        gone = 0
        while step := await self._database.write(apply_retention):
            gone += step
        while await self._database.read(_vacuum):
            pass
        return gone

    async def checkpoint(self) -> None:
        """Bring the log into the file, unless it is frozen."""
        if not self._database.frozen:
            await self._database.read(database.checkpoint)

    async def freeze(self, seconds: float = _LONGEST_FREEZE) -> None:
        """Leave the file itself unchanged so that it can be copied; nobody has to wait.

        What is added meanwhile is written to the log beside it, of which any beginning is as good
        as the whole: a copy of both is consistent whenever it is made. Ends by ``thaw``, or by
        itself after ``seconds``.
        """
        self._cancel_timer()
        if not self._database.frozen:
            await self._database.read(database.freeze)
            self._database.frozen = True
        self._thaw_timer = asyncio.get_running_loop().call_later(seconds, self._thaw_late)

    async def thaw(self) -> None:
        """End a freeze."""
        self._cancel_timer()
        if self._database.frozen:
            self._database.frozen = False
            await self._database.read(database.thaw)

    @asynccontextmanager
    async def frozen(self, seconds: float = _LONGEST_FREEZE) -> AsyncIterator[None]:
        """Keep the file unchanged inside."""
        await self.freeze(seconds)
        try:
            yield
        finally:
            await self.thaw()

    def _thaw_late(self) -> None:
        self._thawing = asyncio.get_running_loop().create_task(self.thaw())

    def _cancel_timer(self) -> None:
        if self._thaw_timer is not None:
            self._thaw_timer.cancel()
            self._thaw_timer = None


def _vacuum(connection: sqlite3.Connection) -> bool:
    """Give some free pages back to the disk; tells whether there are more to give.

    A file that was made without auto_vacuum keeps its free pages, to use them again.
    """
    before = _free_pages(connection)
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
    return 0 < _free_pages(connection) < before


def _free_pages(connection: sqlite3.Connection) -> int:
    pages: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
