"""One device: what its entities ask of it, and what a person asks."""

import asyncio
import time
from datetime import timedelta
from typing import override

from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.event import async_track_device_registry_updated_event

from .account.account import Account
from .account.device_registry import device_identifier, device_name
from .account.quota import DaysInARow
from .account.store import DeviceRecord
from .collecting.collection import AnotherIdentified
from .collecting.collector import DeviceCollector
from .collecting.device_state import DeviceEvent, Phase
from .collecting.shown_upload import ShownUpload
from .model.capture import Capture
from .model.heard import Heard
from .model.log_levels import LogLevels, Wish, Written
from .outbox.model import Added, DeviceCounters


class DeviceCoordinator(DeviceCollector):
    """One device as its entities show it, and as a person steers it."""

    def __init__(
        self,
        hass: HomeAssistant,
        account: Account,
        record: DeviceRecord,
        *,
        another_identified: AnotherIdentified,
    ) -> None:
        super().__init__(hass, account, record, another_identified=another_identified)
        self._shown_upload = ShownUpload(hass, self.async_update_listeners, self._kept.upload)

    # What entities ask

    @property
    def identifier(self) -> tuple[str, str]:
        """The device's identifier in the device registry."""
        return device_identifier(self.identity)

    @property
    def called(self) -> str:
        """What the device is called by its user."""
        return device_name(self.hass, self.account.entry_id, self.identity)

    def unique_id(self, key: str) -> str:
        """Return the unique ID of one of the device's entities."""
        return f"{self.account.entry_id}-{self.identifier[1]}-{key}"

    @property
    def quota_days(self) -> int:
        """Days in a row, up to today or yesterday, on which the daily quota was reached."""
        return DaysInARow(self.record.quota_day, self.record.quota_days).lasting(time.time())

    @property
    def phase(self) -> Phase:
        """What *State* shows: what passes only where somebody waits for it, or it takes long."""
        return self._shown_phase.phase

    @property
    def in_session(self) -> bool:
        """Whether the device is being collected, or followed."""
        return self._task is not None

    @property
    def last_upload(self) -> float | None:
        """Unix seconds of the upload that *Last upload* shows: one for a collection."""
        return self._shown_upload.moment

    @property
    def log_level(self) -> Wish | None:
        """What the device shall log and who wishes that; None for its own defaults."""
        return self.record.log_levels.winner(time.time())

    @property
    def told_log_level(self) -> Written | None:
        """What the device was told to log, until when; None for its own defaults."""
        return self.record.log_levels.told(time.time())

    @property
    def log_level_written(self) -> bool:
        """Whether the device holds what it shall log."""
        return not self.record.log_level_due

    @property
    def heard(self) -> Heard:
        """What was read of the device's captures so far."""
        return self.record.heard

    # Life

    @callback
    def start(self) -> None:
        """Register the device and plan when it is due."""
        device = self._register_device()
        self.account.entry.async_on_unload(
            async_track_device_registry_updated_event(self.hass, device.id, self._registry_changed)
        )
        # As far as is known already: after a reload nothing shall seem to go and come back.
        self.show(present=self._reachable())
        if not self.excluded:
            self._plan_first()
        if (left := self._kept.live_until - self.hass.loop.time()) > 0:
            self._live.begin(timedelta(seconds=left))
            self._schedule.asked()
        self._show_schedule()

    @callback
    def _plan_first(self) -> None:
        """Go on where a session was interrupted, else keep the interval."""
        if self.record.interrupted:
            self._schedule.now()
        else:
            self._schedule.after_restart(self.record.last_collected, self.account.settings.interval)

    @override
    def _wait_no_more(self) -> None:
        """Follow the device again if the account is only reloaded: who watches it still does."""
        if not self._stopped:
            self._kept.live_until = self.hass.loop.time() + self._live.left.total_seconds()
        super()._wait_no_more()

    @override
    async def async_stop(self) -> None:
        await super().async_stop()
        self._shown_upload.stop()

    # What becomes of its captures

    @callback
    @override
    def _session_ended(self, task: asyncio.Task[list[Added]]) -> None:
        super()._session_ended(task)
        if self.data.counters.last_upload != self.last_upload:
            # What came last may not be counted yet, as waiting or as uploaded.
            self.account.refresh_soon()

    @callback
    def counters_changed(self, counters: DeviceCounters) -> None:
        """Show what the outbox counts for this device now."""
        self.show(counters=counters)
        more = self._task is not None or counters.waiting > 0
        self._shown_upload.update(counters.last_upload, more=more)
        before = DaysInARow(self.record.quota_day, self.record.quota_days)
        if self.identity.key not in self.account.over_quota():
            return
        if (days := before.reached(time.time())) != before:
            self.record.quota_day, self.record.quota_days = days.day, days.days
            self.account.store.save_soon()

    @callback
    def delivery_failed(self, destination: str, reason: str, capture_id: int) -> None:
        """Show that a destination did not take a capture; notifies once for a reason in a row."""
        if self._upload_errors.get(destination) != reason:
            self._upload_errors[destination] = reason
            self.fire(
                DeviceEvent.UPLOAD_FAILED,
                {"reason": reason, "capture": capture_id, "destination": destination},
            )
        self.show(last_error=reason)

    @callback
    def delivered(self, destination: str, capture: Capture) -> None:
        """Notify that a destination has acknowledged a capture."""
        self._upload_errors.pop(destination, None)
        if self.data.phase is not Phase.ERROR and not self._upload_errors:
            self.show(last_error=None)
        self.fire(
            DeviceEvent.UPLOADED,
            {
                "kind": capture.kind.value,
                "bytes": len(capture.data),
                "destination": destination,
            },
        )

    # What a person asks

    async def async_set_log_levels(self, levels: LogLevels, *, save_now: bool = True) -> None:
        """Keep *levels*, and write what they come to when the device is connected, or now if it is.

        They are on disk when this returns, or some seconds later without ``save_now``.
        """
        self.record.log_levels = levels
        if save_now:
            await self.account.store.async_save()
        else:
            self.account.store.save_soon()
        self.reconsider_plan()
        self.async_update_listeners()
        if self._collection is not None:
            await self._collection.write_log_level()

    @property
    def live(self) -> bool:
        """Whether a person watches the device."""
        return self._live.on

    @callback
    def set_live(self, *, live: bool) -> None:
        """Hold a connection to the device and take what it logs at once, or do so no longer."""
        if not live:
            self._live.end()
            return
        self._live.begin(self.account.settings.live_duration)
        if self._task is None and not self._stopped:
            self._schedule.asked()
        self.async_update_listeners()

    @callback
    def set_collect(self, *, collect: bool) -> None:
        """Collect the device when it is due, or leave it alone."""
        self.record.collect = collect
        self.account.store.save_soon()
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
            self._wait_for_no_slot()
        elif self._task is None:
            self._schedule.now()
        self._show_schedule()
