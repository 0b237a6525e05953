"""The accounts' secrets, each account's in a file that only Home Assistant's own user can read.

Home Assistant keeps config entries in a file that every user of the machine can read, so an
entry holds everything of its account but the private key and the API token.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.singleton import singleton
from homeassistant.helpers.storage import Store

from ..cloud.ulogger.certificate_files import without_keys
from ..const import (
    CONF_API_TOKEN,
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_CLIENT_SUFFIX,
    CONF_PRIVATE_KEY,
    DOMAIN,
)

_LOGGER = logging.getLogger(__name__)

STORAGE_VERSION = 1

type Secrets = dict[str, str]
"""The private key and the API token under their names; what an account does not have is missing."""


class SecretsNotKept(HomeAssistantError):
    """The disk did not take the secrets; what was there before may be there still."""


async def async_keep_key(
    hass: HomeAssistant, suffix: str, data: Mapping[str, Any]
) -> dict[str, Any]:
    """Put the key in *data* on disk, or forget an earlier one if there is none; return the rest.

    An API token in it goes there, too; without one an earlier one stays. ``suffix`` names the
    account: it is made once and never changes. Raises SecretsNotKept.
    """
    rest = dict(data)
    changes = {CONF_PRIVATE_KEY: rest.pop(CONF_PRIVATE_KEY, None)}
    if CONF_API_TOKEN in rest:
        changes[CONF_API_TOKEN] = rest.pop(CONF_API_TOKEN)
    await _async_change(hass, suffix, changes)
    return rest


async def async_keep_token(hass: HomeAssistant, entry: ConfigEntry[Any], token: str) -> bool:
    """Put the API token on disk, or forget it if it is empty; return whether it is another one.

    Raises SecretsNotKept.
    """
    return await _async_change(hass, entry.data[CONF_CLIENT_SUFFIX], {CONF_API_TOKEN: token})


async def async_keep_secret(
    hass: HomeAssistant, entry: ConfigEntry[Any], name: str, secret: str | None
) -> None:
    """Put a secret of a destination on disk under a name of its own, or forget it.

    Raises SecretsNotKept.
    """
    await _async_change(hass, entry.data[CONF_CLIENT_SUFFIX], {name: secret})


async def async_load_secrets(hass: HomeAssistant, entry: ConfigEntry[Any]) -> Secrets:
    """Return what the account has of key and token."""
    stored: Secrets = {}
    if (suffix := entry.data.get(CONF_CLIENT_SUFFIX)) is not None:
        stored = await _store(hass, suffix).async_load() or {}
    return {**stored, **_in_entry(entry)}


async def async_load_key(hass: HomeAssistant, entry: ConfigEntry[Any]) -> str | None:
    """Return the account's key; None when it has none or its file is gone."""
    return (await async_load_secrets(hass, entry)).get(CONF_PRIVATE_KEY)


async def async_take_secrets_out(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Have the entry hold no secret: earlier versions kept some there.

    Key and token move to their own file, and stay where they are if the disk does not take
    them. A key that was uploaded together with a certificate is cut off it.
    """
    data, options = dict(entry.data), dict(entry.options)
    for name in (CONF_CERTIFICATE, CONF_CA):
        if text := data.get(name):
            data[name] = await hass.async_add_executor_job(without_keys, text)
    if not (secrets := _in_entry(entry)) or await _async_move(hass, entry, secrets):
        data.pop(CONF_PRIVATE_KEY, None)
        options.pop(CONF_API_TOKEN, None)
    hass.config_entries.async_update_entry(entry, data=data, options=options)


async def async_remove_secrets(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete the account's key and token."""
    await _store(hass, entry.data[CONF_CLIENT_SUFFIX]).async_remove()


async def _async_move(hass: HomeAssistant, entry: ConfigEntry[Any], secrets: Secrets) -> bool:
    try:
        await _async_change(hass, entry.data[CONF_CLIENT_SUFFIX], secrets)
    except SecretsNotKept as err:
        _LOGGER.warning("%s: key and token stay in the config entry: %s", entry.title, err)
        return False
    return True


async def _async_change(
    hass: HomeAssistant, suffix: str, changes: Mapping[str, str | None]
) -> bool:
    """Change some secrets of an account and leave the others; return whether that is a change."""
    # Two forms may be saved at one time, and each writes the whole file.
    async with _lock(hass):
        before = await _store(hass, suffix).async_load() or {}
        after = {name: value for name, value in {**before, **changes}.items() if value}
        if after == before:
            return False
        if not after:
            await _store(hass, suffix).async_remove()
            return True
        await _store(hass, suffix).async_save(after)
        # A store only logs what the disk says; nobody may let go of a key that is not there.
        if await _store(hass, suffix).async_load() != after:
            raise SecretsNotKept("the disk did not take them; is it full or read-only?")
        return True


def _in_entry(entry: ConfigEntry[Any]) -> Secrets:
    """Return the secrets that an earlier version left in the entry."""
    left = {
        CONF_PRIVATE_KEY: entry.data.get(CONF_PRIVATE_KEY),
        CONF_API_TOKEN: entry.options.get(CONF_API_TOKEN),
    }
    return {name: str(value) for name, value in left.items() if value}


def _store(hass: HomeAssistant, suffix: str) -> Store[Secrets]:
    return Store(hass, STORAGE_VERSION, f"{DOMAIN}.key.{suffix}", private=True, atomic_writes=True)


@singleton(f"{DOMAIN}.secrets_lock")
def _lock(hass: HomeAssistant) -> asyncio.Lock:
    """Return the lock of all accounts' files."""
    return asyncio.Lock()
