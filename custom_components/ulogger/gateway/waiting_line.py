"""Who is tried next when more unidentified devices wait to be identified than may be at once.

Anybody can advertise and never take a connection, under as many addresses as they like, and
each of them costs an attempt of up to a minute. There are two places:

- one for devices that have not failed yet, the newest first: however many wait, whoever comes
  next waits for one attempt at most;
- one for all, the fewest failed attempts first, then the oldest: however many come later, whoever
  waits and stays is not passed over for ever.

There is one line for all accounts. Whoever has a turn still takes only the connection slots that
known devices leave (see `collecting.shared_radio`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto

from homeassistant.core import HomeAssistant
from homeassistant.helpers.singleton import singleton

from ..const import DOMAIN


class _Place(Enum):
    NEWEST = auto()
    OLDEST = auto()


@dataclass(slots=True, eq=False)
class _Waiter:
    """One that waits; its turn is the place that it gets."""

    failures: int
    turn: asyncio.Future[_Place]


class WaitingLine:
    """Lets two be tried at once."""

    def __init__(self) -> None:
        self._free = {_Place.NEWEST, _Place.OLDEST}
        self._waiting: list[_Waiter] = []

    @asynccontextmanager
    async def turn(self, failures: int) -> AsyncIterator[None]:
        """Wait for a turn, and hold it; *failures* is how often this one has failed in a row."""
        waiter = _Waiter(failures, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._give_out()
        try:
            await waiter.turn
            yield
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self._free.add(waiter.turn.result())
                self._give_out()

    def _give_out(self) -> None:
        """Fill the places that are free."""
        unfailed = [waiter for waiter in self._there() if not waiter.failures]
        if unfailed and _Place.NEWEST in self._free:
            self._begin(unfailed[-1], _Place.NEWEST)
        if (there := self._there()) and _Place.OLDEST in self._free:
            self._begin(min(there, key=lambda waiter: waiter.failures), _Place.OLDEST)

    def _there(self) -> list[_Waiter]:
        """Return who waits, in the order they came, without those that were just cancelled."""
        return [waiter for waiter in self._waiting if not waiter.turn.cancelled()]

    def _begin(self, waiter: _Waiter, place: _Place) -> None:
        self._waiting.remove(waiter)
        self._free.remove(place)
        waiter.turn.set_result(place)


@singleton(f"{DOMAIN}.waiting_line")
def waiting_line(_hass: HomeAssistant) -> WaitingLine:
    """Return the line of this Home Assistant."""
    return WaitingLine()
