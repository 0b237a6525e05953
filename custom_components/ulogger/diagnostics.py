"""Diagnostics: enough to solve a support case, and no secret in it.

What is secret by its name is taken out where it stands; then everything is gone through once
more for the values themselves, since a topic, an error's text or a name may carry them.
"""

import re
from dataclasses import asdict
from typing import Any

from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import BluetoothReachabilityIntent
from homeassistant.components.diagnostics import REDACTED, async_redact_data
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers.device_registry import AnyDeviceEntry
from homeassistant.loader import async_get_integration

from .account.key_store import async_load_secrets
from .const import (
    CONF_API_TOKEN,
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_CLIENT_SUFFIX,
    CONF_CUSTOMER_ID,
    CONF_PATH,
    CONF_PRIVATE_KEY,
    CONF_SERIAL,
    CONF_THING,
    DOMAIN,
    SUBENTRY_CLESYDE,
    SUBENTRY_FOLDER,
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
    gateway = entry.runtime_data
    integration = await async_get_integration(hass, DOMAIN)
    return await _without_secrets(
        hass,
        entry,
        {
            "versions": {"home_assistant": __version__, "ulogger": str(integration.version)},
            "entry": {
                "data": async_redact_data(dict(entry.data), SECRETS),
                "options": async_redact_data(dict(entry.options), SECRETS),
                "certificate_expiry": gateway.ulogger and gateway.ulogger.certificate_expiry,
            },
            "bluetooth": _bluetooth(hass),
            "destinations": {
                each.id: {**each.diagnostics(), "captures": asdict(each.counters)}
                for each in gateway.destinations.values()
            },
            "outbox": await _outbox(entry),
            "uncollected": [
                {"name": record.name, "application_id": record.identity.application_id}
                for record in gateway.fleet.uncollected()
            ],
            "rejections": dict(gateway.account.rejections),
            "devices": [_device(hass, gateway, device) for device in gateway.devices.values()],
        },
    )


async def async_get_device_diagnostics(
    hass: HomeAssistant, entry: UloggerConfigEntry, device: AnyDeviceEntry
) -> dict[str, Any]:
    """Describe one device; the account's own device gets the whole account."""
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
        "log_levels": asdict(record.log_levels),
        "modules": record.modules,
        "state": asdict(state),
        "sessions": [asdict(session) for session in device.timeline],
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
    hass: HomeAssistant, entry: UloggerConfigEntry, data: dict[str, Any]
) -> dict[str, Any]:
    """Hide the values of all secrets, wherever they turned up."""
    named = {**entry.data, **entry.options, **await async_load_secrets(hass, entry)}
    values = {str(named[name]) for name in SECRETS if named.get(name)}
    # The errors of a directory name it, and its path may name a person.
    values |= {str(each.data[CONF_PATH]) for each in entry.get_subentries_of_type(SUBENTRY_FOLDER)}
    # The topics of a thing name it.
    for each in entry.get_subentries_of_type(SUBENTRY_CLESYDE):
        values |= {str(each.data[name]) for name in (CONF_SERIAL, CONF_THING)}
    values |= {str(stored["token"]) for stored in entry.runtime_data.account.store.tokens.values()}
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
