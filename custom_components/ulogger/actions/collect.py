"""Collecting a device for somebody who waits for it, also while its account is reloaded."""

import asyncio
from typing import Any

from homeassistant.config_entries import (
    SIGNAL_CONFIG_ENTRY_CHANGED,
    ConfigEntry,
    ConfigEntryState,
)
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.dispatcher import async_dispatcher_connect

from ..collecting.connection import Interrupted
from ..coordinator import DeviceCoordinator
from ..outbox.model import Added
from .targets import gateway_of

RELOADED_WITHIN = 30.0
"""Seconds within which an account that is reloaded has to be at work again."""


async def async_collect(device: DeviceCoordinator) -> list[Added]:
    """Collect what a device has now; returns what came to disk.

    Interrupted by a reload of its account, it is taken up again right after. Raises what a session
    raises; `Interrupted` where the account does not come back.
    """
    added: list[Added] = []
    while True:
        try:
            return added + await device.async_collect()
        except Interrupted as err:
            added += err.added
            await async_loaded_again(device.hass, device.account.entry, RELOADED_WITHIN)
            again = gateway_of(device).devices.get(device.identity.key)
            if again is None or again is device:
                raise
            device = again


async def async_loaded_again(hass: HomeAssistant, entry: ConfigEntry[Any], seconds: float) -> None:
    """Wait until an account that is reloaded meanwhile is at work again, or raise Interrupted."""
    loaded: asyncio.Future[bool] = hass.loop.create_future()

    @callback
    def look(*_: object) -> None:
        gone = hass.config_entries.async_get_entry(entry.entry_id) is None
        if not loaded.done() and (gone or entry.disabled_by is not None):
            loaded.set_result(False)
        elif not loaded.done() and entry.state is ConfigEntryState.LOADED:
            loaded.set_result(True)

    stop = async_dispatcher_connect(hass, SIGNAL_CONFIG_ENTRY_CHANGED, look)
    look()
    try:
        async with asyncio.timeout(seconds):
            if await loaded:
                return
    except TimeoutError:
        pass
    finally:
        stop()
    raise Interrupted("the account was unloaded meanwhile")
