"""One device: what Home Assistant knows of it, and when it is collected next."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, override

from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import BluetoothServiceInfoBleak
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, Event, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.event import async_track_device_registry_updated_event
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator
from homeassistant.util import dt as dt_util

from .account.device_registry import device_identifier, register_device, registered_device
from .account.disk_space import NoDiskSpace
from .account.store import DeviceRecord
from .agent.errors import AgentError
from .agent.memory import TransferMemory
from .collecting.collection import Collection
from .collecting.connection import ConnectError, DeviceOutOfRange, NoConnectionSlot
from .collecting.device_state import DeviceEvent, DeviceState, Phase, SessionRecord
from .collecting.schedule import PATIENT_SLOT_RETRIES, Schedule
from .const import DOMAIN
from .gateway.gateway import Gateway
from .model.capture import Capture
from .model.identity import DeviceIdentity
from .model.log_setting import LogSetting
from .model.plain_text import one_line
from .model.signal import Signal
from .outbox.errors import OutboxError
from .outbox.model import Added, DeviceCounters

_LOGGER = logging.getLogger(__name__)

TIMELINE_LENGTH = 50
STOP_WITHIN = 6.0
"""Seconds that a session has to take leave of its device when it is ended."""
RSSI_EVERY = 60.0
DAY = 86_400
SESSION_ERRORS = (AgentError, ConnectError, OutboxError, NoDiskSpace)

type UloggerConfigEntry = ConfigEntry[Gateway[DeviceCoordinator]]
type SessionError = AgentError | ConnectError | OutboxError | NoDiskSpace


class DeviceCoordinator(DataUpdateCoordinator[DeviceState]):
    """Knows one device, collects it when it is due, and tells its entities."""

    config_entry: UloggerConfigEntry

    def __init__(
        self,
        hass: HomeAssistant,
        gateway: Gateway[DeviceCoordinator],
        record: DeviceRecord,
    ) -> None:
        super().__init__(
            hass,
            _LOGGER,
            config_entry=gateway.entry,
            name=f"{DOMAIN} {record.identity.serial}",
        )
        self.gateway = gateway
        self.record = record
        self.data = DeviceState()
        self.memory = TransferMemory()
        self.timeline: deque[SessionRecord] = deque(maxlen=TIMELINE_LENGTH)
        self.unreachable_since: float | None = None
        self._events = Signal[DeviceEvent, Mapping[str, Any]]()
        self._schedule = Schedule(hass, begin=self._due, reachable=self._reachable)
        self._task: asyncio.Task[list[Added]] | None = None
        self._collection: Collection | None = None
        self._unavailable_logged = False
        self._upload_error: str | None = None
        self._rssi_shown_at = float("-inf")
        self._stopped = False

    # What entities ask

    @property
    def identity(self) -> DeviceIdentity:
        """Who the device said it is when it was last met."""
        return self.record.identity

    @property
    def identifier(self) -> tuple[str, str]:
        """The device's identifier in the device registry."""
        return device_identifier(self.identity)

    @property
    def has_token(self) -> bool:
        """Whether the cloud knows this firmware of the device already."""
        return self.gateway.has_token(self.identity)

    @property
    def interval(self) -> timedelta:
        """The time between two collections."""
        return self.gateway.settings.interval

    @property
    def quota_days(self) -> int:
        """Days in a row, up to today or yesterday, on which the daily quota was reached."""
        recent = self.record.quota_day >= int(time.time() // DAY) - 1
        return self.record.quota_days if recent else 0

    @property
    def disabled(self) -> bool:
        """Whether a person disabled the device in the device registry."""
        device = registered_device(self.hass, self.gateway.entry.entry_id, self.identity)
        return device is not None and device.disabled

    @property
    def excluded(self) -> bool:
        """Whether a person said not to collect the device."""
        return not self.record.collect or self.disabled

    @property
    def phase(self) -> Phase:
        """What the road is busy with; captures that wait are not idle."""
        if self.data.phase is Phase.IDLE and self.data.counters.waiting:
            return Phase.WAITING
        return self.data.phase

    @property
    def log_setting(self) -> LogSetting | None:
        """What the device was told, or will be, unless it has ended."""
        setting = self.record.log_setting
        return setting if setting is not None and setting.lasts else None

    # Life

    @callback
    def start(self) -> None:
        """Register the device and begin to watch for when it is due."""
        device = self._register_device()
        self.gateway.entry.async_on_unload(
            async_track_device_registry_updated_event(self.hass, device.id, self._registry_changed)
        )
        if not self.excluded:
            self._schedule.after_restart(self.record.last_collected, self.interval)
        self._show_schedule()

    async def async_stop(self) -> None:
        """End a session under way; the device keeps what was not committed."""
        self._stopped = True
        self._schedule.stop()
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait([task], timeout=STOP_WITHIN)
            # A link that hangs even while it takes leave is left to the Bluetooth stack.
            task.cancel()
        await self.async_shutdown()

    @override
    async def _async_update_data(self) -> DeviceState:
        return self.data

    @callback
    def async_add_event_listener(
        self, listener: Callable[[DeviceEvent, Mapping[str, Any]], None]
    ) -> CALLBACK_TYPE:
        """Tell *listener* what happens; returns what ends that."""
        return self._events.add(listener)

    @callback
    def fire(self, event: DeviceEvent, attributes: Mapping[str, Any]) -> None:
        """Tell the event entity that something happened."""
        self._events.notify(event, attributes)

    @callback
    def show(self, **changes: Any) -> None:
        """Show something else of the device, if it is something else."""
        state = replace(self.data, **changes)
        if state != self.data:
            self.async_set_updated_data(state)

    # What comes from below

    @callback
    def seen(self, info: BluetoothServiceInfoBleak) -> None:
        """Take note of an advertisement; called as often as the device sends another one."""
        self.record.last_seen = time.time()
        if self._unavailable_logged:
            self._unavailable_logged = False
            _LOGGER.info("%s is in range again", self.identity.serial)
        now = time.monotonic()
        if not self.data.present or now - self._rssi_shown_at >= RSSI_EVERY:
            self._rssi_shown_at = now
            self.show(present=True, rssi=info.rssi)
        self._due()

    @callback
    def lost(self) -> None:
        """Take note that the device is not seen any more."""
        if self._task is not None:
            return
        if not self._unavailable_logged:
            self._unavailable_logged = True
            _LOGGER.info("%s is out of range", self.identity.serial)
        self.show(present=False, rssi=None)

    @callback
    def identified(self, identity: DeviceIdentity) -> None:
        """Take what the device says of itself; new firmware is an event."""
        before = self.record.identity
        self.record.identity = identity
        self.record.last_identified = time.time()
        self.gateway.store.save_soon()
        self._register_device()
        if before == identity:
            return
        if (before.git_version, before.git_hash) != (identity.git_version, identity.git_hash):
            self.fire(
                DeviceEvent.FIRMWARE_CHANGED,
                {
                    "from_version": before.git_version,
                    "to_version": identity.git_version,
                    "from_git_hash": before.git_hash,
                    "to_git_hash": identity.git_hash,
                },
            )
        self.async_update_listeners()

    @callback
    def counters_changed(self, counters: DeviceCounters) -> None:
        """Show what the outbox counts for this device now."""
        self.show(counters=counters)
        quota = self.gateway.settings.daily_quota
        today = int(time.time() // DAY)
        if quota and counters.bytes_today >= quota and self.record.quota_day != today:
            in_a_row = self.record.quota_day == today - 1
            self.record.quota_days = self.record.quota_days + 1 if in_a_row else 1
            self.record.quota_day = today
            self.gateway.store.save_soon()

    @callback
    def delivery_failed(self, reason: str, capture_id: int) -> None:
        """Show that the cloud did not take a capture; told once for each reason in a row."""
        if self._upload_error != reason:
            self._upload_error = reason
            self.fire(DeviceEvent.UPLOAD_FAILED, {"reason": reason, "capture": capture_id})
        self.show(last_error=reason)

    @callback
    def delivered(self, capture: Capture) -> None:
        """Tell that the cloud has acknowledged a capture."""
        self._upload_error = None
        if self.data.phase is not Phase.ERROR:
            self.show(last_error=None)
        self.fire(DeviceEvent.UPLOADED, {"kind": capture.kind.value, "bytes": len(capture.data)})

    # What a person asks

    async def async_collect(self) -> list[Added]:
        """Collect now, or join the session under way; returns what came to disk.

        Raises what a session raises (see `SessionError`); nobody's waiting ends it.
        """
        if self._stopped:
            raise DeviceOutOfRange("the account is being unloaded")
        task = self._begin()
        await asyncio.wait([task])
        if task.cancelled():
            raise DeviceOutOfRange("the account was unloaded meanwhile")
        return task.result()

    async def async_set_log_setting(
        self, setting: LogSetting | None, *, by_cloud: bool = False
    ) -> None:
        """Keep *setting* until the device has it; a newer one replaces an older.

        None is the device's own default: what it has been told is taken back. What a person
        sets is on disk when this returns, what the cloud sends some seconds later.
        """
        before = self.record.log_setting
        if setting is not None:
            self.record.log_setting = setting.after(before)
        else:
            self.record.log_setting = before.taken_back() if before is not None else None
        if by_cloud:
            self.gateway.store.save_soon()
        else:
            await self.gateway.store.async_save()
        self.async_update_listeners()
        if self._collection is not None:
            await self._collection.write_log_setting()

    @callback
    def set_collect(self, *, collect: bool) -> None:
        """Collect the device when it is due, or leave it alone."""
        self.record.collect = collect
        self.gateway.store.save_soon()
        self._reconsider()
        self.async_update_listeners()

    @callback
    def _registry_changed(self, event: Event[dr.EventDeviceRegistryUpdatedData]) -> None:
        if event.data["action"] == "update" and "disabled_by" in event.data["changes"]:
            self._reconsider()

    @callback
    def _reconsider(self) -> None:
        """Begin or end to collect, as a person just said."""
        if self.excluded or self._stopped:
            self._schedule.stop()
        elif self._task is None:
            self._schedule.now()
        self._show_schedule()

    # Collecting

    def _reachable(self) -> bool:
        return bluetooth.async_address_present(self.hass, self.record.address, connectable=True)

    @callback
    def _due(self) -> None:
        """Begin a session if it is time for one."""
        if self._task is None and self._schedule.due and not self._stopped and not self.excluded:
            self._begin()

    @callback
    def _begin(self) -> asyncio.Task[list[Added]]:
        if self._task is None:
            self._schedule.stop()
            self._collection = Collection(self.hass, self.gateway, self)
            self._task = self.gateway.entry.async_create_background_task(
                self.hass,
                self._collect(self._collection),
                f"{self.name} collects",
                eager_start=False,
            )
            self._task.add_done_callback(self._session_ended)
        return self._task

    async def _collect(self, collection: Collection) -> list[Added]:
        began, clock = dt_util.utcnow(), time.monotonic()
        result, detail = "ok", ""
        self.show(phase=Phase.CONNECTING, next_collection=None)
        try:
            return await collection.run()
        except SESSION_ERRORS as err:
            result, detail = err.reason, str(err)
            raise
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        finally:
            added = collection.added
            self.timeline.append(
                SessionRecord(
                    began,
                    round(time.monotonic() - clock, 3),
                    result,
                    detail,
                    len(added),
                    sum(each.size for each in added),
                )
            )

    @callback
    def _session_ended(self, task: asyncio.Task[list[Added]]) -> None:
        """Plan the next session, however this one ended."""
        self._task = self._collection = None
        self.show(bytes_done=None, bytes_total=None)
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            self.show(phase=Phase.IDLE)
        elif error is None:
            self._succeeded()
        elif isinstance(error, NoConnectionSlot):
            self._waits_for_slot(error)
        elif isinstance(error, SESSION_ERRORS):
            self._failed(error)
        else:
            _LOGGER.error("Collecting from %s failed", self.identity.serial, exc_info=error)
            self.gateway.count("internal_error")
            self.show(phase=Phase.ERROR)
            self._schedule.after_failure(self.interval)
        if self._stopped or self.excluded:
            self._schedule.stop()
        self._show_schedule()
        if not self._stopped and not self._reachable():
            self.lost()

    def _succeeded(self) -> None:
        self.unreachable_since = None
        self.record.last_collected = time.time()
        self.gateway.store.save_soon()
        self.show(phase=Phase.IDLE, last_error=self._upload_error)
        self._schedule.after_success(self.interval)
        self.gateway.session_succeeded(self)

    def _waits_for_slot(self, error: NoConnectionSlot) -> None:
        """Wait for others to be done; that takes long only where something is wrong."""
        if self._schedule.slot_waits >= PATIENT_SLOT_RETRIES:
            self._show_failure(error)
        else:
            self.show(phase=Phase.IDLE)
        self._schedule.when_slot_is_free()

    def _failed(self, error: SessionError) -> None:
        if isinstance(error, ConnectError | AgentError) and self.unreachable_since is None:
            self.unreachable_since = time.time()
        if isinstance(error, OutboxError):
            self.gateway.outbox_failed(error)
        self._show_failure(error)
        self._schedule.after_failure(self.interval)

    def _show_failure(self, error: SessionError) -> None:
        if self.data.last_error != error.reason:
            _LOGGER.info("Collecting from %s failed: %s", self.identity.serial, one_line(error))
        self.show(phase=Phase.ERROR, last_error=error.reason)
        self.gateway.count(error.reason)

    def _show_schedule(self) -> None:
        self.show(next_collection=self._schedule.when)

    def _register_device(self) -> dr.DeviceEntry:
        return register_device(self.hass, self.gateway.entry.entry_id, self.record)
