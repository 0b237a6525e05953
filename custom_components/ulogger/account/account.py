"""One account: its entry, what it is set to, remembers, keeps on disk, and counts."""

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.event import (
    async_call_later,
    async_track_time_interval,
    async_track_utc_time_change,
)

from ..const import DOMAIN, MANUFACTURER
from ..model.identity import ULOGGER, DeviceIdentity, DeviceKey
from ..model.signal import Signal
from ..outbox.errors import OutboxDamaged, OutboxError
from ..outbox.model import DestinationCounters, DeviceCounters
from ..outbox.outbox import Outbox
from . import approval
from .disk_space import DiskSpace
from .quota import DailyQuota
from .settings import AccountSettings, wanted_since
from .store import AccountStore

_LOGGER = logging.getLogger(__name__)

SWEEP_EVERY = timedelta(hours=1)
REFRESH_AFTER = 0.25
"""Seconds after a change until the counters are read; what changes meanwhile is read with it."""

type DeliveryCounters = Mapping[str, Mapping[DeviceKey, DestinationCounters]]
"""Counters of destinations by their IDs, each by device."""


class Account:
    """What stands below everything that an account does: nothing here collects or sends.

    ``changed`` notifies whenever something of the account is other than before, ``counted``
    when the outbox's counters were read anew.
    """

    def __init__(
        self, hass: HomeAssistant, entry: ConfigEntry[Any], store: AccountStore, outbox: Outbox
    ) -> None:
        self.hass = hass
        self.entry = entry
        self.store = store
        self.outbox = outbox
        self.counters: dict[DeviceKey, DeviceCounters] = {}
        self.delivery_counters: DeliveryCounters = {}
        self.settings = AccountSettings.of(entry)
        self.quota = DailyQuota(self.settings.daily_quota)
        self.rejections: Counter[str] = Counter()
        self.changed = Signal[()]()
        self.counted = Signal[()]()
        self.disk_space = DiskSpace(outbox, self.settings, self.changed.notify)
        self._refresh_timer: CALLBACK_TYPE | None = None
        self._closing = False

    async def async_start(self) -> None:
        """Make ready for the destinations; keep counters and the disk in order until unloaded."""
        await self.outbox.set_destinations(wanted_since(self.entry))
        await self.async_refresh_counters()
        on_unload = self.entry.async_on_unload
        on_unload(
            async_track_time_interval(self.hass, self._sweep, SWEEP_EVERY, cancel_on_shutdown=True)
        )
        # A new day of quotas and of bytes today, also where nothing is going on.
        on_unload(async_track_utc_time_change(self.hass, self._new_day, hour=0, minute=0, second=0))

    @callback
    def begin_closing(self) -> None:
        """Plan nothing any more: the account ends, and what fails now is for its next start."""
        self._closing = True

    async def async_close(self) -> None:
        """Write what is to be remembered, then let go of the files."""
        self.begin_closing()
        if self._refresh_timer is not None:
            self._refresh_timer()
        await self.store.async_close()
        await self.outbox.close()

    # What it is

    @callback
    def register_device(self) -> str:
        """Make sure of the account's own device in the registry, and return its ID."""
        devices = dr.async_get(self.hass)
        return devices.async_get_or_create(
            config_entry_id=self.entry_id,
            identifiers={(DOMAIN, self.entry_id)},
            entry_type=dr.DeviceEntryType.SERVICE,
            manufacturer=MANUFACTURER,
            name=self.entry.title,
        ).id

    @property
    def entry_id(self) -> str:
        """The ID of the config entry."""
        return self.entry.entry_id

    @property
    def totals(self) -> DeviceCounters:
        """All devices' counters, added up."""
        return DeviceCounters.total(self.counters.values())

    def collects(self, identity: DeviceIdentity) -> bool:
        """Whether this account has the consent to collect the device, and no other account."""
        return approval.approving_entry(self.hass, identity.application_id) is self.entry

    def over_quota(self) -> frozenset[DeviceKey]:
        """Return the devices that have sent to uLogger today what they may in a day."""
        return self.quota.exhausted()

    # What it counts

    @callback
    def count(self, rejection: str) -> None:
        """Count something that was refused; the diagnostics show it."""
        self.rejections[rejection] += 1

    async def async_refresh_counters(self) -> None:
        """Read what the outbox counts, and notify whoever shows it."""
        self.counters = dict(await self.outbox.counters())
        self.delivery_counters = await self.outbox.delivery_counters()
        there = self.delivery_counters.get(ULOGGER, {})
        self.quota.read({key: each.bytes_today for key, each in there.items()})
        self.counted.notify()
        self.changed.notify()

    @callback
    def refresh_soon(self) -> None:
        """Have the counters read in a moment."""
        if self._refresh_timer is None and not self._closing:
            self._refresh_timer = async_call_later(self.hass, REFRESH_AFTER, self._refresh)

    @callback
    def outbox_failed(self, error: OutboxError) -> None:
        """Have a damaged outbox opened anew, which repairs what can be repaired."""
        self.count(error.reason)
        if isinstance(error, OutboxDamaged) and not self._closing:
            _LOGGER.error("%s: the outbox is damaged and is opened anew", self.entry.title)
            self.hass.config_entries.async_schedule_reload(self.entry_id)

    async def _refresh(self, _now: datetime) -> None:
        self._refresh_timer = None
        try:
            await self.async_refresh_counters()
        except OutboxError as err:
            _LOGGER.debug("The counters can't be read: %s", err)

    @callback
    def _new_day(self, _now: datetime) -> None:
        self.refresh_soon()

    async def _sweep(self, _now: datetime) -> None:
        try:
            await self.disk_space.sweep()
        except OutboxError as err:
            _LOGGER.warning("%s: the outbox can't be tidied up: %s", self.entry.title, err)
        self.refresh_soon()
