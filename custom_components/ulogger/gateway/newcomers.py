"""How many devices that nobody knew an account takes in, at an address and in all.

A device of an approved application can say any serial, and another one each time it is asked.
Known devices are never counted out; whoever is turned away keeps its captures.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

MOST_AT_ADDRESS = 5
"""New serials that are taken in at one address within `WITHIN`."""
WITHIN = 3600.0
REMEMBERED = 24 * 3600.0
"""Seconds that an address at which a device was turned away is shown."""


class Limit(StrEnum):
    """What a new device was turned away for."""

    ADDRESS = "new_devices_at_address"
    ACCOUNT = "device_limit"


@dataclass(slots=True)
class _Address:
    """What happened at one address; moments on the monotonic clock."""

    taken_in: deque[float] = field(default_factory=deque)
    turned_away: float | None = None


class Newcomers:
    """What is remembered of an account's addresses, for a day."""

    def __init__(self) -> None:
        self._addresses: dict[str, _Address] = {}

    def limit(self, address: str) -> Limit | None:
        """Say whether one more device at *address* is one too many, and remember that it came."""
        if self._recent(address) >= MOST_AT_ADDRESS:
            self._addresses[address].turned_away = time.monotonic()
            return Limit.ADDRESS
        return None

    def taken_in(self, address: str) -> None:
        """Count a new device at *address*."""
        self._prune()
        self._addresses.setdefault(address, _Address()).taken_in.append(time.monotonic())

    def allow(self, address: str) -> None:
        """Begin to count anew at *address*: a person expects other devices there."""
        self._addresses.pop(address, None)

    def suspicious(self) -> list[str]:
        """Return the addresses at which somebody was turned away within a day."""
        self._prune()
        return [address for address, at in self._addresses.items() if at.turned_away is not None]

    def _recent(self, address: str) -> int:
        if (at := self._addresses.get(address)) is None:
            return 0
        while at.taken_in and time.monotonic() - at.taken_in[0] >= WITHIN:
            at.taken_in.popleft()
        return len(at.taken_in)

    def _prune(self) -> None:
        """Forget where nothing happened for long."""
        now = time.monotonic()
        for address, at in list(self._addresses.items()):
            if at.turned_away is not None and now - at.turned_away >= REMEMBERED:
                at.turned_away = None
            if not self._recent(address) and at.turned_away is None:
                del self._addresses[address]
