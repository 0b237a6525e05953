"""One Bluetooth session with one device: connect, identify, ask who takes it in, collect.

Nothing but the identification is read from a device, and nothing is written to it, until
somebody has admitted it (see `Admit`). The one that is expected at an address is subscribed to
before that, since it begins to send by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import bleak_retry_connector
from bleak.exc import BleakError
from bleak_retry_connector import (
    BleakClientWithServiceCache,
    BleakNotFoundError,
    BleakOutOfConnectionSlotsError,
)
from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import BluetoothReachabilityIntent
from homeassistant.core import HomeAssistant

from ..agent.errors import AgentError, StaleTransfer
from ..agent.memory import TransferMemory
from ..agent.session import RECONNECTIONS, AgentSession, Pending, Progress
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceIdentity
from ..model.plain_text import plain_text

CONNECT_TIMEOUT = 60.0
DISCONNECT_TIMEOUT = 5.0


class ConnectError(Exception):
    """No session with the device came about; `reason` is a translation key."""

    retryable = True
    reason = "connection_failed"

    def __init__(self, message: str, **placeholders: str) -> None:
        """Keep what a translated message needs besides the reason."""
        super().__init__(message)
        self.placeholders: Mapping[str, str] = placeholders


class DeviceOutOfRange(ConnectError):
    """No adapter that can connect sees the device."""

    reason = "out_of_range"


class NoAdapter(ConnectError):
    """Home Assistant has no Bluetooth adapter that can connect."""

    reason = "no_adapter"


class NoConnectionSlot(ConnectError):
    """Every connection that the adapters can hold is taken; a moment later one may be free."""

    reason = "no_connection_slot"


class Host(Protocol):
    """Whoever takes a device in for a session: decides nothing, keeps everything."""

    memory: TransferMemory

    @property
    def accept_damaged(self) -> bool:
        """Whether a capture whose checksum keeps failing is taken for quarantine."""

    def session_began(self, session: AgentSession) -> None:
        """The device is connected and identified; *session* is good until the visit ends."""

    def on_progress(self, progress: Progress) -> None:
        """So many bytes of so many are here."""

    async def before_captures(self, session: AgentSession) -> None:
        """Do what the device must be told before its captures come."""

    async def after_captures(self, session: AgentSession) -> None:
        """Ask the device what it knows late in a session; what fails here is not told."""

    async def keep(self, capture: Capture) -> None:
        """Put *capture* on disk and do nothing else; the device erases it when this returns."""

    def notify(self) -> None:
        """Tell whoever wants to know what was put on disk; the device has been told to erase."""

    def note(self, *, erased: bool) -> None:
        """Note that the device has erased all that it had, or still has what it offered."""


type Admit = Callable[[DeviceIdentity], Host | None]
"""Says who takes the device in; None leaves it alone after the identification."""


@dataclass(slots=True)
class Visit:
    """What a session came to."""

    identity: DeviceIdentity
    admitted: bool = False
    captures: int = 0
    bytes: int = 0


async def visit(
    hass: HomeAssistant, address: str, name: str, admit: Admit, *, expected: Host | None = None
) -> Visit:
    """Connect to *address*, identify it and hand all its captures to whoever admits it.

    *expected* is who will take the device in if it is the one that was at this address before.
    Raises `ConnectError` when no connection came about, `AgentError` when the device or its
    link failed, and whatever `Host.keep` raises; the device keeps what was not committed.
    """
    try:
        return await _Meeting(admit, expected).hold(hass, address, name)
    except AgentError as err:
        if not err.stale_cache:
            raise
        # The services were remembered from other firmware; the failed visit cleared them.
        return await _Meeting(admit, expected).hold(hass, address, name)


class _Meeting:
    """A device and whoever takes it in, over one connection, or a few right after another."""

    def __init__(self, admit: Admit, expected: Host | None) -> None:
        self._admit = admit
        self._expected = expected
        self._admitted: tuple[Visit, Host] | None = None

    async def hold(self, hass: HomeAssistant, address: str, name: str) -> Visit:
        """Connect and collect, again at once as long as the device was faster than we."""
        for _ in range(RECONNECTIONS):
            with suppress(StaleTransfer):
                return await self._connect(hass, address, name)
        return await self._connect(hass, address, name)

    async def _connect(self, hass: HomeAssistant, address: str, name: str) -> Visit:
        drop = _Drop()
        async with _connected(hass, address, name, drop) as client:
            try:
                return await self._converse(client, drop)
            except AgentError as err:
                if err.stale_cache:
                    with suppress(BleakError, TimeoutError, EOFError):
                        await client.clear_cache()
                raise

    async def _converse(self, client: BleakClientWithServiceCache, drop: _Drop) -> Visit:
        if self._admitted is not None:
            # It was identified a moment ago: now its log comes first, before its next tick.
            met, host = self._admitted
            session = drop.session = _session(client, host)
            host.session_began(session)
        else:
            session = drop.session = _session(client, self._expected)
            if self._expected is not None:
                await session.subscribe()
            met = Visit(await session.identify())
            if (taking := self._admit(met.identity)) is None:
                return met
            host, met.admitted = taking, True
            if host is not self._expected:
                await session.close()
                session = drop.session = _session(client, host)
            host.session_began(session)
            await host.before_captures(session)
            self._admitted = met, host
        await _take(session, host, met)
        with suppress(AgentError):
            await host.after_captures(session)
        return met


async def _take(session: AgentSession, host: Host, met: Visit) -> None:
    """Have all captures kept, and nothing told of one before its device may erase it."""
    taken: list[Pending] = []
    ended = False
    try:
        async with aclosing(session.captures(met.identity)) as captures:
            async for pending in captures:
                taken.append(pending)
                try:
                    async with pending as capture:
                        await host.keep(capture)
                finally:
                    host.notify()
                met.captures += 1
                met.bytes += len(capture.data)
        ended = True
    finally:
        dump_waits = CaptureKind.CORE_DUMP in host.memory.partials
        if (erased := has_erased(taken, ended=ended, dump_waits=dump_waits)) is not None:
            host.note(erased=erased)


def _session(client: BleakClientWithServiceCache, host: Host | None) -> AgentSession:
    if host is None:
        return AgentSession(client)
    return AgentSession(
        client,
        memory=host.memory,
        on_progress=host.on_progress,
        accept_damaged=host.accept_damaged,
    )


def has_erased(taken: Sequence[Pending], *, ended: bool, dump_waits: bool) -> bool | None:
    """Tell whether a device has erased all that it had, or none of it; None if nobody knows.

    A session that came to its end found nothing more; then only what was not confirmed is in
    doubt. The command that erases is the last one: a log's, unless a core dump comes behind it.
    """
    if ended and all(pending.answered for pending in taken):
        return True
    if not taken:
        return None
    last = taken[-1]
    log_waits = last.capture.kind is CaptureKind.LOG and dump_waits
    return False if not last.told or log_waits else None


@dataclass(slots=True)
class _Drop:
    """Tells the session under way that the link broke, the moment the stack knows."""

    session: AgentSession | None = None

    def __call__(self, _client: BleakClientWithServiceCache) -> None:
        if self.session is not None:
            self.session.link_lost()


@asynccontextmanager
async def _connected(
    hass: HomeAssistant, address: str, name: str, drop: _Drop
) -> AsyncIterator[BleakClientWithServiceCache]:
    device = bluetooth.async_ble_device_from_address(hass, address, connectable=True)
    if device is None:
        raise _unreachable(hass, address)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            # Home Assistant replaces the class when Bluetooth is set up: look it up late.
            client = await bleak_retry_connector.establish_connection(
                bleak_retry_connector.BleakClientWithServiceCache,
                device,
                plain_text(name),
                drop,
                max_attempts=2,
                ble_device_callback=lambda: (
                    bluetooth.async_ble_device_from_address(hass, address, connectable=True)
                    or device
                ),
            )
    except BleakOutOfConnectionSlotsError as err:
        raise NoConnectionSlot("all Bluetooth connections are in use") from err
    except BleakNotFoundError as err:
        raise _unreachable(hass, address) from err
    except (BleakError, TimeoutError, EOFError) as err:
        raise ConnectError(f"connection failed: {err or type(err).__name__}") from err
    try:
        yield client
    finally:
        await _disconnect(client)


def _unreachable(hass: HomeAssistant, address: str) -> ConnectError:
    if not bluetooth.async_scanner_count(hass, connectable=True):
        return NoAdapter("no Bluetooth adapter can connect")
    why = bluetooth.async_address_reachability_diagnostics(
        hass, address, BluetoothReachabilityIntent.CONNECTION
    )
    return DeviceOutOfRange(f"out of range: {why}", diagnosis=why)


async def _disconnect(client: BleakClientWithServiceCache) -> None:
    try:
        async with asyncio.timeout(DISCONNECT_TIMEOUT):
            await client.disconnect()
    except BleakError, TimeoutError, EOFError:
        # The link is gone either way; the device resets its transfer on link loss.
        return
