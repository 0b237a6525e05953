"""What an account shows in the shadow of its thing, and how it does what is desired there."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from homeassistant.const import __version__
from homeassistant.core import callback

from .. import const as c
from ..account.account import Account
from ..cloud.clesyde.clesyde import ClesydeDestination
from ..cloud.clesyde.shadow_sync import Devices, ShadowOwner
from ..cloud.clesyde.wishes import Settable, Wishes
from ..coordinator import DeviceCoordinator
from ..insight.reading import Reading
from ..model.capture import Capture
from ..model.identity import DeviceKey

_LOGGER = logging.getLogger(__name__)

NAMES: Final = {
    "collectInterval": c.CONF_COLLECT_INTERVAL,
    "retentionDays": c.CONF_RETENTION_DAYS,
    "retentionMb": c.CONF_RETENTION_MB,
}
"""Options that may be set, by their names in the shadow."""
DEFAULTS: Final = {
    c.CONF_COLLECT_INTERVAL: c.DEFAULT_COLLECT_INTERVAL,
    c.CONF_RETENTION_DAYS: c.DEFAULT_RETENTION_DAYS,
    c.CONF_RETENTION_MB: c.DEFAULT_RETENTION_MB,
}
MOST_METRICS: Final = 16
"""Metrics of one device in the shadow: those that were measured last."""


class GatewayShadow(ShadowOwner):
    """An account as the owner of a shadow."""

    def __init__(self, account: Account, destination: ClesydeDestination) -> None:
        least = 1 if account.entry.data[c.CONF_CONNECTION] in c.WITHOUT_CAPTURES else 0
        # As far as the options form goes.
        self.settable: Mapping[str, Settable] = {
            "collectInterval": Settable(1, 10_080),
            "retentionDays": Settable(least, 3_650),
            "retentionMb": Settable(least, 100_000),
        }
        self._account = account
        self._destination = destination
        self._metrics: dict[DeviceKey, dict[str, int | float]] = {}
        self._following = False

    def options(self) -> Mapping[str, int]:
        """Return the options as they are."""
        options = self._account.entry.options
        return {name: int(options.get(key, DEFAULTS[key])) for name, key in NAMES.items()}

    def about(self) -> Mapping[str, Any]:
        """Return what Home Assistant this is, and what waits here."""
        return {
            "homeAssistant": __version__,
            "remoteAccess": self._destination.remote_wanted,
            "capturesWaiting": self._account.totals.waiting,
        }

    def devices(self) -> Devices:
        """Return the devices, those that were seen last first."""
        gateway = self._account.entry.runtime_data
        if not self._following:
            self._following = True
            self._account.entry.async_on_unload(gateway.readings.read.add(self._read))
        devices = sorted(gateway.devices.values(), key=lambda each: -each.record.last_seen)
        return [(_name(each.identity.key), self._about(each)) for each in devices]

    def certificate_serial(self) -> str:
        """Return the serial number of the remote certificate."""
        return self._destination.keys.remote.serial

    @callback
    def desired(self, wishes: Wishes) -> None:
        """Set options, pass on log levels, and have the certificate rotated."""
        for name, why in wishes.refused.items():
            _LOGGER.debug("Desired and refused: %s: %s", name, why)
        self._destination.wish_levels(wishes.log_levels)
        if wishes.certificate is not None:
            self._destination.rotation.desired(wishes.certificate, self.certificate_serial())
        present = self.options()
        changes = {
            NAMES[name]: value for name, value in wishes.options.items() if value != present[name]
        }
        if not changes:
            return
        hass, entry = self._account.hass, self._account.entry
        _LOGGER.info("%s: set by Clesyde: %s", entry.title, changes)
        hass.config_entries.async_update_entry(entry, options={**entry.options, **changes})
        # Settings are read once, when the account is loaded.
        hass.config_entries.async_schedule_reload(entry.entry_id)

    @callback
    def _read(
        self,
        _device: DeviceCoordinator | None,
        _capture_id: int,
        capture: Capture,
        reading: Reading,
    ) -> None:
        """Note the metrics of a device, the last ones last."""
        known = self._metrics.setdefault(capture.device.key, {})
        for metric in reading.metrics:
            known.pop(metric.name, None)
            known[metric.name] = metric.value
        while len(known) > MOST_METRICS:
            del known[next(iter(known))]
        if self._destination.shadow is not None:
            self._destination.shadow.changed()

    def _about(self, device: DeviceCoordinator) -> Mapping[str, Any]:
        counters = device.data.counters
        about: dict[str, Any] = {
            "state": device.phase.value,
            "firmware": device.identity.git_version,
            "uploads": counters.uploads,
            "waiting": counters.waiting,
        }
        if metrics := self._metrics.get(device.identity.key):
            about["metrics"] = dict(metrics)
        return about


def _name(key: DeviceKey) -> str:
    application, serial = key
    return f"{application}-{serial}"
