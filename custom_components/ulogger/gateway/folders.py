"""The directories that captures of an account go to, each a config subentry."""

from pathlib import Path

from ..account.account import Account
from ..account.settings import MEGABYTE
from ..cloud.folder.folder import FolderDestination
from ..const import CONF_KEEP_DAYS, CONF_KEEP_MB, CONF_PATH, SUBENTRY_FOLDER
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
