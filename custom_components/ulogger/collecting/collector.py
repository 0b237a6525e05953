"""One device that is collected when it is due, and whenever somebody asks.

States: *idle*, with a plan in `Schedule`; *waiting*, due and without a slot; *in a session*, with
a task; *stopped*, for good. There is at most one session at a time, whoever asks for it. However
it ends, the next one is planned in `_session_ended`, and nowhere else.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, override

from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import BluetoothServiceInfoBleak
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.dispatcher import async_dispatcher_send
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator
from homeassistant.util import dt as dt_util

from ..account.account import Account
from ..account.device_registry import register_device, registered_device
from ..account.disk_space import NoDiskSpace
from ..account.store import DeviceRecord
from ..agent.errors import AgentError
from ..const import DOMAIN
from ..model.identity import DeviceIdentity
from ..model.plain_text import one_line
from ..model.signal import Signal
from ..outbox.errors import OutboxError
from ..outbox.model import Added
from ..radio.slots import Path
from ..radio.urgency import Urgency
from .capped_run import CappedRun
from .collection import AnotherIdentified, Collection
from .connection import ConnectError, Interrupted, NoConnectionSlot
from .device_state import (
    SIGNAL_DEVICE_EVENT,
    SIGNAL_DEVICE_LOGGED,
    DeviceEvent,
    DeviceState,
    Phase,
    SessionRecord,
    moment,
)
from .experience import Experience
from .kept import kept
from .live_mode import LiveMode
from .schedule import PATIENT_REFUSALS, Schedule
from .shared_radio import shared_radio
from .shown_phase import ShownPhase

_LOGGER = logging.getLogger(__name__)

STOP_WITHIN = 6.0
"""Seconds that a session has to take leave of its device when it is ended."""
SEEN_EVERY = 59.0
"""Seconds between two times that it is shown when and how well a device was heard."""
ASKED_WAITS = 120.0
"""Seconds that somebody who asks waits for a connection slot; the device stays in the line."""
SESSION_ERRORS = (AgentError, ConnectError, OutboxError, NoDiskSpace)

type SessionError = AgentError | ConnectError | OutboxError | NoDiskSpace


class DeviceCollector(DataUpdateCoordinator[DeviceState]):
    """Collects one device, shows how that goes, and notifies of what came of it.

    ``captures_stored`` notifies after captures came to disk and their device was released,
    ``session_ended`` after each session, ``session_succeeded`` after one with a good end,
    ``logged`` of lines that are worth an event, long after the device was released.
    ``another_identified`` is called with a device that answered in this one's place.
    """

    def __init__(
        self,
        hass: HomeAssistant,
        account: Account,
        record: DeviceRecord,
        *,
        another_identified: AnotherIdentified,
    ) -> None:
        super().__init__(
            hass,
            _LOGGER,
            config_entry=account.entry,
            name=f"{DOMAIN} {record.identity.serial}",
        )
        self.account = account
        self.record = record
        self.data = DeviceState(last_seen=moment(record.last_seen))
        # Outlives a reload: a transfer is taken up again where it was, sessions stay explained.
        self._kept = kept(hass, account.entry_id, record.identity.key)
        self.memory, self.timeline = self._kept.memory, self._kept.timeline
        self.unreachable_since: float | None = None
        self.session_succeeded = Signal[()]()
        self.session_ended = Signal[()]()
        self.captures_stored = Signal[()]()
        self.logged = Signal[str, Mapping[str, Any]]()
        self.logged.add(
            lambda event, line: async_dispatcher_send(hass, SIGNAL_DEVICE_LOGGED, self, event, line)
        )
        self._another_identified = another_identified
        self._events = Signal[DeviceEvent, Mapping[str, Any]]()
        self._schedule = Schedule(
            shared_radio(hass),
            address=lambda: record.address,
            begin=self._begin,
            waits=self._waits_for_slot,
            yield_slot=self._leave,
            urgency=lambda: self.urgency,
        )
        self._task: asyncio.Task[list[Added]] | None = None
        self._asked: asyncio.Future[asyncio.Task[list[Added]] | None] | None = None
        self._capped: CappedRun | None = None
        self._live = LiveMode(hass, self._live_over)
        self._experience = Experience()
        self._collection: Collection | None = None
        self._shown_phase = ShownPhase(hass, self.async_update_listeners)
        self._unavailable_logged = False
        self._upload_errors: dict[str, str] = {}
        self._seen_shown_at = float("-inf")
        self._stopped = False

    @property
    def identity(self) -> DeviceIdentity:
        """Who the device said it is when it was last identified."""
        return self.record.identity

    @property
    def disabled(self) -> bool:
        """Whether a person disabled the device in the device registry."""
        device = registered_device(self.hass, self.account.entry.entry_id, self.identity)
        return device is not None and device.disabled

    @property
    def excluded(self) -> bool:
        """Whether a person said not to collect the device."""
        return not self.record.collect or self.disabled

    async def async_finish(self, seconds: float) -> None:
        """Begin no session any more, and let one under way come to its end within *seconds*."""
        self._wait_no_more()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    async def async_stop(self) -> None:
        """End a session under way; the device keeps what was not committed."""
        self._wait_no_more()
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait([task], timeout=STOP_WITHIN)
            # A link that hangs even while it takes leave is left to the Bluetooth stack.
            task.cancel()
        self._shown_phase.stop()
        await self.async_shutdown()

    def _wait_no_more(self) -> None:
        """Begin no session any more, and let nobody wait for one."""
        self._stopped = True
        self._live.end()
        self._schedule.stop()
        self._answer_asked()
        self._wait_for_no_slot()

    @override
    async def _async_update_data(self) -> DeviceState:
        return self.data

    # What is shown and notified of

    @callback
    def async_add_event_listener(
        self, listener: Callable[[DeviceEvent, Mapping[str, Any]], None]
    ) -> CALLBACK_TYPE:
        """Notify *listener* of what happens; returns what ends that."""
        return self._events.add(listener)

    @callback
    def fire(self, event: DeviceEvent, attributes: Mapping[str, Any]) -> None:
        """Notify the event entities and triggers that something happened."""
        self._events.notify(event, attributes)
        async_dispatcher_send(self.hass, SIGNAL_DEVICE_EVENT, self, event, attributes)

    @callback
    def show(self, **changes: Any) -> None:
        """Show something else of the device, if it is something else."""
        state = replace(self.data, **changes)
        if state != self.data:
            self._shown_phase.update(state.busy_with)
            self.async_set_updated_data(state)

    # What the radio hears

    @callback
    def seen(self, info: BluetoothServiceInfoBleak) -> None:
        """Take note of an advertisement; called as often as the device sends another one."""
        self.record.last_seen = time.time()
        if self._unavailable_logged:
            self._unavailable_logged = False
            _LOGGER.info("%s is in range again", self.identity.serial)
        if not self.data.present or self._shown_long_ago:
            self._show_seen(info)
        self._schedule.heard(info.rssi)

    @callback
    def look(self) -> None:
        """Take note of when the device was heard last; called once a minute.

        Home Assistant tells identical advertisements only once, and remembers all of them.
        """
        info = bluetooth.async_last_service_info(self.hass, self.record.address, connectable=True)
        if info is None and self.data.present:
            self.lost()
        if not self.data.present or info is None or not self._shown_long_ago:
            return
        heard = time.time() - max(0.0, bluetooth.MONOTONIC_TIME() - info.time)
        self.record.last_seen = max(self.record.last_seen, heard)
        self._show_seen(info)

    @property
    def _shown_long_ago(self) -> bool:
        return time.monotonic() - self._seen_shown_at >= SEEN_EVERY

    def _show_seen(self, info: BluetoothServiceInfoBleak) -> None:
        self._seen_shown_at = time.monotonic()
        self.show(present=True, rssi=info.rssi, last_seen=moment(self.record.last_seen))

    @callback
    def lost(self) -> None:
        """Take note that the device is not seen any more."""
        if self._task is not None:
            return
        if not self._unavailable_logged:
            self._unavailable_logged = True
            _LOGGER.info("%s is out of range", self.identity.serial)
        self.show(present=False, rssi=None)
        self._wait_for_no_slot()

    @callback
    def identified(self, identity: DeviceIdentity) -> None:
        """Take what the device says of itself; new firmware is an event."""
        before = self.record.identity
        self.record.identity = identity
        self.record.last_identified = time.time()
        self.account.store.save_soon()
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
            self.account.changed.notify()
        self.async_update_listeners()

    async def async_collect(self) -> list[Added]:
        """Collect what the device has now; returns what came to disk.

        A session under way is joined, and one follows it where its log was taken before this was
        asked. Raises what a session raises (see `SessionError`); nobody's waiting ends it.
        """
        self._shown_phase.awaited()
        # A live session has no end: it makes one, and is taken up again.
        self._leave()
        too_late = self._collection is not None and self._collection.has_log
        added: list[Added] = []
        try:
            for _ in range(2 if too_late else 1):
                added = added + await self._result_of(self._task or await self._next_session())
        except Interrupted as err:
            raise Interrupted(str(err), [*added, *err.added]) from err
        return added

    async def _result_of(self, task: asyncio.Task[list[Added]]) -> list[Added]:
        """Wait for a session; returns what came to disk, or raises what it raised."""
        collection = self._collection
        await asyncio.wait([task])
        if task.cancelled():
            raise Interrupted("it was ended meanwhile", collection.added if collection else ())
        return task.result()

    # Collecting

    @property
    def urgency(self) -> Urgency:
        """How urgent the next session is, if nobody asks for it."""
        if self._live.on:
            return Urgency.LIVE
        if self._experience.troubled:
            return Urgency.TROUBLED
        if self.record.log_level_due:
            return Urgency.LOG_CONFIG
        return Urgency.USUAL if self.record.last_collected else Urgency.NEVER_COLLECTED

    # Live

    @callback
    def _leave(self) -> None:
        """Have a live session end once what is under way is taken."""
        if self._collection is not None and self._collection.live:
            self._collection.leave()

    @callback
    def _live_over(self) -> None:
        self._leave()
        if self._task is None and not self._stopped:
            self._plan_after_live()
        self.async_update_listeners()

    def _plan_after_live(self) -> None:
        """Go back to the interval; a device that is not to be collected is left alone."""
        if self.excluded:
            self._schedule.stop()
        else:
            self._schedule.after_restart(self.record.last_collected, self._interval())
        self._wait_for_no_slot()
        self._show_schedule()

    @callback
    def reconsider_plan(self, *, troubled: bool = False) -> None:
        """Take note that a log level waits or does not, or that what came last tells of errors."""
        self._experience.troubled |= troubled
        if self._task is None and not self._stopped and not self.excluded:
            self._schedule.at_latest_in(self._interval())
            self._show_schedule()

    def _reachable(self) -> bool:
        return bluetooth.async_address_present(self.hass, self.record.address, connectable=True)

    async def _next_session(self) -> asyncio.Task[list[Added]]:
        """Have a session as soon as there is a slot; one that can't be reached says so at once."""
        if self._stopped:
            raise Interrupted("the account is being unloaded")
        if not self._reachable():
            return self._begin()
        if (asked := self._asked) is None:
            asked = self._asked = self.hass.loop.create_future()
        self._schedule.asked()
        self._show_schedule()
        await asyncio.wait([asked], timeout=ASKED_WAITS)
        if (task := asked.result() if asked.done() else self._task) is not None:
            return task
        if self._stopped:
            raise Interrupted("the account was unloaded meanwhile")
        if not self._schedule.waits_for_slot:
            return self._begin()
        raise NoConnectionSlot("all Bluetooth connections are in use")

    def _answer_asked(self, task: asyncio.Task[list[Added]] | None = None) -> None:
        """Hand whoever waits for a session the one that begins, or none."""
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            asked.set_result(task)

    @callback
    def _begin(self, path: Path | None = None) -> asyncio.Task[list[Added]]:
        if self._task is None:
            source = None if path is None else path.source
            self._schedule.begun(source, live=self._live.on)
            self._experience.troubled = False
            # Until it has ended: a restart comes when it likes.
            self.record.interrupted = True
            self._collection = Collection(
                self.account, self, self._another_identified, source, live=self._live.on
            )
            self._task = self.account.entry.async_create_background_task(
                self.hass,
                self._collect(self._collection),
                f"{self.name} collects",
                eager_start=False,
            )
            self._task.add_done_callback(self._session_ended)
            self._answer_asked(self._task)
        return self._task

    async def _collect(self, collection: Collection) -> list[Added]:
        began, clock = dt_util.utcnow(), time.monotonic()
        result, detail = "ok", ""
        if self.data.phase is not Phase.WAITING_FOR_SLOT:
            self.show(phase=Phase.CONNECTING)
        self.show(next_collection=None)
        try:
            if collection.live:
                return await collection.run()
            self._capped = CappedRun()
            return await self._capped.run(collection.run())
        except SESSION_ERRORS as err:
            result, detail = err.reason, str(err)
            raise
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        finally:
            seconds = time.monotonic() - clock
            self.timeline.append(SessionRecord.of(began, seconds, result, detail, collection.added))

    @callback
    def progressed(self, done: int, total: int) -> None:
        """Show how much of the capture under way is here; what comes earns the session time."""
        phase = Phase.LIVE if self._collection and self._collection.live else Phase.DOWNLOADING
        self.show(phase=phase, bytes_done=done, bytes_total=total)
        if self._capped is not None:
            self._capped.brought(done)

    @callback
    def _session_ended(self, task: asyncio.Task[list[Added]]) -> None:
        """Plan the next session, however this one ended."""
        self._task = None
        collection, self._collection = self._collection, None
        self._schedule.ended()
        self._shown_phase.session_ended()
        self.record.interrupted = task.cancelled()
        self.show(bytes_done=None, bytes_total=None)
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            self.show(phase=Phase.IDLE)
        elif error is None:
            self._succeeded(collection)
        elif isinstance(error, NoConnectionSlot):
            self._slot_refused(error)
        elif isinstance(error, SESSION_ERRORS):
            self._failed(error)
        else:
            _LOGGER.error("Collecting from %s failed", self.identity.serial, exc_info=error)
            self.account.count("internal_error")
            self.show(phase=Phase.ERROR)
            self._schedule.after_failure(self.account.settings.interval)
        if self._live.on and not isinstance(error, NoConnectionSlot):
            self._schedule.while_live(failed=error is not None)
        if self._stopped or (self.excluded and not self._live.on):
            self._schedule.stop()
        self._show_schedule()
        # It does not advertise while it is connected: after a good session `look` looks again.
        if error is not None and not self._stopped and not self._reachable():
            self.lost()
        self.session_ended.notify()

    def _succeeded(self, collection: Collection | None) -> None:
        self.unreachable_since = None
        self.record.last_collected = time.time()
        self.account.store.save_soon()
        self.show(phase=Phase.IDLE, last_error=next(iter(self._upload_errors.values()), None))
        if collection is not None:
            self._experience.visited(collection.added, crashed=collection.crashed)
        self._schedule.after_success(self._interval())
        self.session_succeeded.notify()

    def _interval(self) -> timedelta:
        settings, awaited = self.account.settings, self.record.log_level_due
        usual, adaptive = settings.interval, settings.adaptive_interval
        return self._experience.interval(usual, adaptive=adaptive, awaited=awaited)

    def _slot_refused(self, error: NoConnectionSlot) -> None:
        """Stay in the line; that takes long only where something is wrong."""
        if self._schedule.refusals >= PATIENT_REFUSALS:
            self._show_failure(error)
        else:
            self.show(phase=Phase.WAITING_FOR_SLOT)
        self._schedule.after_refusal()

    @callback
    def _waits_for_slot(self) -> None:
        """Show that the device is due, and all connections are in use."""
        if self.data.present:
            self.show(phase=Phase.WAITING_FOR_SLOT)

    def _wait_for_no_slot(self) -> None:
        """Show that nobody waits for a connection: none is tried for now."""
        if self._task is None and self.data.phase is Phase.WAITING_FOR_SLOT:
            self.show(phase=Phase.IDLE)

    def _failed(self, error: SessionError) -> None:
        if isinstance(error, ConnectError | AgentError) and self.unreachable_since is None:
            self.unreachable_since = time.time()
        if isinstance(error, OutboxError):
            self.account.outbox_failed(error)
        self._show_failure(error)
        self._schedule.after_failure(self.account.settings.interval)

    def _show_failure(self, error: SessionError) -> None:
        if self.data.last_error != error.reason:
            _LOGGER.info("Collecting from %s failed: %s", self.identity.serial, one_line(error))
        self.show(phase=Phase.ERROR, last_error=error.reason)
        self.account.count(error.reason)

    def _show_schedule(self) -> None:
        self.show(next_collection=self._schedule.when)

    def _register_device(self) -> dr.DeviceEntry:
        return register_device(self.hass, self.account.entry.entry_id, self.record)
