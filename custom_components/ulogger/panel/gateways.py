"""The accounts that are loaded, over all reloads, and whose devices are whose."""

from collections.abc import Callable, Iterable
from typing import Any

from homeassistant.config_entries import (
    SIGNAL_CONFIG_ENTRY_CHANGED,
    ConfigEntry,
    ConfigEntryChange,
    ConfigEntryState,
)
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.dispatcher import async_dispatcher_connect

from ..account.device_registry import registered_device
from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..gateway.gateway import Gateway
from ..model.identity import DeviceKey

type Attach = Callable[[Gateway], CALLBACK_TYPE]
"""Begins to follow an account, and returns what ends that."""


def loaded(hass: HomeAssistant) -> list[Gateway]:
    """Return the accounts that are loaded now."""
    return [entry.runtime_data for entry in hass.config_entries.async_loaded_entries(DOMAIN)]


def of_account(hass: HomeAssistant, entry_id: str) -> Gateway | None:
    """Return an account by the ID of its config entry, None when it is not loaded."""
    entry = hass.config_entries.async_get_entry(entry_id)
    if entry is None or entry.domain != DOMAIN or entry.state is not ConfigEntryState.LOADED:
        return None
    gateway: Gateway = entry.runtime_data
    return gateway


@callback
def follow(hass: HomeAssistant, attach: Attach) -> CALLBACK_TYPE:
    """Attach to each account that is loaded, again after each reload, until that is ended."""
    attached: dict[str, tuple[Gateway, CALLBACK_TYPE]] = {}

    @callback
    def changed(_change: ConfigEntryChange, entry: ConfigEntry[Any]) -> None:
        if entry.domain == DOMAIN:
            look(entry)

    @callback
    def look(entry: ConfigEntry[Any]) -> None:
        now = entry.runtime_data if entry.state is ConfigEntryState.LOADED else None
        before, detach = attached.get(entry.entry_id, (None, None))
        if now is before:
            return
        if detach is not None:
            del attached[entry.entry_id]
            detach()
        if now is not None:
            attached[entry.entry_id] = now, attach(now)

    for entry in hass.config_entries.async_loaded_entries(DOMAIN):
        look(entry)
    stop = async_dispatcher_connect(hass, SIGNAL_CONFIG_ENTRY_CHANGED, changed)

    @callback
    def end() -> None:
        stop()
        for _gateway, detach in attached.values():
            detach()
        attached.clear()

    return end


class Names:
    """What devices are called: by the device registry, and by people."""

    def __init__(self, hass: HomeAssistant) -> None:
        self._hass = hass
        self._known: dict[tuple[str, DeviceKey], str] = {}

    def id_of(self, device: DeviceCoordinator) -> str:
        """Return the registry's ID of a device; its serial where it was removed just now."""
        key = device.account.entry_id, device.identity.key
        if (known := self._known.get(key)) is None:
            if (entry := self._entry(device)) is None:
                return device.identity.serial
            known = self._known[key] = entry.id
        return known

    def name_of(self, device: DeviceCoordinator) -> str:
        """Return what people call a device."""
        entry = self._entry(device)
        return (entry and (entry.name_by_user or entry.name)) or device.identity.serial

    def _entry(self, device: DeviceCoordinator) -> dr.DeviceEntry | None:
        return registered_device(self._hass, device.account.entry_id, device.identity)


def devices_of(hass: HomeAssistant, ids: Iterable[str]) -> list[DeviceCoordinator]:
    """Return the devices with IDs of the registry, all of all accounts for no ID."""
    wanted, names = set(ids), Names(hass)
    devices = [device for gateway in loaded(hass) for device in gateway.devices.values()]
    return [device for device in devices if not wanted or names.id_of(device) in wanted]
