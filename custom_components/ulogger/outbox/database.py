"""One SQLite file and its single connection: jobs in turn, and commits shared.

Jobs run through the injected executor, one group at a time, in the order they came. Writes that
wait together are committed together, with one fsync; each is answered only after it. A job that
fails takes nobody with it: its group is rolled back and every job of it committed alone. On a
full disk the log is brought into the file first, which gives room back.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from . import files
from .errors import DiskFull, OutboxClosed, OutboxDamaged, OutboxError, as_outbox_error
from .transactions import settle, transaction

type Run = Callable[..., Awaitable[Any]]
"""Runs a blocking callable with its arguments elsewhere: ``hass.async_add_executor_job``."""

type Work[T] = Callable[[sqlite3.Connection], T]

SUSPECT: Final = "-suspect"
"""Stands beside a file in which damage was met, until the next opening has dealt with it."""

_LARGEST_GROUP: Final = 128
_BUSY_SECONDS: Final = 1.0
_LOG_PAGES: Final = 1000
_LOG_BYTES: Final = 4 * 1024 * 1024


def connect(path: Path) -> sqlite3.Connection:
    """Open a file alone, touching nothing in it yet; errors are SQLite's own.

    Exclusive locking keeps other processes off an outbox (they would deliver it twice) and needs
    no shared memory, which some disks do not have. Closing never writes back the log until
    ``make_durable`` has been called.
    """
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _text
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _text(raw: bytes) -> str:
    """Read damaged text as well: what matters is sealed, and its seal tells."""
    return raw.decode(errors="replace")


def make_durable(connection: sqlite3.Connection) -> None:
    """Prepare a file for writing: what is committed has reached the disk."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    thaw(connection)


def abandon(connection: sqlite3.Connection) -> None:
    """Close a file without bringing its log into it."""
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
    connection.close()


def checkpoint(connection: sqlite3.Connection) -> None:
    """Bring the log into the file and empty it."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def freeze(connection: sqlite3.Connection) -> None:
    """Bring the log into the file, then leave the file alone: writes go to the log only."""
    checkpoint(connection)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


def thaw(connection: sqlite3.Connection) -> None:
    """Let the log be brought into the file again, now and then."""
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, False)


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    writes: bool
    answer: asyncio.Future[Any]


class Database:
    """The connection and the queue in front of it."""

    def __init__(self, connection: sqlite3.Connection, path: Path, run: Run) -> None:
        self._connection = connection
        self._path = path
        self._run = run
        self._queue: deque[_Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False
        self._in_use = threading.Lock()
        self.frozen = False

    async def write[T](self, work: Work[T]) -> T:
        """Do work in a transaction; when this returns, it is on disk.

        The work may be done twice (the first time rolled back). A cancelled call may still be
        carried out. Raises what the work raises, or an ``OutboxError``.
        """
        return await self._submit(work, writes=True)

    async def read[T](self, work: Work[T]) -> T:
        """Do work outside any transaction, after what was asked before it."""
        return await self._submit(work, writes=False)

    async def close(self) -> None:
        """Finish what was begun, then let go of the file."""
        if self._closed:
            return
        self._closed = True
        while self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker])
        await self._run(self._close)

    def _close(self) -> None:
        with self._in_use:
            self._connection.close()

    async def _submit[T](self, work: Work[T], *, writes: bool) -> T:
        if self._closed:
            raise OutboxClosed("the outbox is closed")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Job(work, writes, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work_off())
        return await answer

    async def _work_off(self) -> None:
        while self._queue:
            group = self._next_group()
            if not group:
                continue
            works = [job.work for job in group]
            perform = self._commit if group[0].writes else self._look
            done = asyncio.get_running_loop().create_task(self._elsewhere(perform, works))
            await asyncio.wait([done])
            self._answer(group, done)

    async def _elsewhere(
        self, perform: Callable[[list[Work[Any]]], list[Any]], works: list[Work[Any]]
    ) -> list[Any]:
        """Run in the executor; one that takes no more work fails the group, not the queue."""
        results: list[Any] = await self._run(perform, works)
        return results

    def _next_group(self) -> list[_Job]:
        """Take what can be done in one go from the front, without what nobody waits for."""
        writes = self._queue[0].writes
        group = list(takewhile(lambda job: job.writes is writes, self._queue))[:_LARGEST_GROUP]
        for _ in group:
            self._queue.popleft()
        return [job for job in group if not job.answer.done()]

    def _answer(self, group: list[_Job], done: asyncio.Future[list[Any]]) -> None:
        error = done.exception()
        results = [error] * len(group) if error is not None else done.result()
        for job, result in zip(group, results, strict=True):
            if job.answer.done():
                continue
            if isinstance(result, BaseException):
                job.answer.set_exception(result)
            else:
                job.answer.set_result(result)

    def _commit(self, works: list[Work[Any]]) -> list[Any]:
        with self._in_use:
            results = self._attempt(lambda _: self._together(works))
            if isinstance(results, DiskFull) and not self.frozen:
                self._attempt(checkpoint)
                results = self._attempt(lambda _: self._together(works))
            if not isinstance(results, OutboxError):
                return list(results)
            if len(works) == 1:
                return [results]
            return [self._alone(work) for work in works]

    def _look(self, works: list[Work[Any]]) -> list[Any]:
        with self._in_use:
            return [self._attempt(work) for work in works]

    def _together(self, works: list[Work[Any]]) -> list[Any]:
        with transaction(self._connection):
            return [work(self._connection) for work in works]

    def _alone(self, work: Work[Any]) -> Any:
        alone = self._attempt(lambda _: self._together([work]))
        return alone if isinstance(alone, OutboxError) else alone[0]

    def _attempt(self, work: Work[Any]) -> Any:
        """Do work; an error of the disk or of the room is its result."""
        try:
            settle(self._connection)
            return work(self._connection)
        except OutboxError as error:
            return error
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            failure = as_outbox_error(error)
            failure.__cause__ = error
            if isinstance(failure, OutboxDamaged):
                with contextlib.suppress(OSError):
                    files.companion(self._path, SUSPECT).touch(mode=0o600)
            return failure
