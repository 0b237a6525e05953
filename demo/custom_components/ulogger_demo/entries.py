"""Config entries as a test writes them: set up at once, without a form."""

from types import MappingProxyType
from typing import Any

import probatio as vol
from homeassistant.components.websocket_api import async_register_command
from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.decorators import (
    async_response,
    require_admin,
    websocket_command,
)
from homeassistant.config_entries import SOURCE_USER, ConfigEntry, ConfigSubentry
from homeassistant.core import HomeAssistant, callback


@callback
def async_register_commands(hass: HomeAssistant) -> None:
    """Offer the commands to administrators."""
    async_register_command(hass, _add_entry)
    async_register_command(hass, _add_subentry)


@websocket_command(
    {
        vol.Required("type"): "ulogger_demo/add_entry",
        vol.Required("domain"): str,
        vol.Required("version"): int,
        vol.Required("title"): str,
        vol.Required("unique_id"): str,
        vol.Required("data"): dict,
        vol.Required("options"): dict,
    }
)
@require_admin
@async_response
async def _add_entry(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    """Add an entry and set it up; the integration's cards that ask for one go."""
    fields = ("domain", "version", "title", "unique_id", "data", "options")
    entry: ConfigEntry[Any] = ConfigEntry(
        **{name: message[name] for name in fields},
        minor_version=1,
        source=SOURCE_USER,
        discovery_keys=MappingProxyType({}),
        subentries_data=(),
    )
    await hass.config_entries.async_add(entry)
    for card in hass.config_entries.flow.async_progress_by_handler(entry.domain):
        hass.config_entries.flow.async_abort(card["flow_id"])
    connection.send_result(message["id"], {"entry_id": entry.entry_id, "title": entry.title})


@websocket_command(
    {
        vol.Required("type"): "ulogger_demo/add_subentry",
        vol.Required("entry_id"): str,
        vol.Required("subentry_type"): str,
        vol.Required("title"): str,
        vol.Required("data"): dict,
    }
)
@require_admin
@async_response
async def _add_subentry(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    """Add a subentry, and set its entry up anew."""
    entry = hass.config_entries.async_get_known_entry(message["entry_id"])
    subentry = ConfigSubentry(
        data=MappingProxyType(message["data"]),
        subentry_type=message["subentry_type"],
        title=message["title"],
        unique_id=None,
    )
    hass.config_entries.async_add_subentry(entry, subentry)
    await hass.config_entries.async_reload(entry.entry_id)
    connection.send_result(message["id"], {"subentry_id": subentry.subentry_id})
