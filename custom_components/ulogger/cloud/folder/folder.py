"""A directory as a destination: each capture becomes two files in it."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, override

from ...model.capture import Capture
from ..destination import ConnectionState, Destination
from .errors import FolderError
from .writing import Usage, check, store, tidy

type Run = Callable[..., Awaitable[Any]]
"""Runs a blocking callable with its arguments elsewhere: ``hass.async_add_executor_job``."""

LOOK_EVERY: Final = 30.0
"""Seconds between looks at whether a directory that was gone or full is usable again."""
TIDY_EVERY: Final = 3600.0
DAY: Final = 86_400.0


class FolderDestination(Destination):
    """Writes captures into one directory, and keeps it within an age and a size.

    ``days`` and ``most_bytes`` are limits on what stays there, 0 for none. The directory must have
    been prepared (see `writing.prepare`) when it was chosen.
    """

    def __init__(
        self,
        destination_id: str,
        directory: Path,
        run: Run,
        *,
        days: float = 0.0,
        most_bytes: int = 0,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = destination_id
        self.directory = directory
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.failure: FolderError | None = None
        self.usage: Usage | None = None
        self._run = run
        self._days = days
        self._most_bytes = most_bytes
        self._now = now
        self._sleep = sleep
        self._state = ConnectionState.CONNECTING
        self._counters: Counter[str] = Counter()

    @property
    @override
    def state(self) -> ConnectionState:
        """Connected while the directory is there and takes files."""
        return self._state

    @property
    @override
    def connected(self) -> bool:
        return self._state is ConnectionState.CONNECTED

    @override
    async def run(self) -> None:
        """Look after the directory until cancelled."""
        tidied_at = float("-inf")
        while True:
            try:
                await self._run(check, self.directory)
                if self._now() - tidied_at >= TIDY_EVERY:
                    await self._tidy()
                    tidied_at = self._now()
            except FolderError as err:
                self._failed(err)
            else:
                self.failure = None
                self._enter(ConnectionState.CONNECTED)
            await self._sleep(LOOK_EVERY)

    @override
    async def deliver(self, capture: Capture, capture_id: int) -> None:
        """Return once the capture's files are on the disk; raises FolderError.

        After a failure nothing more is tried until a look has found the directory usable again.
        """
        try:
            await self._run(store, self.directory, capture, capture_id)
        except FolderError as err:
            self._failed(err)
            raise
        self._counters["written"] += 1

    async def _tidy(self) -> None:
        before = self._now() - self._days * DAY if self._days else 0.0
        self.usage = await self._run(_tidy, self.directory, before, self._most_bytes)

    def _failed(self, err: FolderError) -> None:
        self._counters[err.reason] += 1
        self.failure = err
        self._enter(ConnectionState.DISCONNECTED)

    def _enter(self, state: ConnectionState) -> None:
        if state is not self._state:
            self._state = state
            if self.on_state is not None:
                self.on_state(state)

    @override
    def diagnostics(self) -> Mapping[str, Any]:
        """Say how the directory is; its path may name a person and is left out."""
        return {
            "counters": dict(self._counters),
            "failure": self.failure.reason if self.failure else None,
            "captures": self.usage.captures if self.usage else None,
            "bytes": self.usage.bytes if self.usage else None,
        }


def _tidy(directory: Path, before: float, most_bytes: int) -> Usage:
    return tidy(directory, before=before, most_bytes=most_bytes)
