"""A crash in a line for people: what went wrong, and where.

What a state, an event or an action says is the same for everybody, so it is in the language of
this Home Assistant. The panel says the same line in the language of who looks at it.
"""

from typing import Final, Protocol

from homeassistant.core import HomeAssistant, callback

from .own_texts import own_text

UNREADABLE: Final = "unreadable"
"""The kind of fault of a core dump that tells nothing."""
LONGEST_PLACE: Final = 28
"""Characters of a place in a state, so that a list of entities has room for its name."""
_KINDS: Final = "entity.event.device_event.state_attributes.fault_kind.state"


class Told(Protocol):
    """A crash, or a group of them, as it is told."""

    @property
    def fault_kind(self) -> str:
        """What went wrong, by its name among the texts."""

    @property
    def place(self) -> str:
        """Where it happened."""

    @property
    def reason(self) -> str:
        """All of it in English."""


@callback
def crash_line(hass: HomeAssistant, crash: Told, most: int | None = None) -> str:
    """Say a crash in a line, with at most so many characters of its place.

    What an earlier version stored without a kind of fault is said as it was stored.
    """
    if crash.fault_kind == UNREADABLE:
        return own_text(hass, "common.crash_unreadable") or crash.reason
    fault = own_text(hass, f"{_KINDS}.{crash.fault_kind}")
    line = own_text(hass, "common.crash_in")
    if not crash.fault_kind or fault is None or line is None:
        return crash.reason
    return line.format(fault=fault, place=_cut(crash.place, most))


def _cut(place: str, most: int | None) -> str:
    """Leave out the line of the source before the end of a function's name."""
    if most is None or len(place) <= most:
        return place
    function = place.rpartition(" (")[0] or place
    return function if len(function) <= most else f"{function[: most - 1]}…"
