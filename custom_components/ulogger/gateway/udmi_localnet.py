"""Where a gateway and its devices are on local networks, and whether devices are in reach."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback

from ..cloud.udmi.proxies import Target
from ..coordinator import DeviceCoordinator
from .udmi_discovery import BLE, adapter_address

_FAMILIES: Final = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


class GatewayAddresses:
    """The addresses of this Home Assistant, as a broker would see them without a router between."""

    def __init__(self, hass: HomeAssistant) -> None:
        self._hass = hass
        self._found: Mapping[str, str] = {}

    async def async_look(self, host: str, port: int) -> bool:
        """Find out from which addresses a broker is reached; returns whether that has changed."""
        before = self._found
        self._found = await self._hass.async_add_executor_job(own_addresses, host, port)
        return before != self._found

    @callback
    def __call__(self) -> Mapping[str, str]:
        """Return the addresses by their families."""
        adapter = adapter_address(self._hass)
        return {**self._found, **({BLE: adapter} if adapter else {})}


@callback
def proxy_addresses(device: DeviceCoordinator) -> Mapping[str, str]:
    """Return where a device is by the last that is known."""
    return {BLE: device.record.address} if device.record.address else {}


@callback
def follow_reach(device: DeviceCoordinator, target: Target) -> CALLBACK_TYPE:
    """Have a proxy say when its device is out of reach; returns what ends that."""

    @callback
    def look() -> None:
        away = "" if device.data.present else f"{device.called} is out of range"
        target.unreachable(away)

    look()
    return device.async_add_listener(look)


def own_addresses(host: str, port: int) -> dict[str, str]:
    """Return the addresses that packets to a host leave from; blocks, and sends none."""
    found: dict[str, str] = {}
    for family, kind in _FAMILIES.items():
        # There is no way to the host in this family, or no name.
        with suppress(OSError, UnicodeError), socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            found[family] = str(probe.getsockname()[0])
    return found
