"""Keys of an account's destinations, in one private file that is written all or nothing.

The config subentry holds only the ID under which they stand there: Home Assistant keeps subentries
where every user of the machine can read them.
"""

import asyncio
import secrets
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.singleton import singleton
from homeassistant.helpers.storage import Store

from ..const import CONF_CLIENT_SUFFIX, CONF_KEYS, DOMAIN
from .key_store import SecretsNotKept

STORAGE_VERSION: Final = 1

type StoredKeys = dict[str, Any]


def new_keys_id(hass: HomeAssistant) -> str:
    """Return an ID for keys of a destination that is about to be added.

    An account may be loaded, and tidied, before that has come about: such keys stay.
    """
    keys_id = secrets.token_hex(8)
    _coming(hass).add(keys_id)
    return keys_id


async def async_drop_keys(hass: HomeAssistant, entry: ConfigEntry[Any], keys_id: str) -> None:
    """Delete keys of a destination that was not added after all."""
    _coming(hass).discard(keys_id)
    await async_tidy_keys(hass, entry)


async def async_keep_keys(
    hass: HomeAssistant, entry: ConfigEntry[Any], keys_id: str, keys: StoredKeys
) -> None:
    """Put keys on disk; raises SecretsNotKept where the disk did not take them."""
    async with _lock(hass):
        store = _store(hass, entry)
        after = {**(await store.async_load() or {}), keys_id: keys}
        await store.async_save(after)
        # A store only logs what the disk says; nobody may let go of a key that is not there.
        if await _store(hass, entry).async_load() != after:
            raise SecretsNotKept("the disk did not take them; is it full or read-only?")


async def async_load_keys(
    hass: HomeAssistant, entry: ConfigEntry[Any], keys_id: str
) -> StoredKeys | None:
    """Return what was kept, None where there is nothing."""
    kept = await _store(hass, entry).async_load() or {}
    return kept.get(keys_id)


async def async_tidy_keys(
    hass: HomeAssistant, entry: ConfigEntry[Any], *, all_of_them: bool = False
) -> None:
    """Delete keys that no destination of an account has any longer, or all of the account."""
    async with _lock(hass):
        store = _store(hass, entry)
        before = await store.async_load() or {}
        used = {
            each.data[CONF_KEYS] for each in entry.subentries.values() if CONF_KEYS in each.data
        }
        _coming(hass).difference_update(used)
        staying = set() if all_of_them else used | _coming(hass)
        after = {name: keys for name, keys in before.items() if name in staying}
        if after == before:
            return
        if after:
            await store.async_save(after)
        else:
            await store.async_remove()


def _store(hass: HomeAssistant, entry: ConfigEntry[Any]) -> Store[dict[str, StoredKeys]]:
    name = f"{DOMAIN}.key.{entry.data[CONF_CLIENT_SUFFIX]}.destinations"
    return Store(hass, STORAGE_VERSION, name, private=True, atomic_writes=True)


@singleton(f"{DOMAIN}.destination_keys_lock")
def _lock(hass: HomeAssistant) -> asyncio.Lock:
    """Return the lock of all accounts' files."""
    return asyncio.Lock()


@singleton(f"{DOMAIN}.destination_keys_coming")
def _coming(hass: HomeAssistant) -> set[str]:
    """Return the IDs of keys whose destinations are about to be added."""
    return set()
