"""The crashes of an account: each core dump is counted once, in the group of its fingerprint.

A core dump is read in the executor, after it is on disk and its device was released; then the
event is fired. Groups are made from what is read, and kept in the account's store with what must
outlast the captures: the states that people set, when and how often it happened, on which
devices and versions. What is in the outbox and not among the groups is read at the next start,
so a core dump that Home Assistant had no time for is told of then.

When a firmware image comes, the core dumps that it explains are read again. The rules of
``insight/crash_groups`` say what becomes of their groups: states are not lost, nothing counts
twice, and what was known by its address is known by its function from then on, core dumps that
are gone included. A removed image takes nothing back. None of that is an event.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from homeassistant.core import callback

from ..account.account import Account
from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..collecting.device_state import DeviceEvent
from ..coordinator import DeviceCoordinator
from ..firmware.matching import ImageKey, match
from ..firmware.symbols import Symbols
from ..insight.crash_attributes import crash_attributes
from ..insight.crash_groups import (
    CaptureKey,
    CrashGroup,
    CrashGroups,
    CrashState,
    Occurrence,
)
from ..insight.crash_report import CrashReport, crash_report, fingerprint
from ..insight.faults import FaultKind
from ..insight.reading import Reading
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceIdentity, DeviceKey
from ..model.signal import Notifying
from ..outbox.errors import NoSuchCapture, OutboxClosed, OutboxError
from .crash_words import UNREADABLE, crash_line
from .readings import Readings

_LOGGER = logging.getLogger(__name__)

_LATEST: Final = 32
"""Captures of a device among which the one that was just read is looked for."""


@dataclass(frozen=True, slots=True)
class LastCrash:
    """How a device last crashed; ``at`` is Unix time."""

    at: float
    reason: str
    fault_kind: str
    place: str
    version: str
    git_hash: str
    group: CrashGroup


class Crashes:
    """The crash groups of an account, and what devices show of them.

    ``image_of`` returns the firmware image of what a device ran, and blocks.
    """

    def __init__(
        self,
        account: Account,
        readings: Readings,
        image_of: Callable[[DeviceIdentity], Symbols | None],
        devices: Mapping[DeviceKey, DeviceCoordinator],
    ) -> None:
        self._hass = account.hass
        self._account = account
        self._readings = readings
        self._image_of = image_of
        self._devices = devices
        self._due: dict[int, None] = {}
        self._before: set[int] = set()
        self._last: dict[DeviceKey, LastCrash] | None = None
        self._begun = False
        self.task: asyncio.Task[None] | None = None

    # Life

    async def async_start(self) -> None:
        """Find the core dumps that are in no group; those of an earlier version are no news."""
        store = self._account.store
        for signal in (self._readings.read, self._readings.read_again):
            self._account.entry.async_on_unload(signal.add(self._read))
        for row in reversed(await self._account.outbox.listing()):
            key = CaptureKey(str(row.capture_id), row.captured_at)
            if row.kind is CaptureKind.CORE_DUMP and key not in self.groups:
                self._due[row.capture_id] = None
        if not store.crashes_known:
            self._before = set(self._due)

    @callback
    def begin(self) -> None:
        """Read beside everything else, now that those who want to be notified are there."""
        self._begun = True
        self._work()

    async def async_stop(self) -> None:
        """Finish the core dump at hand; the others have their turn at the next start."""
        self._begun = False
        if self.task is not None and not self.task.done():
            await asyncio.wait([self.task])

    @callback
    def follow(self, device: DeviceCoordinator) -> None:
        """Clear what a device shows when it comes back with other firmware."""

        @callback
        def happened(event: DeviceEvent, _attributes: Mapping[str, Any]) -> None:
            if event is DeviceEvent.FIRMWARE_CHANGED:
                self.clear(device)

        device.async_add_event_listener(happened)

    # What others ask

    @property
    def groups(self) -> CrashGroups:
        """The groups; only the methods here change them."""
        return self._account.store.crash_groups

    def last_of(self, device: DeviceKey) -> LastCrash | None:
        """Return how a device last crashed; None when it never did."""
        if self._last is None:
            self._last = _last_crashes(self.groups)
        return self._last.get(device)

    def crashed_since(self, device: DeviceCoordinator) -> bool:
        """Whether a device crashed since that was cleared, with the firmware that it runs now."""
        last, runs = self.last_of(device.identity.key), device.identity
        if last is None or last.at <= device.record.crash_cleared:
            return False
        return (last.version or runs.git_version, last.git_hash or runs.git_hash) == (
            runs.git_version,
            runs.git_hash,
        )

    async def async_report(self, occurrence: Occurrence) -> CrashReport | None:
        """Read an occurrence's core dump again; None when it is gone, or tells nothing."""
        try:
            capture = await self._account.outbox.read(int(occurrence.capture_id))
        except NoSuchCapture, ValueError:
            return None
        if capture.captured_at != occurrence.at:
            return None
        return await self._hass.async_add_executor_job(self._report, capture)

    async def async_report_of(self, capture: Capture) -> CrashReport | None:
        """Return what a core dump says; None when it tells nothing."""
        return await self._hass.async_add_executor_job(self._report, capture)

    # What people decide

    async def async_set_state(
        self, fingerprint: str, state: CrashState, version: str | None = None
    ) -> CrashGroup:
        """Set a group's state, on disk when this returns; KeyError when there is no such group."""
        group = self.groups.set_state(fingerprint, state, version)
        self._changed()
        await self._account.store.async_save()
        return group

    @callback
    def clear(self, device: DeviceCoordinator) -> None:
        """Take note that a person knows of a device's crashes, or that they are of the past."""
        self._clear(device.identity.key)
        device.async_update_listeners()

    def _clear(self, key: DeviceKey) -> None:
        store = self._account.store
        if (last := self.last_of(key)) is not None and (record := store.devices.get(key)):
            record.crash_cleared = last.at
            store.save_soon()

    # Reading

    @callback
    def _read(
        self, _device: DeviceCoordinator | None, capture_id: int, capture: Capture, _: Reading
    ) -> None:
        """Have a core dump read that was just stored, or that another image explains."""
        if capture.kind is CaptureKind.CORE_DUMP:
            self._due[capture_id] = None
            self._work()

    @callback
    def images_changed(self, image: ImageKey) -> None:
        """Have the core dumps read again that an image is for, whatever their devices run now."""
        explained: dict[tuple[int, str, str], bool] = {}
        for group in self.groups:
            for each in group.occurrences.values():
                ran = (each.application_id, each.version, each.git_hash)
                if ran not in explained:
                    application_id, version, git_hash = ran
                    identity = DeviceIdentity(application_id, "", "", version, git_hash)
                    explained[ran] = bool(match(image, identity))
                if explained[ran]:
                    self._due[int(each.capture_id)] = None
        self._work()

    @callback
    def _work(self) -> None:
        due = self._due or not self._account.store.crashes_known
        if self._begun and due and (self.task is None or self.task.done()):
            self.task = self._account.entry.async_create_background_task(
                self._hass, self._work_off(), "Read core dumps"
            )

    async def _work_off(self) -> None:
        """Read what is due, and what becomes due while that is written."""
        while await self._work_off_now() and self._due and self._begun:
            pass

    async def _work_off_now(self) -> bool:
        """Read what is due; returns False when the outbox is closed."""
        while self._due and self._begun:
            capture_id = next(iter(self._due))
            del self._due[capture_id]
            try:
                await self._count(capture_id)
            except OutboxClosed:
                return False
            except OutboxError as err:
                _LOGGER.debug("Core dump %s can't be read: %s", capture_id, err)
        if not self._due:
            self._account.store.crashes_known = True
        await self._account.store.async_save()
        self._changed()
        return True

    async def _count(self, capture_id: int) -> None:
        """Read a core dump, count it unless it is known, and fire the event."""
        outbox = self._account.outbox
        capture = await outbox.read(capture_id)
        report = await self._hass.async_add_executor_job(self._report, capture)
        occurrence = _occurrence(capture_id, capture, report)
        added = self.groups.add(occurrence)
        self._last = None
        if not added.counted:
            return
        if capture_id in self._before:
            self._clear(capture.device.key)
            return
        if (device := self._devices.get(capture.device.key)) is None:
            return
        rows = await outbox.listing(capture.device.key, limit=_LATEST)
        attributes: dict[str, Any] = {"kind": capture.kind.value, "bytes": len(capture.data)}
        if any(row.capture_id == capture_id and row.may_repeat for row in rows):
            attributes["may_repeat"] = True
        line = crash_line(self._hass, occurrence)
        attributes |= {"summary": line} if report is None else crash_attributes(report, line)
        group = self.groups.group_of(occurrence.key)
        attributes["fingerprint"] = group.fingerprint if group else occurrence.fingerprint
        attributes |= {"is_new": added.is_new, "regressed": added.regressed}
        device.fire(DeviceEvent.CORE_DUMP, attributes)

    def _report(self, capture: Capture) -> CrashReport | None:
        """Make the report of a core dump, None where it can't be read; blocks."""
        # Whatever is wrong with a dump or an image, the crash is counted and told.
        with Notifying("of what a core dump says"), suppress(CaptureError):
            dump = CoreDump.parse(capture.data)
            return crash_report(dump, self._image_of(dump.header.device))
        return None

    @callback
    def _changed(self) -> None:
        """Show what is other than before."""
        self._last = None
        self._account.changed.notify()
        for device in self._devices.values():
            device.async_update_listeners()


def _occurrence(capture_id: int, capture: Capture, report: CrashReport | None) -> Occurrence:
    """Return what is counted of a core dump; it came from who gave it, whatever it says."""
    told = partial(
        Occurrence,
        device=capture.device.serial,
        at=capture.captured_at,
        capture_id=str(capture_id),
        application_id=capture.device.application_id,
    )
    if report is None:
        return told(
            fingerprint=fingerprint(
                capture.device.application_id, FaultKind.UNKNOWN, "unreadable core dump"
            ),
            version=capture.device.git_version,
            git_hash=capture.device.git_hash,
            reason="a core dump that can't be read",
            fault_kind=UNREADABLE,
        )
    return told(
        fingerprint=report.fingerprint,
        version=report.device.git_version,
        git_hash=report.device.git_hash,
        reason=report.reason,
        address=report.address_fingerprint,
        fault_kind=str(report.fault.kind),
        place=report.place,
    )


def _last_crashes(groups: CrashGroups) -> dict[DeviceKey, LastCrash]:
    """Find how each device last crashed; of one no longer kept, the group tells the reason."""
    found: dict[DeviceKey, tuple[float, CrashGroup]] = {}
    for group in groups:
        for serial, at in group.devices.items():
            key = (group.application_id, serial)
            if key not in found or found[key][0] < at:
                found[key] = (at, group)
    last: dict[DeviceKey, LastCrash] = {}
    for key, (at, group) in found.items():
        kept = (each for each in group.occurrences.values() if each.device == key[1])
        latest = next((each for each in kept if each.at == at), None)
        told = latest if latest and latest.reason else group
        last[key] = LastCrash(
            at,
            told.reason,
            told.fault_kind,
            told.place,
            latest.version if latest else "",
            latest.git_hash if latest else "",
            group,
        )
    return last
