"""The directories that captures of an account go to, each a config subentry."""

from pathlib import Path
from typing import Any

from homeassistant.config_entries import (
    SIGNAL_CONFIG_ENTRY_CHANGED,
    ConfigEntry,
    ConfigEntryChange,
)
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.dispatcher import async_dispatcher_connect

from ..account.account import Account
from ..account.settings import MEGABYTE
from ..cloud.folder.folder import FolderDestination
from ..const import CONF_KEEP_DAYS, CONF_KEEP_MB, CONF_PATH, DESTINATION_SUBENTRIES, SUBENTRY_FOLDER
from .destinations import ActiveDestination


def folder_destinations(account: Account) -> list[ActiveDestination]:
    """Make the account's directories; nothing is written yet."""
    found = []
    for subentry in account.entry.subentries.values():
        if subentry.subentry_type != SUBENTRY_FOLDER:
            continue
        folder = FolderDestination(
            subentry.subentry_id,
            Path(subentry.data[CONF_PATH]),
            account.hass.async_add_executor_job,
            days=subentry.data[CONF_KEEP_DAYS],
            most_bytes=round(subentry.data[CONF_KEEP_MB] * MEGABYTE),
        )
        found.append(ActiveDestination(account, folder, subentry.title, subentry.subentry_id))
    return found


@callback
def reload_on_change(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Load the account anew once a destination was added, changed, renamed or removed.

    An update listener would do that for every change of the entry, also of a name or an option.
    """
    in_use = _as_set_up(entry)
    due = False

    @callback
    def look(change: ConfigEntryChange, changed: ConfigEntry[Any]) -> None:
        nonlocal due
        if changed is not entry or change is not ConfigEntryChange.UPDATED or due:
            return
        if _as_set_up(entry) != in_use:
            due = True
            hass.config_entries.async_schedule_reload(entry.entry_id)

    entry.async_on_unload(async_dispatcher_connect(hass, SIGNAL_CONFIG_ENTRY_CHANGED, look))


def _as_set_up(entry: ConfigEntry[Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what destinations are made of; a subentry itself changes in place."""
    return {
        subentry_id: (each.title, dict(each.data))
        for subentry_id, each in entry.subentries.items()
        if each.subentry_type in DESTINATION_SUBENTRIES
    }
