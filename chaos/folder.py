"""A directory for captures that becomes unusable for a while, as disks and shares do.

It lies on a small disk of its own. Without the right to mount one it can only go away; the
report names what is left out then.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from .disk import SmallDisk
from .verdict import Outage

SIZE: Final = 32 * 1024 * 1024
GONE, UNMOUNTED, FULL, UNWRITABLE = "gone", "unmounted", "full", "unwritable"
TRIES: Final = 40
PAUSE: Final = 0.05


class FrailFolder:
    """The directory, and the times when it could not be used."""

    def __init__(self, place: Path) -> None:
        self.path = place / "captures"
        self.disk = SmallDisk(place, SIZE)
        self.dead: list[Outage] = []
        self._away = place / "elsewhere"

    @property
    def ways(self) -> tuple[str, ...]:
        """How it can become unusable on this machine."""
        return (GONE, UNMOUNTED, FULL, UNWRITABLE) if self.disk.available else (GONE, UNMOUNTED)

    @contextlib.asynccontextmanager
    async def unusable(self, how: str) -> AsyncIterator[None]:
        """Have it be unusable inside, in one of its ``ways``."""
        start = time.time()
        spoiling = asyncio.create_task(self._spoil(how))
        try:
            # A thread can't be cancelled: what it has begun must end before it is mended.
            await asyncio.shield(spoiling)
            yield
        finally:
            await asyncio.wait([spoiling])
            await asyncio.shield(asyncio.create_task(self._mend(how)))
            self.dead.append(Outage(start, time.time()))

    async def _spoil(self, how: str) -> None:
        if how == FULL:
            await asyncio.to_thread(self.disk.fill)
        elif how == UNWRITABLE:
            # Refused as long as a file is being written.
            for _ in range(TRIES):
                if await asyncio.to_thread(self.disk.set_read_only, True):
                    return
                await asyncio.sleep(PAUSE)
            raise OSError(f"{self.disk.mount_point} can't be made read-only")
        else:
            self.path.rename(self._away)
            if how == UNMOUNTED:
                self.path.mkdir()

    async def _mend(self, how: str) -> None:
        if how == FULL:
            await asyncio.to_thread(self.disk.clear)
        elif how == UNWRITABLE:
            await asyncio.to_thread(self.disk.set_read_only, False)
        else:
            if how == UNMOUNTED:
                self._uncover()
            self._away.rename(self.path)

    def _uncover(self) -> None:
        """Take the empty directory away; what is in it after all is out of sight, as on a disk."""
        try:
            self.path.rmdir()
        except OSError:
            self.path.rename(self.path.with_name(f"underneath-{len(self.dead)}"))
