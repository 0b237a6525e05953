"""One Bluetooth session with one device: connect, identify, ask who takes it in, collect.

Nothing but the identification is read from a device, and nothing is written to it, until
somebody has admitted it (see `Admit`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
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

from .agent.errors import AgentError
from .agent.memory import TransferMemory
from .agent.session import AgentSession, Progress
from .capture.model import Capture, DeviceIdentity
from .escaping import plain_text

CONNECT_TIMEOUT = 60.0
DISCONNECT_TIMEOUT = 5.0


class VisitError(Exception):
    """No session with the device came about; `reason` is a translation key."""

    retryable = True
    reason = "connection_failed"

    def __init__(self, message: str, **placeholders: str) -> None:
        """Keep what a translated message needs besides the reason."""
        super().__init__(message)
        self.placeholders: Mapping[str, str] = placeholders


class DeviceOutOfRange(VisitError):
    """No adapter that can connect sees the device."""

    reason = "out_of_range"


class NoAdapter(VisitError):
    """Home Assistant has no Bluetooth adapter that can connect."""

    reason = "no_adapter"


class NoConnectionSlot(VisitError):
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
        """Do what the device must be told or asked before its captures come."""

    async def keep(self, capture: Capture) -> None:
        """Put *capture* on disk; the device erases it when this returns."""


type Admit = Callable[[DeviceIdentity], Host | None]
"""Says who takes the device in; None leaves it alone after the identification."""


@dataclass(slots=True)
class Visit:
    """What a session came to."""

    identity: DeviceIdentity
    admitted: bool = False
    captures: int = 0
    bytes: int = 0


async def visit(hass: HomeAssistant, address: str, name: str, admit: Admit) -> Visit:
    """Connect to *address*, identify it and hand all its captures to whoever admits it.

    Raises `VisitError` when no connection came about, `AgentError` when the device or its
    link failed, and whatever `Host.keep` raises; the device keeps what was not committed.
    """
    try:
        return await _visit_once(hass, address, name, admit)
    except AgentError as err:
        if not err.stale_cache:
            raise
        # The services were remembered from other firmware; the failed visit cleared them.
        return await _visit_once(hass, address, name, admit)


async def _visit_once(hass: HomeAssistant, address: str, name: str, admit: Admit) -> Visit:
    drop = _Drop()
    async with _connected(hass, address, name, drop) as client:
        try:
            return await _converse(client, admit, drop)
        except AgentError as err:
            if err.stale_cache:
                with suppress(BleakError, TimeoutError, EOFError):
                    await client.clear_cache()
            raise


async def _converse(client: BleakClientWithServiceCache, admit: Admit, drop: _Drop) -> Visit:
    identity = await AgentSession(client).identify()
    result = Visit(identity)
    if (host := admit(identity)) is None:
        return result
    result.admitted = True
    session = AgentSession(
        client,
        memory=host.memory,
        on_progress=host.on_progress,
        accept_damaged=host.accept_damaged,
    )
    drop.session = session
    host.session_began(session)
    await host.before_captures(session)
    async with aclosing(session.captures(identity)) as captures:
        async for pending in captures:
            async with pending as capture:
                await host.keep(capture)
            result.captures += 1
            result.bytes += len(capture.data)
    return result


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
        raise VisitError(f"connection failed: {err or type(err).__name__}") from err
    try:
        yield client
    finally:
        await _disconnect(client)


def _unreachable(hass: HomeAssistant, address: str) -> VisitError:
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
