"""Which device is which proxy of a UDMI gateway, and who it is there.

A person may give a device its ID; any other gets the next free number, which it keeps.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, override

from homeassistant.core import callback
from homeassistant.helpers import device_registry as dr

from ..account.account import Account
from ..account.device_registry import device_identifier
from ..account.udmi_memory import UdmiMemory
from ..cloud.udmi.endpoint import is_device_id
from ..const import CONF_PREFIX, CONF_PROXIES, CONF_PROXY_ID, DOMAIN, MANUFACTURER
from ..model.identity import DeviceIdentity, DeviceKey
from .unit_values import CONF_DEVICE

_LOGGER = logging.getLogger(__name__)

DEFAULT_PREFIX: Final = "BLE"
UNKNOWN: Final = "unknown"
_KEPT: Final = "proxies"


class ProxyIds:
    """The IDs of a gateway's proxies."""

    def __init__(
        self, account: Account, data: Mapping[str, Any], memory: UdmiMemory, own_id: str
    ) -> None:
        self._account = account
        self._memory = memory
        self._own_id = own_id
        self._prefix = data.get(CONF_PREFIX) or DEFAULT_PREFIX
        self._given = dict(_given(account, data.get(CONF_PROXIES, ())))
        self._numbered: dict[str, str] = {
            str(name): proxy_id
            for name, proxy_id in memory.get(_KEPT, {}).items()
            if is_device_id(proxy_id)
        }

    @callback
    def proxy_of(self, key: DeviceKey) -> str:
        """Return the ID of a device; it has the same for ever unless a person gives another."""
        name = _name(key)
        if (given := self._given.get(name) or self._numbered.get(name)) is not None:
            return given
        taken = {*self._given.values(), *self._numbered.values(), self._own_id}
        number = 1
        while f"{self._prefix}-{number}" in taken:
            number += 1
        self._numbered[name] = f"{self._prefix}-{number}"
        self._account.entry.async_create_task(
            self._account.hass, self._async_keep(), f"{DOMAIN} proxy IDs"
        )
        return self._numbered[name]

    @callback
    def device_of(self, proxy_id: str) -> DeviceKey | None:
        """Return the device whose proxy this is, None where there is none."""
        for key in self._account.store.devices:
            if self.proxy_of(key) == proxy_id:
                return key
        return None

    async def _async_keep(self) -> None:
        try:
            await self._memory.async_keep(_KEPT, dict(self._numbered))
        except OSError as err:
            _LOGGER.warning("The number of a proxy was not kept: %s", err)


class KnownProxies(Collection[str]):
    """The IDs of the devices that there are at any time."""

    def __init__(self, account: Account, ids: ProxyIds) -> None:
        self._account = account
        self._ids = ids

    @override
    def __iter__(self) -> Iterator[str]:
        return map(self._ids.proxy_of, list(self._account.entry.runtime_data.devices))

    @override
    def __len__(self) -> int:
        return len(self._account.entry.runtime_data.devices)

    @override
    def __contains__(self, proxy_id: object) -> bool:
        return any(each == proxy_id for each in self)


def proxy_identity(identity: DeviceIdentity) -> Mapping[str, Any]:
    """Return what a device says of itself, as it stands in its state."""
    software = {"firmware": identity.git_version or UNKNOWN}
    if identity.git_hash:
        software["git_hash"] = identity.git_hash
    return {
        "serial_no": identity.serial,
        "hardware": {"make": MANUFACTURER, "model": identity.device_type or UNKNOWN},
        "software": software,
    }


def _given(account: Account, proxies: Any) -> Any:
    """Yield the names of devices that a person has given an ID, and the ID."""
    registry = dr.async_get(account.hass)
    for each in proxies:
        device = registry.async_get(each[CONF_DEVICE])
        if device is None:
            continue
        identifiers = {name for domain, name, *_ in device.identifiers if domain == DOMAIN}
        for name in identifiers:
            yield name, each[CONF_PROXY_ID]


def _name(key: DeviceKey) -> str:
    return device_identifier(DeviceIdentity(*key))[1]
