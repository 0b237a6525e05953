"""The one radio that all accounts share: what Home Assistant's Bluetooth says, for the scheduler.

Nothing polls: the scheduler is asked when a slot becomes free, a scanner comes or goes, a
session ends, somebody wants one, a device is heard that was waited for, or a moment has come.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from habluetooth import get_manager
from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import BluetoothServiceInfoBleak
from homeassistant.core import CALLBACK_TYPE, HassJob, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later
from homeassistant.helpers.singleton import singleton

from ..const import DOMAIN
from ..radio.scheduler import Candidate, Scheduler
from ..radio.slots import Path
from ..radio.urgency import Urgency
from . import bluetooth_paths
from .connection import DeviceOutOfRange


class SharedRadio:
    """Plans the sessions of all devices of all accounts, and of strangers to be identified."""

    def __init__(self, hass: HomeAssistant, scheduler: Scheduler | None = None) -> None:
        self.hass = hass
        self.scheduler = scheduler or Scheduler()
        self.scanners = partial(bluetooth_paths.scanners, hass)
        self.paths = partial(bluetooth_paths.paths, hass)
        self._reserves: dict[str, int] = {}
        self._unsubscribe: list[CALLBACK_TYPE] = []
        self._listening: dict[Candidate, CALLBACK_TYPE] = {}
        self._timer: CALLBACK_TYPE | None = None
        self._timer_at = self._reached = float("-inf")
        self._look: asyncio.Handle | None = None

    # Accounts

    @callback
    def join(self, account_id: str, reserve: int) -> CALLBACK_TYPE:
        """Take part, leaving *reserve* slots of each scanner to others; returns what ends that."""
        if not self._reserves:
            manager = get_manager()
            self._unsubscribe = [
                manager.async_register_allocation_callback(self.look_soon),
                manager.async_register_scanner_registration_callback(self.look_soon, None),
            ]
        self._reserves[account_id] = reserve
        self.scheduler.reserve = max(self._reserves.values())
        return partial(self._leave, account_id)

    @callback
    def _leave(self, account_id: str) -> None:
        self._reserves.pop(account_id, None)
        self.scheduler.reserve = max(self._reserves.values(), default=0)
        if self._reserves:
            return
        for cancel in (*self._unsubscribe, *self._listening.values()):
            cancel()
        self._unsubscribe.clear()
        self._listening.clear()
        self._arm()

    # Candidates

    @property
    def now(self) -> float:
        """Seconds on the clock that plans are made on; a timer that fires has been reached."""
        return max(self.hass.loop.time(), self._reached)

    def candidate(
        self,
        address: Callable[[], str],
        begin: Callable[[Path], object],
        *,
        away: Callable[[], object] | None = None,
        waits: Callable[[], object] | None = None,
        yield_slot: Callable[[], object] | None = None,
    ) -> Candidate:
        """Make somebody who may want sessions with the device at an address."""
        made = Candidate(
            address, lambda: self._paths(made), begin, away=away, waits=waits, yield_slot=yield_slot
        )
        return made

    @callback
    def plan(
        self,
        candidate: Candidate,
        urgency: Urgency,
        *,
        not_before: float | None = None,
        since: float | None = None,
    ) -> None:
        """Have a session at a moment, by default now, or as soon after as it gets a slot."""
        self._listen_no_more(candidate)
        moment = self.now if not_before is None else not_before
        self.scheduler.plan(candidate, urgency, not_before=moment, since=since)
        if self.scheduler.due(self.now):
            self.look_soon()
        else:
            self._arm()

    @callback
    def drop(self, candidate: Candidate) -> None:
        """Want no session any more."""
        self._listen_no_more(candidate)
        self.scheduler.drop(candidate)
        self.look_soon()

    @callback
    def heard(self, candidate: Candidate, signal: float | None = None) -> None:
        """Take note that a device is heard; costs next to nothing for one that is not due."""
        if self.scheduler.heard(candidate, signal):
            self.look_soon()

    @callback
    def occupied(self, candidate: Candidate, source: str) -> None:
        """Take note of a session that begins without a plan."""
        self._listen_no_more(candidate)
        self.scheduler.occupied(candidate, self.now, source)

    @callback
    def ended(self, candidate: Candidate) -> None:
        """Take note that a session is over."""
        self.scheduler.ended(candidate)
        self.look_soon()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[str]:
        """Wait for what the known devices leave, and hold it: yields the scanner's source.

        For a device to be identified; raises `DeviceOutOfRange` when it is not heard any more.
        """
        begun: asyncio.Future[str] = self.hass.loop.create_future()

        def begin(path: Path) -> None:
            if not begun.done():
                begun.set_result(path.source)

        def away() -> None:
            if not begun.done():
                begun.set_exception(DeviceOutOfRange("out of range", diagnosis="gone meanwhile"))

        candidate = self.candidate(lambda: address, begin, away=away)
        self.plan(candidate, Urgency.IDENTIFY)
        try:
            yield await begun
        finally:
            self.drop(candidate)
            self.ended(candidate)

    # Looking who may begin

    @callback
    def look_soon(self, *_: object) -> None:
        """Look who may begin, once everything that happens now has happened."""
        if self._look is None:
            self._look = self.hass.loop.call_soon(self._begin_what_may)

    @callback
    def _begin_what_may(self) -> None:
        self._look = None
        if self.scheduler.due(self.now):
            running = self.scheduler.running
            self.scheduler.begin_what_may(self.now, self.scanners(running))
        self._arm()

    def _paths(self, candidate: Candidate) -> Sequence[Path]:
        """Find who hears a device; one that is waited for is listened to."""
        asked = candidate.urgency is Urgency.ASKED
        if found := self.paths(candidate.address(), quiet_too=asked):
            self._listen_no_more(candidate)
        elif candidate.away is None and candidate not in self._listening and self._reserves:
            self._listening[candidate] = bluetooth.async_register_advertisement_callback(
                self.hass, partial(self._heard_at_last, candidate), candidate.address()
            )
        return found

    @callback
    def _heard_at_last(self, candidate: Candidate, info: BluetoothServiceInfoBleak) -> None:
        self._listen_no_more(candidate)
        self.heard(candidate, info.rssi)

    def _listen_no_more(self, candidate: Candidate) -> None:
        if (cancel := self._listening.pop(candidate, None)) is not None:
            cancel()

    # Time

    def _arm(self) -> None:
        """Set the one timer to the next moment at which something may become due."""
        now = self.now
        moment = self.scheduler.wake_at(now)
        if self._timer is not None:
            if moment == self._timer_at:
                return
            self._timer()
            self._timer = None
        if moment is not None:
            self._timer_at = moment
            self._timer = async_call_later(
                self.hass,
                max(0.0, moment - now),
                HassJob(self._woken, "ulogger: a device is due", cancel_on_shutdown=True),
            )

    @callback
    def _woken(self, _now: datetime) -> None:
        self._timer, self._reached = None, self._timer_at
        self._begin_what_may()


@singleton(f"{DOMAIN}.radio")
def shared_radio(hass: HomeAssistant) -> SharedRadio:
    """Return the radio of this Home Assistant."""
    return SharedRadio(hass)
