"""A Bluetooth connection to one device, and why there is none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

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

from ..agent.errors import AgentError
from ..agent.session import AgentSession
from ..model.identity import DeviceIdentity
from ..model.plain_text import plain_text
from ..model.reason import Reason
from ..outbox.model import Added
from .client_over_path import client_over

CONNECT_TIMEOUT = 60.0
DISCONNECT_TIMEOUT = 5.0


class ConnectError(Exception):
    """No session with the device came about; `reason` is a translation key."""

    retryable = True
    reason = Reason.CONNECTION_FAILED

    def __init__(self, message: str, **placeholders: str) -> None:
        """Keep what a translated message needs besides the reason."""
        super().__init__(message)
        self.placeholders: Mapping[str, str] = placeholders


class DeviceOutOfRange(ConnectError):
    """No adapter that can connect sees the device."""

    reason = Reason.OUT_OF_RANGE


class NoAdapter(ConnectError):
    """Home Assistant has no Bluetooth adapter that can connect."""

    reason = Reason.NO_ADAPTER


class NoConnectionSlot(ConnectError):
    """Every connection that the adapters can hold is taken; a moment later one may be free."""

    reason = Reason.NO_CONNECTION_SLOT


class Interrupted(ConnectError):
    """The account was unloaded or reloaded meanwhile; loaded again, it goes on at once.

    ``added`` came to disk before that.
    """

    reason = Reason.INTERRUPTED

    def __init__(self, message: str, added: Iterable[Added] = ()) -> None:
        """Keep what came to disk before."""
        super().__init__(message)
        self.added = list(added)


@dataclass(slots=True)
class Drop:
    """Passes on to the session under way that the link broke, the moment the stack knows."""

    session: AgentSession | None = None

    def __call__(self, _client: BleakClientWithServiceCache) -> None:
        """Take note that the link broke."""
        if self.session is not None:
            self.session.link_lost()


class SessionTooLong(ConnectError):
    """The session brought too little for the time that it held a connection that others need."""

    reason = Reason.SESSION_TOO_LONG


async def identify(
    hass: HomeAssistant, address: str, name: str, source: str | None = None
) -> DeviceIdentity:
    """Connect to *address*, over the scanner *source*, read who is there, and nothing else.

    Raises `ConnectError` when no connection came about, `AgentError` when the device or its
    link failed.
    """

    async def once() -> DeviceIdentity:
        drop = Drop()
        async with connected(hass, address, name, drop, source) as client:
            drop.session = AgentSession(client)
            return await drop.session.identify()

    return await with_services_read_anew(once)


async def with_services_read_anew[T](work: Callable[[], Awaitable[T]]) -> T:
    """Do *work*, and once more where the services were remembered from other firmware."""
    try:
        return await work()
    except AgentError as err:
        if not err.stale_cache:
            raise
        return await work()


@asynccontextmanager
async def connected(
    hass: HomeAssistant, address: str, name: str, drop: Drop, source: str | None = None
) -> AsyncIterator[BleakClientWithServiceCache]:
    """Hold a connection to *address*; services that were remembered wrongly are forgotten.

    It goes over the scanner *source*, or whichever Home Assistant chooses. Raises `ConnectError`.
    """
    device = bluetooth.async_ble_device_from_address(hass, address, connectable=True)
    if device is None:
        raise _unreachable(hass, address)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            client_class, options = client_over(source)
            client = await bleak_retry_connector.establish_connection(
                client_class,
                device,
                plain_text(name),
                drop,
                max_attempts=2,
                ble_device_callback=lambda: (
                    bluetooth.async_ble_device_from_address(hass, address, connectable=True)
                    or device
                ),
                **options,
            )
    except BleakOutOfConnectionSlotsError as err:
        raise NoConnectionSlot("all Bluetooth connections are in use") from err
    except BleakNotFoundError as err:
        raise _unreachable(hass, address) from err
    except (BleakError, TimeoutError, EOFError) as err:
        raise ConnectError(f"connection failed: {err or type(err).__name__}") from err
    try:
        yield client
    except AgentError as err:
        if err.stale_cache:
            with suppress(BleakError, TimeoutError, EOFError):
                await client.clear_cache()
        raise
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
