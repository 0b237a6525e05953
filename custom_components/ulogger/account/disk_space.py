"""Whether the disk has room for what devices hold; without it nothing is collected."""

from collections.abc import Callable

from ..model.reason import Reason
from ..outbox.outbox import Outbox
from .settings import MEGABYTE, AccountSettings

DISK_RESERVE = 64 * MEGABYTE
"""Bytes that stay free on the disk, whatever devices offer."""


class NoDiskSpace(Exception):
    """There is no room for more captures; devices keep theirs until there is."""

    retryable = True
    reason = Reason.NO_ROOM


class DiskSpace:
    """The space of one account's outbox."""

    def __init__(
        self,
        outbox: Outbox,
        settings: Callable[[], AccountSettings],
        changed: Callable[[], None],
    ) -> None:
        self.enough = True
        self._outbox = outbox
        self._settings = settings
        self._changed = changed

    async def check(self) -> None:
        """Raise NoDiskSpace unless the disk and the budget have room for a session's captures."""
        if not await self.measure():
            raise NoDiskSpace("the disk is full or too many captures wait for the cloud")

    async def measure(self) -> bool:
        """Find out whether there is room."""
        space = await self._outbox.space()
        enough = space.has_room(self._settings().undelivered_budget, DISK_RESERVE)
        if enough is not self.enough:
            self.enough = enough
            self._changed()
        return enough

    async def sweep(self) -> None:
        """Delete what the cloud has and nobody needs here any longer, then measure."""
        settings = self._settings()
        await self._outbox.sweep(
            days=settings.retention_days, megabytes=settings.retention_bytes / MEGABYTE
        )
        await self.measure()
