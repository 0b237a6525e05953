"""What a UDMI site has to know of a gateway's key, for whoever registers the gateway there."""

from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant

from ..cloud.udmi.keys import KeyUnusable, public_pem
from ..const import CONF_CERTIFICATE, CONF_PRIVATE_KEY
from .destination_keys import StoredKeys, async_load_keys

CONF_PASSWORD: Final = "password"  # noqa: S105 - its name


def registration_path(entry_id: str, keys_id: str) -> str:
    """Where the public part of a gateway's key can be downloaded."""
    return f"/api/ulogger/{entry_id}/udmi_keys/{keys_id}"


async def async_registration(
    hass: HomeAssistant, entry: ConfigEntry[Any], keys_id: str
) -> str | None:
    """Return public key and certificate in PEM, None where there is no key."""
    stored = await async_load_keys(hass, entry, keys_id)
    if stored is None or not stored.get(CONF_PRIVATE_KEY):
        return None
    try:
        return await hass.async_add_executor_job(registration, stored)
    except KeyUnusable:
        return None


def registration(stored: StoredKeys) -> str:
    """Return public key and certificate in PEM; raises KeyUnusable. Blocks."""
    return public_pem(stored[CONF_PRIVATE_KEY]) + str(stored.get(CONF_CERTIFICATE, ""))
