"""One session with one device: it is let in, asked, and its captures are put on disk."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from homeassistant.core import HomeAssistant, callback

from ..account.store import DeviceRecord
from ..agent.errors import AgentError, NotAnAgent
from ..agent.memory import TransferMemory
from ..agent.session import AgentSession, Progress
from ..gateway.gateway import Gateway
from ..insight.crash_attributes import crash_attributes
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceIdentity
from ..model.signal import Telling
from ..outbox.errors import OutboxError
from ..outbox.model import Added, Outcome
from .connection import DeviceOutOfRange, visit
from .device_state import DeviceEvent, Phase

_LOGGER = logging.getLogger(__name__)

CHECKSUM_SESSIONS = 3


class Collected(Protocol):
    """What a session asks of the device's coordinator."""

    record: DeviceRecord
    memory: TransferMemory

    def identified(self, identity: DeviceIdentity) -> None:
        """Take what the device says of itself."""

    def show(self, **changes: Any) -> None:
        """Show something else of the device."""

    def fire(self, event: DeviceEvent, attributes: Mapping[str, Any]) -> None:
        """Tell that something happened."""

    def async_update_listeners(self) -> None:
        """Have entities read their state anew."""


class Collection:
    """The host of a session (see `visit.Host`), for the one device that it is about."""

    def __init__(self, hass: HomeAssistant, gateway: Gateway[Any], device: Collected) -> None:
        self.hass = hass
        self.memory = device.memory
        self.added: list[Added] = []
        self._untold: deque[tuple[Capture, Added]] = deque()
        self._noting: asyncio.Task[None] | None = None
        self._gateway = gateway
        self._device = device
        self._address = device.record.address
        self._name = device.record.name
        self._session: AgentSession | None = None

    async def run(self) -> list[Added]:
        """Collect everything; returns what came to disk, also in `added` when this raises."""
        await self._gateway.room.check()
        try:
            met = await visit(self.hass, self._address, self._name, self._admit, expected=self)
        finally:
            self._session = None
            if self._noting is not None:
                await asyncio.wait([self._noting])
        if not met.admitted:
            raise DeviceOutOfRange("another device answered, or its application is not approved")
        return self.added

    def _admit(self, identity: DeviceIdentity) -> Collection | None:
        """Let the session go on only with this very device, and only with consent."""
        if identity.key == self._device.record.identity.key and self._gateway.fleet.collects(
            identity
        ):
            self._device.identified(identity)
            return self
        self._gateway.fleet.identified(identity, self._address, self._name)
        return None

    @property
    def accept_damaged(self) -> bool:
        """A capture damaged in three sessions in a row goes to quarantine as it is."""
        return self.memory.checksum_failures >= CHECKSUM_SESSIONS - 1

    @callback
    def session_began(self, session: AgentSession) -> None:
        """Show that captures are coming."""
        self._session = session
        self._device.show(phase=Phase.DOWNLOADING, present=True)

    @callback
    def on_progress(self, progress: Progress) -> None:
        """Show how much of the capture is here."""
        self._device.show(bytes_done=progress.done, bytes_total=progress.total)

    async def before_captures(self, session: AgentSession) -> None:
        """Give the device its log configuration."""
        await self._write_log_setting(session)

    async def after_captures(self, session: AgentSession) -> None:
        """Ask the device how well it hears us: it measures that every two seconds."""
        if (rssi := await session.read_rssi()) is not None:
            self._device.show(rssi=rssi)

    async def keep(self, capture: Capture) -> None:
        """Put *capture* on disk; only then may the device erase it, and only then is it told."""
        added = await self._gateway.keep(capture)
        self.added.append(added)
        self._untold.append((capture, added))

    @callback
    def notify(self) -> None:
        """Tell what is on disk; whatever goes wrong with that, the captures are safe."""
        while self._untold:
            with Telling(f"of a capture of {self._name}"):
                self._tell(*self._untold.popleft())

    def _tell(self, capture: Capture, added: Added) -> None:
        self._gateway.kept()
        fire = self._device.fire
        attributes: dict[str, Any] = {"kind": capture.kind.value, "bytes": len(capture.data)}
        if added.outcome is Outcome.DUPLICATE:
            fire(DeviceEvent.DUPLICATE, attributes)
            return
        if added.may_repeat:
            attributes["may_repeat"] = True
        fire(DeviceEvent.COLLECTED, attributes)
        if capture.kind is CaptureKind.CORE_DUMP:
            fire(DeviceEvent.CORE_DUMP, {**attributes, **crash_attributes(capture)})

    @callback
    def note(self, *, erased: bool) -> None:
        """Have the outbox note what the device has erased; nobody waits for it meanwhile."""
        self._noting = self._gateway.entry.async_create_background_task(
            self.hass, self._note(erased=erased), f"{self._name} has erased"
        )

    async def _note(self, *, erased: bool) -> None:
        outbox = self._gateway.outbox
        try:
            if erased:
                await outbox.erased(self._device.record.identity.key)
            else:
                ids = (added.capture_id for added in self.added)
                await outbox.held(id_ for id_ in ids if id_ is not None)
        except OutboxError as err:
            _LOGGER.debug("What %s has erased is not noted: %s", self._name, err)

    async def write_log_setting(self) -> None:
        """Write the log configuration now, if the device is connected; else it waits."""
        if self._session is None:
            return
        try:
            await self._write_log_setting(self._session)
        except AgentError as err:
            self._gateway.count(err.reason)

    async def _write_log_setting(self, session: AgentSession) -> None:
        record = self._device.record
        setting = record.log_setting
        if setting is None or setting.written_at is not None:
            return
        if not setting.remaining():
            record.log_setting = None
        else:
            try:
                await session.write_log_config(setting.packet())
            except NotAnAgent as err:
                # Old firmware has no such characteristic; its captures are wanted all the same.
                self._gateway.count(err.reason)
                return
            if record.log_setting is setting:
                told = replace(setting, written_at=time.time())
                record.log_setting = None if setting.revoked else told
        self._gateway.store.save_soon()
        self._device.async_update_listeners()
