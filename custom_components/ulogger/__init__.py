"""uLogger: a gateway from Bluetooth devices to the uLogger cloud."""

import logging
from importlib import import_module

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ConfigEntryNotReady
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.typing import ConfigType

from .account.account import Account
from .account.approval import close_pointless_cards
from .account.destination_keys import async_tidy_keys
from .account.firmware_files import FirmwareFiles
from .account.firmware_images import async_remove_images
from .account.key_store import async_remove_secrets, async_take_secrets_out
from .account.removal import async_remove_outbox, async_take_over
from .account.store import AccountStore, outbox_path
from .account.udmi_memory import async_remove_udmi
from .account.unit_files import async_remove_units
from .actions.devices import async_register_actions
from .assistant.api import async_offer_to_assistants
from .collecting.kept import forget_kept
from .const import (
    CONF_CONNECTION,
    CONNECTION_MQTT,
    DOMAIN,
    ENTRY_VERSION,
    SUBENTRY_CLESYDE,
)
from .entity import give_up_states
from .gateway.destinations import ActiveDestination
from .gateway.device_news import DeviceNews
from .gateway.discovery import Discovery
from .gateway.fleet import async_forget_stored
from .gateway.folders import folder_destinations, reload_on_change
from .gateway.gateway import Gateway, UloggerConfigEntry
from .gateway.heartbeats import Heartbeats
from .gateway.issues import Issues
from .gateway.log_forwarding import LogForwarding
from .gateway.log_relay import LogRelay
from .gateway.metric_statistics import MetricStatistics
from .gateway.otlp import async_otlp_destinations, async_remove_otlp, start_entity_gauges
from .gateway.pepeunit import async_pepeunit_destinations
from .gateway.readings import async_remove_readings
from .gateway.udmi import async_udmi_destinations
from .gateway.ulogger import async_set_up_over_http, async_set_up_ulogger
from .outbox.errors import OutboxError
from .outbox.outbox import Outbox
from .panel.commands import async_register_commands
from .panel.downloads import async_register_downloads
from .panel.sidebar import async_offer_panel

_LOGGER = logging.getLogger(__name__)

CONFIG_SCHEMA = cv.config_entry_only_config_schema(DOMAIN)

PLATFORMS = (
    Platform.BINARY_SENSOR,
    Platform.BUTTON,
    Platform.EVENT,
    Platform.SELECT,
    Platform.SENSOR,
    Platform.SWITCH,
    Platform.UPDATE,
)


async def async_setup(hass: HomeAssistant, config: ConfigType) -> bool:
    """Register the actions; they explain themselves when no account is loaded."""
    async_register_actions(hass)
    async_register_downloads(hass)
    async_register_commands(hass)
    await async_offer_panel(hass)
    for entry in hass.config_entries.async_entries(DOMAIN, include_ignore=False):
        if entry.disabled_by:
            await async_take_secrets_out(hass, entry)
    return True


async def async_setup_entry(hass: HomeAssistant, entry: UloggerConfigEntry) -> bool:
    """Open the account's outbox, then let everything else come up beside Home Assistant.

    A destination that can't be reached is no reason to wait: devices are collected all the same,
    and what they gave goes there when it is back.
    """
    await async_take_secrets_out(hass, entry)
    store = AccountStore(hass, entry.entry_id)
    await store.async_load()
    ulogger = await async_set_up_ulogger(hass, entry, store)
    over_http = await async_set_up_over_http(hass, entry)
    await async_take_over(hass, entry)
    try:
        outbox = await Outbox.open(outbox_path(hass, entry.entry_id), hass.async_add_executor_job)
    except OutboxError as err:
        _LOGGER.info("The outbox of %s can't be used: %s", entry.title, err)
        raise ConfigEntryNotReady(
            translation_domain=DOMAIN,
            translation_key=err.reason,
            translation_placeholders={"device": entry.title, "detail": str(err)},
        ) from err
    account = Account(hass, entry, store, outbox)
    reload_on_change(hass, entry)
    destinations = [
        *folder_destinations(account),
        *await async_otlp_destinations(account),
        *await async_pepeunit_destinations(account),
        *await _async_clesyde(account),
        *await async_udmi_destinations(account),
    ]
    gateway = entry.runtime_data = Gateway(account, ulogger, destinations, over_http)
    account.register_device()
    await gateway.async_start()
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    DeviceNews(entry).start()
    MetricStatistics(hass, entry).start()
    gateway.readings.begin()
    gateway.crashes.begin()
    Discovery(hass, entry).start()
    Issues(hass, entry).start()
    start_entity_gauges(hass, entry)
    LogRelay(hass, entry).start()
    async_offer_to_assistants(hass, entry)
    for telemetry in gateway.telemetry.values():
        Heartbeats(hass, entry, telemetry).start()
    for text_logs in gateway.text_logs.values():
        LogForwarding(hass, entry, text_logs).start()
    return True


async def _async_clesyde(account: Account) -> list[ActiveDestination]:
    """Make the account's things at Clesyde; its part of the code is loaded where there are any."""
    if not account.entry.get_subentries_of_type(SUBENTRY_CLESYDE):
        await async_tidy_keys(account.hass, account.entry)
        return []
    await account.hass.async_add_executor_job(import_module, f"{__package__}.gateway.clesyde")
    from .gateway.clesyde import async_clesyde_destinations  # noqa: PLC0415

    return await async_clesyde_destinations(account)


async def async_migrate_entry(hass: HomeAssistant, entry: UloggerConfigEntry) -> bool:
    """Bring an account up to date; one that a later version has written is left as it is.

    Version 2: an account may be without uLogger's cloud, and says so; before, each had one.
    """
    if entry.version > ENTRY_VERSION:
        return False
    data = {CONF_CONNECTION: CONNECTION_MQTT, **entry.data}
    hass.config_entries.async_update_entry(entry, data=data, version=ENTRY_VERSION)
    return True


async def async_unload_entry(hass: HomeAssistant, entry: UloggerConfigEntry) -> bool:
    """Let sessions end while entities still tell of them, then let go of the outbox."""
    await entry.runtime_data.async_finish_sessions()
    if unloaded := await hass.config_entries.async_unload_platforms(entry, PLATFORMS):
        give_up_states(hass, entry)
        await entry.runtime_data.async_stop()
    return unloaded


async def async_remove_entry(hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
    """Delete the account's secrets, tokens and outbox; captures that wait are not deleted."""
    await async_tidy_keys(hass, entry, all_of_them=True)
    await async_remove_otlp(hass, entry)
    await async_remove_udmi(hass, entry)
    await async_remove_units(hass, entry)
    close_pointless_cards(hass)
    forget_kept(hass, entry.entry_id)
    await async_remove_secrets(hass, entry)
    await AccountStore(hass, entry.entry_id).async_remove()
    await async_remove_outbox(hass, entry)
    await FirmwareFiles(hass, entry.entry_id).async_remove()
    await async_remove_images(hass, entry)
    await async_remove_readings(hass, entry.entry_id)


async def async_remove_config_entry_device(
    hass: HomeAssistant, entry: UloggerConfigEntry, device: dr.AnyDeviceEntry
) -> bool:
    """Forget a device; it may come back with its next advertisement."""
    if (DOMAIN, entry.entry_id) in device.identifiers:
        return False
    if entry.state is not ConfigEntryState.LOADED:
        await async_forget_stored(hass, entry, device)
        return True
    gateway = entry.runtime_data
    for coordinator in list(gateway.devices.values()):
        if coordinator.identifier in device.identifiers:
            await gateway.async_forget(coordinator.identity.key)
    return True
