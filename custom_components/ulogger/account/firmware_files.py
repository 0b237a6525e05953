"""Which files of the watched folder were imported already, across restarts."""

from typing import NamedTuple, TypedDict

from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store

from ..const import DOMAIN

STORAGE_VERSION = 1


class Stamp(NamedTuple):
    """What tells that a file is another one: bytes, and nanoseconds since 1970."""

    size: int
    changed_at: int


class _Stored(TypedDict):
    files: dict[str, tuple[int, int]]


class FirmwareFiles:
    """The files that were imported, by name, each as it was then."""

    def __init__(self, hass: HomeAssistant, entry_id: str) -> None:
        key = f"{DOMAIN}.{entry_id}.firmware"
        self._store = Store[_Stored](hass, STORAGE_VERSION, key, private=True, atomic_writes=True)
        self._stamps: dict[str, Stamp] = {}

    async def async_load(self) -> None:
        """Read the file, if there is one."""
        stored = await self._store.async_load()
        if stored is not None:
            self._stamps = {name: Stamp(*stamp) for name, stamp in stored["files"].items()}

    def known(self, name: str, stamp: Stamp) -> bool:
        """Whether this very file was imported."""
        return self._stamps.get(name) == stamp

    async def async_remember(self, name: str, stamp: Stamp) -> None:
        """Note that a file was imported."""
        self._stamps[name] = stamp
        await self._store.async_save({"files": {**self._stamps}})

    async def async_keep_only(self, names: set[str]) -> None:
        """Forget files that are gone."""
        if gone := self._stamps.keys() - names:
            for name in gone:
                del self._stamps[name]
            await self._store.async_save({"files": {**self._stamps}})

    async def async_remove(self) -> None:
        """Delete the file."""
        await self._store.async_remove()
