"""One account: puts the four rooms together and owns their lifetimes."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import __version__
from homeassistant.core import CALLBACK_TYPE, HassJob, HomeAssistant, callback
from homeassistant.helpers.event import (
    async_call_later,
    async_track_time_interval,
    async_track_utc_time_change,
)

from ..account.disk_space import DiskSpace
from ..account.settings import AccountSettings
from ..account.store import AccountStore, DeviceRecord
from ..cloud.destination import ConnectionState
from ..cloud.errors import CloudError
from ..cloud.mqtt.client import MqttTransport
from ..cloud.mqtt.transport import Transport
from ..cloud.ulogger.cloud import UloggerCloud
from ..cloud.ulogger.route import TelemetryRoute
from ..const import CONF_CLIENT_SUFFIX, DOMAIN, GATEWAY_APPLICATION
from ..model.capture import Capture
from ..model.identity import DeviceIdentity, DeviceKey
from ..model.signal import Signal
from ..outbox.errors import OutboxDamaged, OutboxError
from ..outbox.model import Added, DeviceCounters, Item
from ..outbox.outbox import Outbox
from ..sending.delivery import Delivery
from .fleet import Device, Fleet
from .home_assistant_mqtt import HomeAssistantTransport

_LOGGER = logging.getLogger(__name__)

SWEEP_EVERY = timedelta(hours=1)
REFRESH_AFTER = 0.25
FINISH_WITHIN = 5.0
"""Seconds that what is being sent has to be acknowledged when the account is unloaded."""
RESTART_AFTER = 60.0


class Gateway[DeviceT: Device]:
    """One account at work. The `runtime_data` of its config entry."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry[Any],
        *,
        store: AccountStore,
        outbox: Outbox,
        transport: Transport,
        cloud: UloggerCloud,
        telemetry: TelemetryRoute,
        certificate_expiry: datetime | None,
        make_device: Callable[[Gateway[DeviceT], DeviceRecord], DeviceT],
    ) -> None:
        self.hass = hass
        self.entry = entry
        self.store = store
        self.outbox = outbox
        self.transport = transport
        self.cloud = cloud
        self.telemetry = telemetry
        self.certificate_expiry = certificate_expiry
        self.delivery = Delivery(outbox, cloud, self, over_quota=self._over_quota)
        self.fleet = Fleet(hass, entry, store, lambda record: make_device(self, record))
        self.fleet.adopted.add(self._adopted)
        self.counters: dict[DeviceKey, DeviceCounters] = {}
        self.rejections: Counter[str] = Counter()
        self.disconnected_since: float | None = time.time()
        self.room = DiskSpace(outbox, lambda: self.settings, self.changed)
        self._changed = Signal[()]()
        self._session_succeeded = Signal[DeviceT]()
        self._refresh_timer: CALLBACK_TYPE | None = None
        self._restart_timers: dict[str, CALLBACK_TYPE] = {}
        self._down_logged = False
        self._stopping = False

    # Life

    async def async_start(self) -> None:
        """Bring up the cloud and the devices that are known; nothing here waits for a network."""
        on_unload = self.entry.async_on_unload
        # On unload, after a failed set-up, and before Home Assistant cancels what runs beside it.
        on_unload(self.async_stop)
        on_unload(self.hass.async_add_shutdown_job(HassJob(self.async_stop)))
        await self.async_refresh_counters()
        self.fleet.adopt_approved()
        self.transport.on_state = self._transport_changed
        self.transport.on_denied = self._denied_changed
        self._keep_running("cloud", self.transport.run)
        self._keep_running("delivery", self.delivery.run)
        self.entry.async_create_background_task(
            self.hass, self._listen_for_tokens(), f"{DOMAIN} tokens"
        )
        on_unload(
            async_track_time_interval(self.hass, self._sweep, SWEEP_EVERY, cancel_on_shutdown=True)
        )
        # A new day of quotas and of bytes today, also where nothing is going on.
        on_unload(async_track_utc_time_change(self.hass, self._new_day, hour=0, minute=0, second=0))

    async def async_stop(self) -> None:
        """End sessions, then close the outbox; what was not committed stays on the devices."""
        if self._stopping:
            return
        self._stopping = True
        await asyncio.gather(self.fleet.async_stop(), self.delivery.finish(FINISH_WITHIN))
        for cancel in (self._refresh_timer, *self._restart_timers.values()):
            if cancel is not None:
                cancel()
        await self.store.async_close()
        await self.outbox.close()

    async def _listen_for_tokens(self) -> None:
        """Hear tokens that the cloud pushes; registrations listen for theirs in any case."""
        with suppress(CloudError):
            await self.cloud.listen_for_tokens()

    @callback
    def _keep_running(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *work* until the entry is unloaded; it never ends by itself but by a fault."""
        task = self.entry.async_create_background_task(self.hass, work(), f"{DOMAIN} {name}")

        @callback
        def again(_now: datetime) -> None:
            del self._restart_timers[name]
            self._keep_running(name, work)

        def ended(ended: asyncio.Task[None]) -> None:
            if ended.cancelled() or self._stopping:
                return
            _LOGGER.error(
                "%s: %s failed and begins anew", self.entry.title, name, exc_info=ended.exception()
            )
            self._restart_timers[name] = async_call_later(self.hass, RESTART_AFTER, again)

        task.add_done_callback(ended)

    @callback
    def async_add_listener(self, listener: CALLBACK_TYPE) -> CALLBACK_TYPE:
        """Tell *listener* when anything of the account changed; returns what ends that."""
        return self._changed.add(listener)

    @callback
    def changed(self) -> None:
        """Tell the account's entities."""
        self._changed.notify()

    # Devices

    @property
    def devices(self) -> dict[DeviceKey, DeviceT]:
        """The devices that are collected."""
        return self.fleet.devices

    @callback
    def async_add_device_listener(self, listener: Callable[[DeviceT], None]) -> CALLBACK_TYPE:
        """Tell *listener* each device there is and will be; returns what ends that."""
        for device in self.devices.values():
            listener(device)
        return self.fleet.adopted.add(listener)

    @callback
    def async_add_forget_listener(self, listener: Callable[[DeviceT], None]) -> CALLBACK_TYPE:
        """Tell *listener* each device that was forgotten."""
        return self.fleet.forgotten.add(listener)

    @callback
    def async_add_session_listener(self, listener: Callable[[DeviceT], None]) -> CALLBACK_TYPE:
        """Tell *listener* each device whose session came to a good end."""
        return self._session_succeeded.add(listener)

    @callback
    def session_succeeded(self, device: DeviceT) -> None:
        """Tell whoever follows sessions."""
        self._session_succeeded.notify(device)

    @callback
    def _adopted(self, device: DeviceT) -> None:
        key = device.record.identity.key
        device.counters_changed(self.counters.get(key, DeviceCounters()))
        self.changed()

    async def async_forget(self, key: DeviceKey) -> None:
        """Forget a device, its tokens and its configuration; captures that wait still go up."""
        await self.cloud.forget(key)
        await self.fleet.async_forget(key)
        self.changed()

    # Captures

    @property
    def has_room(self) -> bool:
        """Whether devices could be collected when that was found out last."""
        return self.room.enough

    async def keep(self, capture: Capture) -> Added:
        """Put *capture* on disk and do nothing else; it is there, for good, when this returns."""
        return await self.outbox.add(capture)

    @callback
    def kept(self) -> None:
        """Have what was put on disk delivered and counted; its device has been released."""
        self.delivery.wake()
        self._refresh_soon()

    # What the delivery tells

    @callback
    def delivered(self, item: Item) -> None:
        """The cloud acknowledged a capture."""
        # The quota can't wait for the counters to be read again.
        counted = self.counters.get(item.key, DeviceCounters())
        today = counted.bytes_today + len(item.capture.data)
        self.counters[item.key] = replace(counted, bytes_today=today)
        if (device := self.devices.get(item.key)) is not None:
            device.delivered(item.capture)
        self._refresh_soon()

    @callback
    def failed(self, item: Item, error: CloudError) -> None:
        """The cloud did not take a capture this time."""
        self.count(error.reason)
        if (device := self.devices.get(item.key)) is not None:
            device.delivery_failed(error.reason, item.capture_id)
        self._refresh_soon()

    @callback
    def quarantined(self, item: Item) -> None:
        """The cloud refused a capture each time."""
        self._refresh_soon()

    @callback
    def outbox_failed(self, error: OutboxError) -> None:
        """Have a damaged outbox opened anew, which repairs what can be repaired."""
        self.count(error.reason)
        if isinstance(error, OutboxDamaged) and not self._stopping:
            _LOGGER.error("%s: the outbox is damaged and is opened anew", self.entry.title)
            self.hass.config_entries.async_schedule_reload(self.entry.entry_id)

    # The cloud

    @property
    def identity(self) -> DeviceIdentity:
        """Who this gateway is, where it sends something of its own."""
        serial = f"ha-{self.entry.data[CONF_CLIENT_SUFFIX]}"
        return DeviceIdentity(GATEWAY_APPLICATION, serial, "Home Assistant", __version__)

    def cloud_diagnostics(self) -> dict[str, Any]:
        """Say how the connection was; nothing in it is secret but the customer's topics."""
        transport = self.transport
        own: Mapping[str, Any] = {}
        if isinstance(transport, MqttTransport | HomeAssistantTransport):
            own = transport.diagnostics()
        return {
            "state": transport.state.value,
            "disconnected_since": self.disconnected_since,
            **self.cloud.diagnostics(),
            "transport": dict(own),
        }

    @property
    def settings(self) -> AccountSettings:
        """The account's options as they are now."""
        return AccountSettings.of(self.entry)

    @property
    def totals(self) -> DeviceCounters:
        """All devices' counters, added up."""
        return DeviceCounters.total(self.counters.values())

    @property
    def credentials_refused(self) -> bool:
        """Whether the broker refuses the account's certificate."""
        return self.transport.state is ConnectionState.CREDENTIALS_REFUSED

    @property
    def client_id_conflict(self) -> bool:
        """Whether another client with the same id keeps ending our connection."""
        return self.transport.state is ConnectionState.CLIENT_ID_CONFLICT

    def has_token(self, identity: DeviceIdentity) -> bool:
        """Whether the cloud knows this firmware of the device."""
        return self.cloud.tokens.get(identity) is not None

    @callback
    def _transport_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            if self.disconnected_since is not None and self._down_logged:
                _LOGGER.info("%s: connected to the cloud", self.entry.title)
            self.disconnected_since, self._down_logged = None, False
            self.delivery.resume()
        elif self.disconnected_since is None:
            self.disconnected_since = time.time()
        if state is ConnectionState.DISCONNECTED and not self._down_logged:
            self._down_logged = True
            _LOGGER.info("%s: no connection to the cloud; captures wait", self.entry.title)
        if state is ConnectionState.CREDENTIALS_REFUSED:
            self.entry.async_start_reauth(self.hass)
        self.changed()

    @callback
    def _denied_changed(self) -> None:
        """Tell what the broker denies, or does not any longer."""
        self.delivery.lift()
        self.changed()

    @callback
    def async_forgive(self) -> None:
        """Try at once what the broker denied or refused."""
        self.transport.forgive()
        self.delivery.retry_now()

    # DiskSpace, limits and counters

    def _over_quota(self) -> list[DeviceKey]:
        quota = self.settings.daily_quota
        if not quota:
            return []
        return [key for key, each in self.counters.items() if each.bytes_today >= quota]

    @callback
    def count(self, rejection: str) -> None:
        """Count something that was refused; the diagnostics show it."""
        self.rejections[rejection] += 1

    async def async_refresh_counters(self) -> None:
        """Read what the outbox counts, and show it."""
        self.counters = dict(await self.outbox.counters())
        for key, device in self.devices.items():
            device.counters_changed(self.counters.get(key, DeviceCounters()))
        self.changed()

    @callback
    def _refresh_soon(self) -> None:
        if self._refresh_timer is None and not self._stopping:
            self._refresh_timer = async_call_later(self.hass, REFRESH_AFTER, self._refresh)

    @callback
    def _new_day(self, _now: datetime) -> None:
        self._refresh_soon()

    async def _refresh(self, _now: datetime) -> None:
        self._refresh_timer = None
        try:
            await self.async_refresh_counters()
        except OutboxError as err:
            _LOGGER.debug("The counters can't be read: %s", err)
            return
        if self.settings.daily_quota:
            self.delivery.wake()

    async def _sweep(self, _now: datetime) -> None:
        try:
            await self.room.sweep()
        except OutboxError as err:
            _LOGGER.warning("%s: the outbox can't be tidied up: %s", self.entry.title, err)
        self.delivery.wake()
        self._refresh_soon()
