"""Home Assistant's backups: hold the outbox still while its files are copied."""

from homeassistant.core import HomeAssistant

from .const import DOMAIN
from .outbox.errors import OutboxError


async def async_pre_backup(hass: HomeAssistant) -> None:
    """Bring everything into the files, and leave them as they are until the backup is done.

    Raises what the backup's manager reports when a disk fails: no backup is better than one
    without the captures.
    """
    for entry in hass.config_entries.async_loaded_entries(DOMAIN):
        await entry.runtime_data.account.store.async_save()
        await entry.runtime_data.account.outbox.freeze()


async def async_post_backup(hass: HomeAssistant) -> None:
    """Go on as before; an outbox that was frozen thaws even if others fail."""
    failure: OutboxError | None = None
    for entry in hass.config_entries.async_loaded_entries(DOMAIN):
        try:
            await entry.runtime_data.account.outbox.thaw()
        except OutboxError as err:
            failure = err
    if failure is not None:
        raise failure
