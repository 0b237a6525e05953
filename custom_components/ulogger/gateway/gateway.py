"""An account at work: owns the lifetimes of its devices, its cloud and its delivery."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import __version__
from homeassistant.core import CALLBACK_TYPE, HassJob, callback
from homeassistant.helpers.event import async_call_later

from ..account.account import Account
from ..cloud.destination import ConnectionState
from ..cloud.errors import CloudError
from ..cloud.mqtt.client import MqttTransport
from ..cloud.mqtt.transport import Transport
from ..cloud.ulogger.cloud import UloggerCloud
from ..cloud.ulogger.route import TelemetryRoute
from ..const import CONF_CLIENT_SUFFIX, DOMAIN, GATEWAY_APPLICATION
from ..coordinator import DeviceCoordinator
from ..model.identity import DeviceIdentity, DeviceKey
from ..model.signal import Signal
from ..outbox.errors import OutboxError
from ..outbox.model import DeviceCounters, Item
from ..sending.delivery import Delivery
from .fleet import Fleet
from .home_assistant_mqtt import HomeAssistantTransport

_LOGGER = logging.getLogger(__name__)

type UloggerConfigEntry = ConfigEntry[Gateway]

FINISH_WITHIN = 5.0
"""Seconds that what is being sent has to be acknowledged when the account is unloaded."""
RESTART_AFTER = 60.0


class Gateway:
    """An account at work: its devices, its cloud, and the delivery between them.

    The `runtime_data` of its config entry.
    """

    def __init__(
        self,
        account: Account,
        *,
        transport: Transport,
        cloud: UloggerCloud,
        telemetry: TelemetryRoute,
        certificate_expiry: datetime | None,
    ) -> None:
        self.hass = account.hass
        self.account = account
        self.entry = account.entry
        self.transport = transport
        self.cloud = cloud
        self.telemetry = telemetry
        self.certificate_expiry = certificate_expiry
        self.delivery = Delivery(account.outbox, cloud, self, over_quota=account.over_quota)
        self.fleet = Fleet(account)
        self.fleet.adopted.add(self._adopted)
        self.session_succeeded = Signal[DeviceCoordinator]()
        self.disconnected_since: float | None = time.time()
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
        on_unload(self.account.counted.add(self._counted))
        await self.account.async_start()
        self.fleet.adopt_approved()
        self.transport.on_state = self._transport_changed
        self.transport.on_denied = self._denied_changed
        self._keep_running("cloud", self.transport.run)
        self._keep_running("delivery", self.delivery.run)
        self.entry.async_create_background_task(
            self.hass, self._listen_for_tokens(), f"{DOMAIN} tokens"
        )

    async def async_stop(self) -> None:
        """End sessions, then close the outbox; what was not committed stays on the devices."""
        if self._stopping:
            return
        self._stopping = True
        self.account.begin_closing()
        await asyncio.gather(self.fleet.async_stop(), self.delivery.finish(FINISH_WITHIN))
        for cancel in self._restart_timers.values():
            cancel()
        await self.account.async_close()

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

    # Devices

    @property
    def devices(self) -> dict[DeviceKey, DeviceCoordinator]:
        """The devices that are collected."""
        return self.fleet.devices

    @callback
    def async_add_device_listener(
        self, listener: Callable[[DeviceCoordinator], None]
    ) -> CALLBACK_TYPE:
        """Notify *listener* of each device there is and will be; returns what ends that."""
        for device in self.devices.values():
            listener(device)
        return self.fleet.adopted.add(listener)

    @callback
    def async_add_forget_listener(
        self, listener: Callable[[DeviceCoordinator], None]
    ) -> CALLBACK_TYPE:
        """Notify *listener* of each device that was forgotten."""
        return self.fleet.forgotten.add(listener)

    @callback
    def _adopted(self, device: DeviceCoordinator) -> None:
        device.session_succeeded.add(partial(self.session_succeeded.notify, device))
        device.captures_stored.add(self._captures_stored)
        device.counters_changed(self._counters_of(device))
        self.account.changed.notify()

    async def async_forget(self, key: DeviceKey) -> None:
        """Forget a device, its tokens and its configuration; captures that wait still go up."""
        await self.cloud.forget(key)
        await self.fleet.async_forget(key)
        self.account.changed.notify()

    def _counters_of(self, device: DeviceCoordinator) -> DeviceCounters:
        return self.account.counters.get(device.identity.key, DeviceCounters())

    @callback
    def _counted(self) -> None:
        for device in self.devices.values():
            device.counters_changed(self._counters_of(device))
        # A new day, a sweep or a delivery may have let something go that had to wait.
        self.delivery.wake()

    @callback
    def _captures_stored(self) -> None:
        """Have what was put on disk delivered and counted; its device has been released."""
        self.delivery.wake()
        self.account.refresh_soon()

    # What the delivery notifies of

    @callback
    def delivered(self, item: Item) -> None:
        """The cloud acknowledged a capture."""
        self.account.count_sent(item.key, len(item.capture.data))
        if (device := self.devices.get(item.key)) is not None:
            device.delivered(item.capture)
        self.account.refresh_soon()

    @callback
    def failed(self, item: Item, error: CloudError) -> None:
        """The cloud did not take a capture this time."""
        self.account.count(error.reason)
        if (device := self.devices.get(item.key)) is not None:
            device.delivery_failed(error.reason, item.capture_id)
        self.account.refresh_soon()

    @callback
    def quarantined(self, item: Item) -> None:
        """The cloud refused a capture each time."""
        self.account.refresh_soon()

    @callback
    def outbox_failed(self, error: OutboxError) -> None:
        """The outbox could not be read or written."""
        self.account.outbox_failed(error)

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
        self.account.changed.notify()

    @callback
    def _denied_changed(self) -> None:
        """Tell what the broker denies, or does not any longer."""
        self.delivery.lift()
        self.account.changed.notify()

    @callback
    def async_forgive(self) -> None:
        """Try at once what the broker denied or refused."""
        self.transport.forgive()
        self.delivery.retry_now()
