"""Diagnostics: enough to solve a support case, and no secret in it.

What is secret by its name is taken out where it stands; then everything is gone through once
more for the values themselves, since a topic, an error's text or a name may carry them.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import BluetoothReachabilityIntent
from homeassistant.components.diagnostics import REDACTED, async_redact_data
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers.device_registry import AnyDeviceEntry
from homeassistant.loader import async_get_integration

from .account.destination_keys import async_load_keys
from .account.firmware_images import image_title
from .account.key_store import async_load_secrets
from .account.store import AccountStore
from .account.udmi_keys import CONF_PASSWORD
from .account.unit_files import unit_secrets
from .const import (
    CONF_API_TOKEN,
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_CLIENT_SUFFIX,
    CONF_CUSTOMER_ID,
    CONF_ENDPOINT,
    CONF_HEADERS,
    CONF_KEYS,
    CONF_PATH,
    CONF_PRIVATE_KEY,
    CONF_SERIAL,
    CONF_THING,
    CONF_URL,
    DOMAIN,
    SUBENTRY_CLESYDE,
    SUBENTRY_FOLDER,
    SUBENTRY_OTLP,
    SUBENTRY_UDMI,
)
from .coordinator import DeviceCoordinator
from .gateway.gateway import Gateway, UloggerConfigEntry
from .outbox.errors import OutboxError
from .outbox.model import CaptureState

SECRETS = {
    CONF_API_TOKEN,
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_CLIENT_SUFFIX,
    CONF_CUSTOMER_ID,
    CONF_PRIVATE_KEY,
    "token",
}
PEM = r"-----BEGIN (?s:.)*?(?:-----END [A-Z ]+-----|\Z)"
"""A certificate or key in a text, or the beginning of one in a text that was cut off."""
ROWS = 100
SHORTEST_SECRET = 4
"""Shorter values (the number of a small customer) are only taken out as parts of topics."""


async def async_get_config_entry_diagnostics(
    hass: HomeAssistant, entry: UloggerConfigEntry
) -> dict[str, Any]:
    """Describe the account, its cloud, its outbox and all its devices."""
    integration = await async_get_integration(hass, DOMAIN)
    versions = {"home_assistant": __version__, "ulogger": str(integration.version)}
    described = {
        "state": entry.state.value,
        "reason": entry.reason,
        "data": async_redact_data(dict(entry.data), SECRETS),
        "options": async_redact_data(dict(entry.options), SECRETS),
    }
    if entry.state is not ConfigEntryState.LOADED:
        return await _of_an_account_not_at_work(
            hass, entry, {"versions": versions, "entry": described}
        )
    gateway = entry.runtime_data
    return await _without_secrets(
        hass,
        entry,
        {
            "versions": versions,
            "entry": {
                **described,
                "certificate_expiry": gateway.ulogger and gateway.ulogger.certificate_expiry,
            },
            "bluetooth": _bluetooth(hass),
            "destinations": {
                each.id: {**each.diagnostics(), "captures": asdict(each.counters)}
                for each in gateway.destinations.values()
            },
            "firmware": _firmware(gateway),
            "outbox": await _outbox(entry),
            "uncollected": [
                {"name": record.name, "application_id": record.identity.application_id}
                for record in gateway.fleet.uncollected()
            ],
            "crashes": _crashes(gateway),
            "rejections": dict(gateway.account.rejections),
            "devices": [_device(hass, gateway, device) for device in gateway.devices.values()],
        },
    )


async def async_get_device_diagnostics(
    hass: HomeAssistant, entry: UloggerConfigEntry, device: AnyDeviceEntry
) -> dict[str, Any]:
    """Describe one device; the account's own device gets the whole account."""
    if entry.state is not ConfigEntryState.LOADED:
        return await async_get_config_entry_diagnostics(hass, entry)
    for coordinator in entry.runtime_data.devices.values():
        if coordinator.identifier in device.identifiers:
            return await _without_secrets(
                hass,
                entry,
                {
                    "bluetooth": _bluetooth(hass),
                    "device": _device(hass, entry.runtime_data, coordinator),
                    "captures": await _captures(entry, coordinator),
                },
            )
    return await async_get_config_entry_diagnostics(hass, entry)


async def _of_an_account_not_at_work(
    hass: HomeAssistant, entry: UloggerConfigEntry, described: dict[str, Any]
) -> dict[str, Any]:
    """Describe what there is of an account that is not loaded: what it remembers."""
    store = AccountStore(hass, entry.entry_id)
    await store.async_load()
    devices = [
        {
            "identity": asdict(record.identity),
            "address": record.address,
            "name": record.name,
            "collect": record.collect,
            "last_seen": record.last_seen,
            "last_collected": record.last_collected,
        }
        for record in store.devices.values()
    ]
    return await _without_secrets(
        hass,
        entry,
        {**described, "bluetooth": _bluetooth(hass), "devices": devices},
        store.tokens,
    )


def _crashes(gateway: Gateway) -> dict[str, Any]:
    groups = gateway.crashes.groups
    return {
        "groups": len(groups),
        "open": groups.open_count,
        "latest": [
            {
                "fingerprint": group.fingerprint,
                "application_id": group.application_id,
                "state": group.state,
                "resolved_in": group.resolved_in,
                "reason": group.reason,
                "count": group.count,
                "kept": len(group.occurrences),
                "first_seen": group.first_seen,
                "last_seen": group.last_seen,
                "devices": len(group.devices),
                "versions": list(group.versions),
            }
            for group in islice(groups, ROWS)
        ],
    }


def _bluetooth(hass: HomeAssistant) -> dict[str, Any]:
    return {
        "connectable_scanners": bluetooth.async_scanner_count(hass, connectable=True),
        "adapters": [
            {
                "name": scanner.name,
                "connectable": scanner.connectable,
                "slots": asdict(slots) if (slots := scanner.get_allocations()) else None,
            }
            for scanner in bluetooth.async_current_scanners(hass)
        ],
    }


def _device(hass: HomeAssistant, gateway: Gateway, device: DeviceCoordinator) -> dict[str, Any]:
    identity, record, state = device.identity, device.record, device.data
    return {
        "identity": asdict(identity),
        "address": record.address,
        "name": record.name,
        "collect": record.collect,
        "excluded": device.excluded,
        "reachability": bluetooth.async_address_reachability_diagnostics(
            hass, record.address, BluetoothReachabilityIntent.CONNECTION
        ),
        "last_seen": record.last_seen,
        "token": REDACTED if gateway.is_registered(identity) else None,
        "last_crash": _last_crash(gateway, device),
        "log_levels": asdict(record.log_levels),
        "modules": record.modules,
        "state": asdict(state),
        "sessions": [asdict(session) for session in device.timeline],
    }


def _last_crash(gateway: Gateway, device: DeviceCoordinator) -> dict[str, Any] | None:
    if (last := gateway.crashes.last_of(device.identity.key)) is None:
        return None
    return {
        "at": last.at,
        "reason": last.reason,
        "version": last.version,
        "git_hash": last.git_hash,
        "fingerprint": last.group.fingerprint,
        "crashed_since": gateway.crashes.crashed_since(device),
    }


def _firmware(gateway: Gateway) -> dict[str, Any]:
    """Return the images, and for how many devices' firmware there is none."""
    images, folder = gateway.images, gateway.firmware_folder
    return {
        "images": [
            {"firmware": image_title(each.key), "added_at": each.added_at} for each in images.all
        ],
        "lost": len(images.lost),
        "missing": {image_title(key): len(devices) for key, devices in images.missing().items()},
        "folder": {
            "watched": bool(folder.path),
            "missing": folder.missing,
            "refused": sorted(each.reason for each in folder.refused.values()),
        },
    }


async def _outbox(entry: UloggerConfigEntry) -> dict[str, Any]:
    gateway = entry.runtime_data
    try:
        space = asdict(await gateway.account.outbox.space())
        undelivered = await gateway.account.outbox.listing(
            states=(CaptureState.WAITING, CaptureState.QUARANTINED), limit=ROWS
        )
    except OutboxError as err:
        return {"error": err.reason, "detail": str(err)}
    recovered = gateway.account.outbox.recovered
    return {
        "space": space,
        "totals": asdict(gateway.account.totals),
        "undelivered": [asdict(row) for row in undelivered],
        "recovered": None
        if recovered is None
        else {**asdict(recovered), "set_aside": recovered.set_aside.name},
    }


async def _captures(
    entry: UloggerConfigEntry, device: DeviceCoordinator
) -> list[dict[str, Any]] | dict[str, Any]:
    try:
        rows = await entry.runtime_data.account.outbox.listing(device.identity.key, limit=ROWS)
    except OutboxError as err:
        return {"error": err.reason, "detail": str(err)}
    return [asdict(row) for row in rows]


async def _without_secrets(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    data: dict[str, Any],
    tokens: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Hide the values of all secrets, wherever they turned up."""
    if tokens is None:
        tokens = entry.runtime_data.account.store.tokens
    secrets = await async_load_secrets(hass, entry)
    named = {**entry.data, **entry.options, **secrets}
    values = {str(named[name]) for name in SECRETS if named.get(name)} | unit_secrets(secrets)
    # The errors of a directory name it, and its path may name a person.
    values |= {str(each.data[CONF_PATH]) for each in entry.get_subentries_of_type(SUBENTRY_FOLDER)}
    for each in entry.get_subentries_of_type(SUBENTRY_OTLP):
        keys = await async_load_keys(hass, entry, each.data[CONF_KEYS]) or {}
        values |= {each.data[CONF_URL], *map(str, keys.get(CONF_HEADERS, {}).values())}
    for each in entry.get_subentries_of_type(SUBENTRY_UDMI):
        keys = await async_load_keys(hass, entry, each.data[CONF_KEYS]) or {}
        # A client ID names the site and the building.
        values |= {each.data[CONF_ENDPOINT]["client_id"], str(keys.get(CONF_PASSWORD, ""))}
    # The topics of a thing name it.
    for each in entry.get_subentries_of_type(SUBENTRY_CLESYDE):
        values |= {str(each.data[name]) for name in (CONF_SERIAL, CONF_THING)}
    values |= {str(stored["token"]) for stored in tokens.values()}
    long = sorted((v for v in values if len(v) >= SHORTEST_SECRET), key=len, reverse=True)
    patterns = [PEM, *map(re.escape, long)]
    if CONF_CUSTOMER_ID in entry.data:
        customer = re.escape(str(entry.data[CONF_CUSTOMER_ID]))
        patterns += [rf"(?<=cust-){customer}(?=-)", rf"(?<=/){customer}(?=/)"]
    secret = re.compile("|".join(patterns))

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return secret.sub(REDACTED, value)
        if isinstance(value, dict):
            return {hide(key): hide(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [hide(each) for each in value]
        return REDACTED if type(value) is int and str(value) in long else value

    hidden: dict[str, Any] = hide(data)
    return hidden
