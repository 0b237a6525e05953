"""System health: is the broker there, what waits, how many devices there are."""

from typing import Any

from homeassistant.components import system_health
from homeassistant.core import HomeAssistant, callback

from .const import DOMAIN
from .gateway.gateway import UloggerConfigEntry


@callback
def async_register(hass: HomeAssistant, register: system_health.SystemHealthRegistration) -> None:
    """Register the info page."""
    register.async_register_info(_info)


async def _info(hass: HomeAssistant) -> dict[str, Any]:
    entries: list[UloggerConfigEntry] = hass.config_entries.async_loaded_entries(DOMAIN)
    gateways = [entry.runtime_data for entry in entries]
    return {
        "accounts": len(gateways),
        "broker_reachable": all(
            gateway.ulogger.cloud.connected for gateway in gateways if gateway.ulogger is not None
        ),
        "devices": sum(len(gateway.devices) for gateway in gateways),
        "captures_waiting": sum(gateway.account.totals.waiting for gateway in gateways),
        "captures_quarantined": sum(gateway.account.totals.quarantined for gateway in gateways),
    }
