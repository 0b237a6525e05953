"""The watched folder: a build puts an image there, and it explains captures a minute later.

The folder is looked at every half minute; notifications of file systems are not to be relied
on over a network. A file is taken once, when it did not change from one look to the next. One
that can't be used is shown until it is changed or gone, and is not read again before.
"""

import asyncio
import logging
import os
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.event import async_track_time_interval

from ..account.account import Account
from ..account.firmware_files import FirmwareFiles, Stamp
from ..account.firmware_images import FirmwareRefused, image_title, read_image_file
from ..firmware.image_version import key_of_name
from ..firmware.matching import ImageKey
from .images import Images

_LOGGER = logging.getLogger(__name__)

LOOK_EVERY: Final = timedelta(seconds=30)
ENDINGS: Final = frozenset({".elf", ".axf", ".out"})
MOST_FILES: Final = 500
"""Of more, those that were changed last are looked at."""


class RefusedFile(NamedTuple):
    """A file of the folder that can't be used, and why."""

    stamp: Stamp
    reason: str
    detail: str


class FirmwareFolder:
    """The folder that an account takes firmware images from.

    ``refused`` names the files that can't be used; ``missing`` says whether the folder itself
    can't be read, and why.
    """

    def __init__(self, account: Account, images: Images) -> None:
        self.path = account.settings.firmware_folder
        self.refused: dict[str, RefusedFile] = {}
        self.missing = ""
        self._account = account
        self._hass = account.hass
        self._images = images
        self._files = FirmwareFiles(account.hass, account.entry_id)
        self._seen: dict[str, Stamp] = {}
        self.task: asyncio.Task[None] | None = None

    async def async_start(self) -> None:
        """Look from time to time until the account is unloaded."""
        if not self.path:
            return
        await self._files.async_load()
        on_unload = self._account.entry.async_on_unload
        on_unload(
            async_track_time_interval(self._hass, self._begin, LOOK_EVERY, cancel_on_shutdown=True)
        )

    @callback
    def _begin(self, _now: datetime) -> None:
        if self.task is None or self.task.done():
            self.task = self._account.entry.async_create_background_task(
                self._hass, self._take_new(), f"firmware images in {self.path}"
            )

    async def _take_new(self) -> None:
        """Import what is new and has not changed since the last look."""
        shown = self.missing, dict(self.refused)
        try:
            found = await self._hass.async_add_executor_job(_list, Path(self.path))
        except OSError as err:
            self.missing = err.strerror or type(err).__name__
            found = None
        else:
            self.missing = ""
        if found is not None:
            before, self._seen = self._seen, found
            self.refused = {
                name: each for name, each in self.refused.items() if found.get(name) == each.stamp
            }
            await self._files.async_keep_only(set(found))
            for name, stamp in found.items():
                unchanged = before.get(name) == stamp
                if unchanged and name not in self.refused and not self._files.known(name, stamp):
                    await self._take(name, stamp)
        if shown != (self.missing, self.refused):
            self._account.changed.notify()

    async def _take(self, name: str, stamp: Stamp) -> None:
        path = Path(self.path, name)
        read = partial(read_allowed_image, self._hass, path)
        try:
            added = await self._images.async_add(read, ImageKey(), name, key_of_name(name))
        except FirmwareRefused as err:
            _LOGGER.warning("%s is no firmware image that can be used: %s", path, err)
            self.refused[name] = RefusedFile(stamp, err.reason, str(err))
            return
        await self._files.async_remember(name, stamp)
        _LOGGER.info("%s was added as the firmware image %s", path, image_title(added.key))


def read_allowed_image(hass: HomeAssistant, path: Path) -> bytes:
    """Read a file that Home Assistant may read; blocks, raises OSError and FirmwareRefused."""
    if not hass.config.is_allowed_path(str(path)):
        raise FirmwareRefused("path_not_allowed", f"{path} is outside of the allowed directories")
    return read_image_file(path)


def _list(folder: Path) -> dict[str, Stamp]:
    """Name the images in a folder, the latest last; blocks, raises OSError."""
    found: dict[str, Stamp] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if Path(entry.name).suffix.lower() not in ENDINGS:
                continue
            with suppress(OSError):
                status = entry.stat()
                if entry.is_file():
                    found[entry.name] = Stamp(status.st_size, status.st_mtime_ns)
    latest = sorted(found.items(), key=lambda each: each[1].changed_at)
    return dict(latest[-MOST_FILES:])
