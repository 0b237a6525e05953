"""Keys of destinations, each destination's in a private file, written all or nothing.

The config subentry holds only the file's ID: Home Assistant keeps subentries where every user of
the machine can read them.
"""

import secrets
from pathlib import Path
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import STORAGE_DIR, Store

from ..const import CONF_CLIENT_SUFFIX, CONF_KEYS, DOMAIN
from .key_store import SecretsNotKept

STORAGE_VERSION: Final = 1

type StoredKeys = dict[str, Any]


def new_keys_id() -> str:
    """Return an ID for keys that are to be kept; nobody guesses it, nobody has to."""
    return secrets.token_hex(8)


async def async_keep_keys(
    hass: HomeAssistant, entry: ConfigEntry[Any], keys_id: str, keys: StoredKeys
) -> None:
    """Put keys on disk; raises SecretsNotKept, and then what was there before is there still."""
    store = _store(hass, entry, keys_id)
    await store.async_save(keys)
    # A store only logs what the disk says; nobody may let go of a key that is not there.
    if await _store(hass, entry, keys_id).async_load() != keys:
        raise SecretsNotKept("the disk did not take them; is it full or read-only?")


async def async_load_keys(
    hass: HomeAssistant, entry: ConfigEntry[Any], keys_id: str
) -> StoredKeys | None:
    """Return what was kept, None where there is nothing."""
    return await _store(hass, entry, keys_id).async_load()


async def async_remove_keys(hass: HomeAssistant, entry: ConfigEntry[Any], keys_id: str) -> None:
    """Delete keys."""
    await _store(hass, entry, keys_id).async_remove()


async def async_tidy_keys(
    hass: HomeAssistant, entry: ConfigEntry[Any], *, all_of_them: bool = False
) -> None:
    """Delete keys that no destination of an account has any longer, or all of the account."""
    kept = (
        set() if all_of_them else {each.data.get(CONF_KEYS) for each in entry.subentries.values()}
    )
    prefix = _name(entry, "")
    for found in await hass.async_add_executor_job(_found, hass, prefix):
        if found not in kept:
            await async_remove_keys(hass, entry, found)


def _found(hass: HomeAssistant, prefix: str) -> list[str]:
    directory = Path(hass.config.path(STORAGE_DIR))
    return [path.name.removeprefix(prefix) for path in directory.glob(f"{prefix}*")]


def _name(entry: ConfigEntry[Any], keys_id: str) -> str:
    return f"{DOMAIN}.key.{entry.data[CONF_CLIENT_SUFFIX]}.{keys_id}"


def _store(hass: HomeAssistant, entry: ConfigEntry[Any], keys_id: str) -> Store[StoredKeys]:
    name = _name(entry, keys_id)
    return Store(hass, STORAGE_VERSION, name, private=True, atomic_writes=True)
