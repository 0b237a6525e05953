"""What a UDMI gateway remembers over restarts, in a private file of each.

Starts, the endpoint that a site has sent it to, the IDs of its proxies, which generations of blobs
were applied, and what points were set to. Every change is on disk before the call returns.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import STORAGE_DIR, Store

from ..const import DOMAIN, SUBENTRY_UDMI

STORAGE_VERSION: Final = 1


class UdmiMemory:
    """One gateway's, loaded once; values are what JSON knows."""

    def __init__(self, hass: HomeAssistant, entry_id: str, subentry_id: str) -> None:
        self._hass = hass
        self._name = f"{_prefix(entry_id)}{subentry_id}"
        self._store: Store[dict[str, Any]] = self._make_store()
        self._kept: dict[str, Any] = {}
        self._saving = asyncio.Lock()

    def _make_store(self) -> Store[dict[str, Any]]:
        return Store(self._hass, STORAGE_VERSION, self._name, private=True, atomic_writes=True)

    async def async_load(self) -> None:
        """Read what was kept."""
        self._kept = await self._store.async_load() or {}

    def get(self, name: str, default: Any = None) -> Any:
        """Return what is kept under a name."""
        return self._kept.get(name, default)

    async def async_keep(self, name: str, value: Any) -> None:
        """Put a value on disk, or forget it where it is None; raises OSError.

        What was there before is there still when the disk does not take it.
        """
        async with self._saving:
            after = {key: kept for key, kept in self._kept.items() if key != name}
            if value is not None:
                after[name] = value
            if after == self._kept:
                return
            await self._store.async_save(after)
            # A store only logs what the disk says.
            if await self._make_store().async_load() != after:
                raise OSError("the disk did not take it; is it full or read-only?")
            self._kept = after

    async def async_remove(self) -> None:
        """Delete the file."""
        await self._store.async_remove()


async def async_tidy_memories(
    hass: HomeAssistant, entry_id: str, kept: Collection[str] = ()
) -> None:
    """Delete the files of an account's gateways that are there no longer."""
    for gone in await hass.async_add_executor_job(_others, hass, entry_id, kept):
        await UdmiMemory(hass, entry_id, gone).async_remove()


async def async_remove_udmi(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete what the gateways of a removed account remembered; keys go with the others."""
    for each in entry.get_subentries_of_type(SUBENTRY_UDMI):
        await UdmiMemory(hass, entry.entry_id, each.subentry_id).async_remove()


def _prefix(entry_id: str) -> str:
    return f"{DOMAIN}.udmi.{entry_id}."


def _others(hass: HomeAssistant, entry_id: str, kept: Collection[str]) -> list[str]:
    """Name the gateways that have a file and are not among those that are kept; blocks."""
    prefix = _prefix(entry_id)
    found = Path(hass.config.path(STORAGE_DIR)).glob(f"{prefix}*")
    return [name for path in found if (name := path.name.removeprefix(prefix)) not in kept]
