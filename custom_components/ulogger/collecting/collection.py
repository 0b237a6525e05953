"""One session with one device: it is let in, asked, and its captures are put on disk.

Nothing but the identification is read from a device, and nothing is written to it, until it is
known to be the one that is meant and that may be collected. Invariants: a device erases only
what is on disk; between the commit and the erase command nothing is parsed, notified or waited
for; what the device has erased is noted afterwards, and nobody waits for the note.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from homeassistant.core import callback

from ..account.account import Account
from ..agent.errors import AgentError, NotAnAgent, StaleTransfer
from ..agent.session import RECONNECTIONS, AgentSession, Pending, Progress
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceIdentity
from ..model.log_config import LogConfig
from ..model.signal import Notifying
from ..outbox.errors import OutboxError
from ..outbox.model import Added, Outcome
from .connection import DeviceOutOfRange, Drop, connected, with_services_read_anew
from .device_state import DeviceEvent, Phase

if TYPE_CHECKING:
    from .collector import DeviceCollector

_LOGGER = logging.getLogger(__name__)

CHECKSUM_SESSIONS = 3
RSSI_EVERY = 10.0
"""Seconds between two readings of the signal strength of a device that is followed."""


type AnotherIdentified = Callable[[DeviceIdentity, str, str], None]
"""Takes note of a device that answered in place of the one meant, with address and name."""


class Collection:
    """One session, over one connection, or over a few right after another.

    A ``live`` one goes on, taking what the device logs, until ``leave``. ``has_log`` says that it
    asks for no more lines: what the device logs from now on waits for the next session.
    """

    def __init__(
        self,
        account: Account,
        device: DeviceCollector,
        another_identified: AnotherIdentified,
        source: str | None = None,
        *,
        live: bool = False,
    ) -> None:
        self.hass = account.hass
        self.memory = device.memory
        self.added: list[Added] = []
        self.crashed = False
        self.live = live
        self.has_log = False
        self._leaving = False
        self._on_device = 0
        self._unnotified: deque[tuple[Capture, Added]] = deque()
        self._noting: asyncio.Task[None] | None = None
        self._account = account
        self._device = device
        self._another_identified = another_identified
        self._source = source
        self._address = device.record.address
        self._name = device.record.name
        self._session: AgentSession | None = None
        self._admitted: DeviceIdentity | None = None
        self._writing_log_level = False

    async def run(self) -> list[Added]:
        """Collect everything; returns what came to disk, also in `added` when this raises.

        Raises `NoDiskSpace`, `ConnectError` when no connection came about, `AgentError` when the
        device or its link failed, `OutboxError` when the disk did: the device keeps what was not
        committed.
        """
        await self._account.disk_space.check()
        try:
            await with_services_read_anew(self._collect)
        finally:
            self._session = None
            if self._noting is not None:
                await asyncio.wait([self._noting])
        if self._admitted is None:
            raise DeviceOutOfRange("another device answered, or its application is not approved")
        return self.added

    async def _collect(self) -> None:
        """Connect and collect, again at once as long as the device was faster than we."""
        self._admitted = None
        faster = 0
        while True:
            before = len(self.added)
            try:
                return await self._collect_once()
            except StaleTransfer:
                faster = 0 if len(self.added) > before else faster + 1
                if faster > RECONNECTIONS:
                    raise

    @callback
    def leave(self) -> None:
        """Follow the device no longer; what is under way is still taken."""
        self._leaving = True
        if self._session is not None:
            self._session.leave()

    async def _collect_once(self) -> None:
        drop = Drop()
        async with connected(self.hass, self._address, self._name, drop, self._source) as client:
            session = drop.session = AgentSession(
                client,
                memory=self.memory,
                on_progress=self._on_progress,
                accept_damaged=self._accept_damaged,
            )
            if self._admitted is None:
                # The device begins to send by itself: it is subscribed to before anything is read.
                await session.subscribe()
                identity = await session.identify()
                if not self._admits(identity):
                    return
                self._began(session)
                await self._write_log_level(session)
                self._admitted = identity
            else:
                # It was identified a moment ago: now its log comes first, before its next tick.
                self._began(session)
            async with self._watched(session):
                await self._take(session, self._admitted)
            self._show_rssi(session.rssi)

    @asynccontextmanager
    async def _watched(self, session: AgentSession) -> AsyncGenerator[None]:
        """Show how well a device that is followed hears us, and write a log level that is due."""
        if not self.live:
            yield
            return

        async def watch() -> None:
            while True:
                # What was wished while there was no link, or could not be written.
                await self.write_log_level()
                await asyncio.sleep(RSSI_EVERY)
                # A lost link ends the session, and this with it; one read that failed does not.
                with suppress(AgentError):
                    await self._read_rssi(session)

        watching = asyncio.create_task(watch(), name=f"{self._name} signal strength")
        try:
            yield
        finally:
            watching.cancel()

    def _admits(self, identity: DeviceIdentity) -> bool:
        """Let the session go on only with this very device, and only with consent."""
        if identity.key == self._device.record.identity.key and self._account.collects(identity):
            self._device.identified(identity)
            return True
        self._another_identified(identity, self._address, self._name)
        return False

    async def _take(self, session: AgentSession, identity: DeviceIdentity) -> None:
        """Have all captures kept, and nobody notified of one before its device may erase it."""
        taken: list[Pending] = []
        self._on_device = len(self.added)
        if self._leaving:
            session.leave()
        captures_of = session.follow if self.live else session.captures
        try:
            async with aclosing(captures_of(identity)) as captures:
                async for pending in captures:
                    if taken and pending.capture.kind is CaptureKind.LOG:
                        # Another log: what came before it was erased, if that is not the same one.
                        if all(each.answered for each in taken):
                            self._note(erased=True)
                        taken.clear()
                        self._on_device = len(self.added)
                    taken.append(pending)
                    try:
                        async with pending as capture:
                            await self._keep(capture)
                    finally:
                        self._notify()
                    self.has_log |= pending.capture.kind is CaptureKind.LOG
                    self._device.show(phase=self._at_rest, bytes_done=None, bytes_total=None)
            self.has_log = True
        finally:
            if (erased := has_erased(taken, session)) is not None:
                self._note(erased=erased)

    @property
    def _at_rest(self) -> Phase:
        return Phase.LIVE if self.live else Phase.IDLE

    @property
    def _accept_damaged(self) -> bool:
        """A capture damaged in three sessions in a row goes to quarantine as it is."""
        return self.memory.checksum_failures >= CHECKSUM_SESSIONS - 1

    @callback
    def _began(self, session: AgentSession) -> None:
        """Take note that the device is asked for its captures from now on."""
        self._session = session
        self.has_log = False
        self._device.show(present=True, **({"phase": Phase.LIVE} if self.live else {}))

    @callback
    def _on_progress(self, progress: Progress) -> None:
        """Show how much of the capture is here."""
        self._device.progressed(progress.done, progress.total)

    async def _read_rssi(self, session: AgentSession) -> None:
        """Ask the device how well it hears us: it measures that every two seconds."""
        self._show_rssi(await session.read_rssi())

    def _show_rssi(self, rssi: int | None) -> None:
        if rssi is not None:
            self._device.show(rssi=rssi)

    async def _keep(self, capture: Capture) -> None:
        """Put *capture* on disk and do nothing else; the device erases it when this returns."""
        added = await self._account.outbox.add(capture)
        self.added.append(added)
        self.crashed |= capture.kind is CaptureKind.CORE_DUMP
        self._unnotified.append((capture, added))

    @callback
    def _notify(self) -> None:
        """Notify of what is on disk; whatever goes wrong with that, the captures are safe."""
        while self._unnotified:
            with Notifying(f"of a capture of {self._name}"):
                self._fire(*self._unnotified.popleft())

    def _fire(self, capture: Capture, added: Added) -> None:
        self._device.captures_stored.notify()
        fire = self._device.fire
        attributes: dict[str, Any] = {"kind": capture.kind.value, "bytes": len(capture.data)}
        if added.outcome is Outcome.DUPLICATE:
            fire(DeviceEvent.DUPLICATE, attributes)
            return
        if added.may_repeat:
            attributes["may_repeat"] = True
        fire(DeviceEvent.COLLECTED, attributes)

    @callback
    def _note(self, *, erased: bool) -> None:
        """Have the outbox note what the device has erased; nobody waits for it meanwhile."""
        self._noting = self._account.entry.async_create_background_task(
            self.hass, self._write_note(erased=erased), f"{self._name} has erased"
        )

    async def _write_note(self, *, erased: bool) -> None:
        outbox = self._account.outbox
        try:
            if erased:
                await outbox.erased(self._device.record.identity.key)
            else:
                ids = (added.capture_id for added in self.added[self._on_device :])
                await outbox.held(id_ for id_ in ids if id_ is not None)
        except OutboxError as err:
            _LOGGER.debug("What %s has erased is not noted: %s", self._name, err)

    async def write_log_level(self) -> None:
        """Write the log configuration that is due, if the device is connected; else it waits."""
        if self._session is None:
            return
        try:
            await self._write_log_level(self._session)
        except AgentError as err:
            self._account.count(err.reason)

    async def _write_log_level(self, session: AgentSession) -> None:
        """Write what is due, and once more where something else became due meanwhile."""
        if self._writing_log_level:
            return
        self._writing_log_level = True
        try:
            while (config := self._device.record.log_levels.due(now := time.time())) is not None:
                if not await self._write_log_config(session, config, now):
                    return
        finally:
            self._writing_log_level = False

    async def _write_log_config(self, session: AgentSession, config: LogConfig, now: float) -> bool:
        """Write *config*; returns whether the device takes log configurations at all."""
        record = self._device.record
        before = record.log_levels
        # Until it is confirmed nobody knows whether the device has taken it.
        record.log_levels = before.after_write(before, now, certain=False)
        try:
            await session.write_log_config(config)
        except NotAnAgent as err:
            # Old firmware has no such characteristic; its captures are wanted all the same.
            record.log_levels = replace(record.log_levels, written=before.written)
            self._account.count(err.reason)
            return False
        else:
            record.log_levels = record.log_levels.after_write(before, now)
        finally:
            self._account.store.save_soon()
            self._device.async_update_listeners()
        return True


def has_erased(taken: Sequence[Pending], session: AgentSession) -> bool | None:
    """Return whether a device has erased all that it had, or none of it; None if nobody knows.

    A session that left the device empty leaves only what was not confirmed in doubt. The command
    that erases is the last one: a log's, unless a core dump comes behind it.
    """
    if session.emptied and all(pending.answered for pending in taken):
        return True
    if not taken:
        return None
    last = taken[-1]
    log_waits = last.capture.kind is CaptureKind.LOG and session.dump_waits
    return False if not last.commanded or log_waits else None
