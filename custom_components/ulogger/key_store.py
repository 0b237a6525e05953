"""The accounts' private keys, each in a file that only Home Assistant's own user can read.

Home Assistant keeps config entries in a file that every user of the machine can read, so an
entry holds everything of its account but the key.
"""

from collections.abc import Mapping
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store

from .const import CONF_CLIENT_SUFFIX, CONF_PRIVATE_KEY, DOMAIN

STORAGE_VERSION = 1


async def async_keep_key(
    hass: HomeAssistant, suffix: str, data: Mapping[str, Any]
) -> dict[str, Any]:
    """Put the key in *data* on disk, or forget an earlier one if there is none; return the rest.

    ``suffix`` names the account: it is made once and never changes.
    """
    rest = dict(data)
    key = rest.pop(CONF_PRIVATE_KEY, None)
    if key is None:
        await _store(hass, suffix).async_remove()
    else:
        await _store(hass, suffix).async_save({CONF_PRIVATE_KEY: key})
    return rest


async def async_load_key(hass: HomeAssistant, entry: ConfigEntry[Any]) -> str | None:
    """Return the account's key; None when it has none or its file is gone."""
    if (key := entry.data.get(CONF_PRIVATE_KEY)) is not None:
        return str(key)
    stored = await _store(hass, entry.data[CONF_CLIENT_SUFFIX]).async_load()
    return None if stored is None else stored[CONF_PRIVATE_KEY]


async def async_take_key_out(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Move a key that still stands in the entry (of an earlier version) to its own file."""
    if CONF_PRIVATE_KEY in entry.data:
        rest = await async_keep_key(hass, entry.data[CONF_CLIENT_SUFFIX], entry.data)
        hass.config_entries.async_update_entry(entry, data=rest)


async def async_remove_key(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete the account's key."""
    await _store(hass, entry.data[CONF_CLIENT_SUFFIX]).async_remove()


def _store(hass: HomeAssistant, suffix: str) -> Store[dict[str, str]]:
    return Store(hass, STORAGE_VERSION, f"{DOMAIN}.key.{suffix}", private=True, atomic_writes=True)
