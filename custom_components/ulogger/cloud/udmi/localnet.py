"""Where a device is on local networks: its addresses, each in its family."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

FAMILY: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ADDRESS: Final = re.compile(r"[-_.:0-9A-Z]+")

type Addresses = Callable[[], Mapping[str, str]]
"""Returns a device's addresses by their families, such as ``{"ble": "AA:BB:CC:DD:EE:FF"}``."""


def address(text: str) -> str:
    """Return an address as UDMI writes it: in capitals; empty if it can't be written so."""
    found = text.partition("%")[0].strip().upper()
    return found if _ADDRESS.fullmatch(found) else ""


def in_families(addresses: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the addresses that can be written, as messages have them."""
    return {
        family: {"addr": found}
        for family, text in sorted(addresses.items())
        if FAMILY.fullmatch(family) and (found := address(text))
    }


class Localnet:
    """The block ``localnet`` of a device. A config of it says nothing yet."""

    name = "localnet"

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        """Do nothing: UDMI has no use for it so far."""

    def state(self) -> Mapping[str, Any] | None:
        """Return the addresses, None if there are none."""
        families = in_families(self._addresses())
        return {"families": families} if families else None

    def wake_at(self) -> float | None:
        """Return None."""
        return None

    def wake(self) -> None:
        """Do nothing."""
