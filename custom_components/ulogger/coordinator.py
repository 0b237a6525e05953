"""One device: what Home Assistant knows of it, and when it is collected next."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, override

from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import BluetoothServiceInfoBleak
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.event import async_track_point_in_utc_time
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator
from homeassistant.util import dt as dt_util

from .agent.errors import AgentError
from .agent.memory import TransferMemory
from .agent.session import AgentSession, Progress
from .capture.model import Capture, CaptureKind, DeviceIdentity
from .const import CONF_COLLECT_INTERVAL, DEFAULT_COLLECT_INTERVAL, DOMAIN, MANUFACTURER
from .crash import crash_attributes
from .device_state import DeviceEvent, DeviceState, Phase, SessionRecord
from .gateway import Gateway, NoRoom
from .log_level import LogSetting
from .outbox.errors import OutboxError
from .outbox.model import Added, DeviceCounters, Outcome
from .storage import DeviceRecord
from .visit import NoConnectionSlot, VisitError, visit

_LOGGER = logging.getLogger(__name__)

FIRST_RETRY = 15.0
SLOT_RETRY = 5.0
PRESENCE_CHECK = 30.0
CHECKSUM_SESSIONS = 3
TIMELINE_LENGTH = 50
DAY = 86_400

type UloggerConfigEntry = ConfigEntry[Gateway[DeviceCoordinator]]
type SessionError = AgentError | VisitError | OutboxError | NoRoom


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
        self._event_listeners: list[Callable[[DeviceEvent, Mapping[str, Any]], None]] = []
        self._task: asyncio.Task[list[Added]] | None = None
        self._session: AgentSession | None = None
        self._added: list[Added] = []
        self._timer: CALLBACK_TYPE | None = None
        self._failures = 0
        self._unavailable_logged = False
        self._shown_at = 0.0
        self.unreachable_since: float | None = None

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
    def name_by_radio(self) -> str:
        """The name the device advertises."""
        return self.record.name

    @property
    def has_token(self) -> bool:
        """Whether the cloud knows this firmware of the device already."""
        return self.gateway.has_token(self.identity)

    @property
    def interval(self) -> timedelta:
        """The time between two collections."""
        minutes = self.gateway.entry.options.get(CONF_COLLECT_INTERVAL, DEFAULT_COLLECT_INTERVAL)
        return timedelta(minutes=minutes)

    @property
    def quota_days(self) -> int:
        """Days in a row, up to today or yesterday, on which the daily quota was reached."""
        recent = self.record.quota_day >= int(time.time() // DAY) - 1
        return self.record.quota_days if recent else 0

    @property
    def device_entry(self) -> dr.DeviceEntry | None:
        """The device in the device registry."""
        return dr.async_get(self.hass).async_get_device_by_identifier(
            self.identifier, self.gateway.entry.entry_id
        )

    @property
    def left_alone(self) -> bool:
        """Whether a person said not to collect the device."""
        device = self.device_entry
        return not self.record.collect or (device is not None and device.disabled)

    # Life

    @callback
    def start(self) -> None:
        """Register the device and begin to watch for when it is due."""
        self._register_device()
        self._schedule(dt_util.utcnow())

    async def async_stop(self) -> None:
        """End a session under way; the device keeps what was not committed."""
        self._cancel_timer()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.async_shutdown()

    @override
    async def _async_update_data(self) -> DeviceState:
        return self.data

    @callback
    def async_add_event_listener(
        self, listener: Callable[[DeviceEvent, Mapping[str, Any]], None]
    ) -> CALLBACK_TYPE:
        """Tell *listener* what happens; returns what ends that."""
        self._event_listeners.append(listener)
        return lambda: self._event_listeners.remove(listener)

    @callback
    def fire(self, event: DeviceEvent, attributes: Mapping[str, Any]) -> None:
        """Tell the event entity that something happened."""
        for listener in list(self._event_listeners):
            listener(event, attributes)

    # What comes from below

    @callback
    def seen(self, info: BluetoothServiceInfoBleak) -> None:
        """Take note of an advertisement."""
        if info.address != self.record.address:
            self.record.address = info.address
            self._register_device()
            self.gateway.store.save_soon()
        self.record.last_seen = time.time()
        if self._unavailable_logged:
            self._unavailable_logged = False
            _LOGGER.info("%s is in range again", self.identity.serial)
        if not self.data.present or self.data.rssi is None:
            self._show(present=True, rssi=info.rssi)
        elif abs(self.data.rssi - info.rssi) >= 3:
            self._show(rssi=info.rssi)
        if self._due:
            self._begin()

    @callback
    def lost(self) -> None:
        """Take note that the device is not seen any more."""
        if self._task is not None:
            return
        if not self._unavailable_logged:
            self._unavailable_logged = True
            _LOGGER.info("%s is out of range", self.identity.serial)
        self._show(present=False, rssi=None)

    @callback
    def identified(self, identity: DeviceIdentity, address: str) -> None:
        """Take what the device says of itself; new firmware is an event."""
        before = self.record.identity
        self.record.identity = identity
        self.record.address = address
        self.record.last_identified = time.time()
        self.gateway.store.save_soon()
        if before == identity:
            return
        self._register_device()
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
        self._show(counters=counters)
        quota = self.gateway.settings.daily_quota
        today = int(time.time() // DAY)
        if quota and counters.bytes_today >= quota and self.record.quota_day != today:
            in_a_row = self.record.quota_day == today - 1
            self.record.quota_days = self.record.quota_days + 1 if in_a_row else 1
            self.record.quota_day = today
            self.gateway.store.save_soon()

    @callback
    def delivery_failed(self, reason: str, capture_id: int) -> None:
        """Show that the cloud did not take a capture."""
        if self.data.last_error != reason:
            self.fire(DeviceEvent.UPLOAD_FAILED, {"reason": reason, "capture": capture_id})
        self._show(last_error=reason)

    @callback
    def delivered(self, capture: Capture) -> None:
        """Tell that the cloud has acknowledged a capture."""
        attributes = {"kind": capture.kind.value, "bytes": len(capture.data)}
        if self.data.phase is not Phase.ERROR:
            self._show(last_error=None)
        self.fire(DeviceEvent.UPLOADED, attributes)

    # Collecting

    @property
    def _due(self) -> bool:
        when = self.data.next_collection
        return (
            self._task is None
            and not self.left_alone
            and when is not None
            and when <= dt_util.utcnow()
        )

    async def async_collect(self) -> list[Added]:
        """Collect now, or join the session under way; returns what came to disk.

        Raises what a session raises (see `SessionError`).
        """
        return await asyncio.shield(self._begin())

    @callback
    def collect_soon(self) -> None:
        """Collect as soon as the device can be reached."""
        self._failures = 0
        self._schedule(dt_util.utcnow())

    @callback
    def _begin(self) -> asyncio.Task[list[Added]]:
        if self._task is None:
            self._cancel_timer()
            self._task = self.gateway.entry.async_create_background_task(
                self.hass, self._collect(), f"{self.name} collects"
            )
            # Whoever waits gets the error; nobody waiting is no reason for a complaint.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._task

    async def _collect(self) -> list[Added]:
        began, clock = dt_util.utcnow(), time.monotonic()
        self._added = []
        result, detail = "ok", ""
        self._show(phase=Phase.CONNECTING, next_collection=None)
        try:
            await self.gateway.check_room()
            await visit(self.hass, self.record.address, self.record.name, self._admit)
        except (AgentError, VisitError, OutboxError, NoRoom) as err:
            result, detail = err.reason, str(err)
            self._failed(err)
            raise
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        else:
            self._succeeded()
            return self._added
        finally:
            self._task = self._session = None
            self.timeline.append(
                SessionRecord(
                    began,
                    round(time.monotonic() - clock, 3),
                    result,
                    detail,
                    len(self._added),
                    sum(added.size for added in self._added),
                )
            )

    def _admit(self, identity: DeviceIdentity) -> DeviceCoordinator | None:
        """Let the session go on only with this very device, and only with consent."""
        if identity.key != self.record.identity.key or not self.gateway.collects(identity):
            self.gateway.met(identity, self.record.address, self.record.name)
            return None
        self.identified(identity, self.record.address)
        return self

    # The host of a session (see `visit.Host`)

    @property
    def accept_damaged(self) -> bool:
        """A capture damaged in three sessions in a row goes to quarantine as it is."""
        return self.memory.checksum_failures >= CHECKSUM_SESSIONS - 1

    @callback
    def session_began(self, session: AgentSession) -> None:
        """Show that captures are coming."""
        self._session = session
        self._show(phase=Phase.DOWNLOADING, present=True)

    @callback
    def on_progress(self, progress: Progress) -> None:
        """Show how much of the capture is here."""
        self._show(bytes_done=progress.done, bytes_total=progress.total)

    async def before_captures(self, session: AgentSession) -> None:
        """Give the device its log configuration, and ask it how well it hears us."""
        await self._write_log_setting(session)
        if (rssi := await session.read_rssi()) is not None:
            self._show(rssi=rssi)

    async def keep(self, capture: Capture) -> None:
        """Put *capture* on disk; only then may the device erase it."""
        added = await self.gateway.keep(capture)
        self._added.append(added)
        attributes = {"kind": capture.kind.value, "bytes": len(capture.data)}
        if added.outcome is Outcome.DUPLICATE:
            self.fire(DeviceEvent.DUPLICATE, attributes)
            return
        self.fire(DeviceEvent.COLLECTED, attributes)
        if capture.kind is CaptureKind.CORE_DUMP:
            self.fire(DeviceEvent.CORE_DUMP, {**attributes, **crash_attributes(capture)})

    # The device's log configuration

    @property
    def log_setting(self) -> LogSetting | None:
        """What the device was told, or will be, unless it has ended."""
        setting = self.record.log_setting
        return setting if setting is not None and setting.remaining() else None

    async def async_set_log_setting(self, setting: LogSetting | None) -> None:
        """Keep *setting* until the device has it; a newer one replaces an older."""
        self.record.log_setting = setting
        await self.gateway.store.async_save()
        self.async_update_listeners()
        if setting is not None and self._session is not None:
            await self._write_log_setting(self._session)

    async def _write_log_setting(self, session: AgentSession) -> None:
        setting = self.record.log_setting
        if setting is None or setting.written_at is not None:
            return
        if not setting.remaining():
            self.record.log_setting = None
        else:
            await session.write_log_config(setting.packet())
            if self.record.log_setting is setting:
                self.record.log_setting = replace(setting, written_at=time.time())
        self.gateway.store.save_soon()
        self.async_update_listeners()

    @callback
    def set_collect(self, *, collect: bool) -> None:
        """Collect the device when it is due, or leave it alone."""
        self.record.collect = collect
        self.gateway.store.save_soon()
        self._schedule(dt_util.utcnow())
        self.async_update_listeners()

    # After a session

    def _succeeded(self) -> None:
        self._failures = 0
        self.unreachable_since = None
        self._show(phase=Phase.IDLE, last_error=None, bytes_done=None, bytes_total=None)
        self._schedule(dt_util.utcnow() + self.interval)
        self.gateway.session_succeeded(self)

    def _failed(self, err: SessionError) -> None:
        self._failures += 1
        if isinstance(err, VisitError | AgentError) and self.unreachable_since is None:
            self.unreachable_since = time.time()
        if self.data.last_error != err.reason:
            _LOGGER.info("Collecting from %s failed: %s", self.identity.serial, err)
        self._show(phase=Phase.ERROR, last_error=err.reason, bytes_done=None, bytes_total=None)
        delay = min(FIRST_RETRY * 2 ** (self._failures - 1), self.interval.total_seconds())
        if isinstance(err, NoConnectionSlot):
            delay = SLOT_RETRY
        self._schedule(dt_util.utcnow() + timedelta(seconds=delay * random.uniform(0.9, 1.1)))  # noqa: S311 - spreads devices, keeps no secret
        self.gateway.count(err.reason)

    # When it is collected next

    @callback
    def _schedule(self, when: datetime) -> None:
        self._cancel_timer()
        self._show(next_collection=None if self.left_alone else when)
        if not self.left_alone:
            self._timer = async_track_point_in_utc_time(self.hass, self._timer_fired, when)

    @callback
    def _timer_fired(self, _now: datetime) -> None:
        self._timer = None
        if not self._due:
            return
        if bluetooth.async_address_present(self.hass, self.record.address, connectable=True):
            self._begin()
            return
        # Out of range: its next advertisement starts the session; this looks again besides,
        # since Home Assistant tells identical advertisements only once.
        self._timer = async_track_point_in_utc_time(
            self.hass, self._timer_fired, dt_util.utcnow() + timedelta(seconds=PRESENCE_CHECK)
        )

    @callback
    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer()
            self._timer = None

    # What is shown

    @callback
    def _show(self, **changes: Any) -> None:
        state = replace(self.data, **changes)
        if state != self.data:
            self.async_set_updated_data(state)

    @property
    def phase(self) -> Phase:
        """What the road is busy with; captures that wait are not idle."""
        if self.data.phase is Phase.IDLE and self.data.counters.waiting:
            return Phase.WAITING
        return self.data.phase

    @callback
    def _register_device(self) -> None:
        registry = dr.async_get(self.hass)
        entry_id = self.gateway.entry.entry_id
        identity = self.identity
        device = registry.async_get_or_create(
            config_entry_id=entry_id,
            identifiers={self.identifier},
            name=f"{identity.device_type or self.record.name} {identity.serial}".strip(),
            manufacturer=MANUFACTURER,
            model=identity.device_type or None,
            model_id=str(identity.application_id),
            serial_number=identity.serial,
            sw_version=identity.git_version or None,
            hw_version=None,
            via_device_id=dr.async_get_device_id_by_identifier(
                self.hass, (DOMAIN, entry_id), config_entry_id=entry_id
            ),
        )
        connections = {(dr.CONNECTION_BLUETOOTH, self.record.address)}
        if device.connections != connections:
            registry.async_update_device(device.id, new_connections=connections)


def device_identifier(identity: DeviceIdentity) -> tuple[str, str]:
    """Name a device in the registry: by application and serial, never by address."""
    return (DOMAIN, f"{identity.application_id}-{identity.serial}")
