"""What the cloud may set through the shadow, and nothing else."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ...model.identity import DeviceKey
from ...model.level import LEVELS
from ...model.log_config import ALL_MODULES, LONGEST, SHORTEST, LogConfig
from ...model.plain_text import one_line

LOG_LEVELS: Final = "logLevels"
CERTIFICATE: Final = "remoteCertSn"
LONGEST_KEY: Final = 64
MOST_REFUSED: Final = 16
LARGEST_APPLICATION: Final = 0xFFFF_FFFF
_LONGEST_NUMBER: Final = 64
"""Digits of the serial number of a certificate."""
_LARGEST_NUMBER: Final = int("1" + "0" * _LONGEST_NUMBER)
_LATEST: Final = 253_402_300_799.0
"""The end of the year 9999, in Unix seconds."""

NOT_SETTABLE: Final = "not settable"
ENDED: Final = "ended"


@dataclass(frozen=True, slots=True)
class Settable:
    """A whole number that may be set, and how far it goes."""

    low: int
    high: int

    def refusal(self, value: object) -> str | None:
        """Say why a value can't be set; None for one that can."""
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not self.low <= value <= self.high:
            return f"a whole number from {self.low} to {self.high}"
        return None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was found in a desired state.

    ``options`` are values for names that may be set, ``log_levels`` what devices shall log,
    ``certificate`` the serial number of the remote certificate that there should be, ``refused``
    says why of everything else.
    """

    options: Mapping[str, int] = field(default_factory=dict)
    log_levels: Mapping[DeviceKey, LogConfig] = field(default_factory=dict)
    taken_levels: Mapping[str, Any] = field(default_factory=dict)
    certificate: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


def read_wishes(desired: Mapping[str, Any], settable: Mapping[str, Settable], now: float) -> Wishes:
    """Sort out what is desired; raises nothing, whatever it is. ``now`` is in Unix seconds."""
    options: dict[str, int] = {}
    certificate: str | None = None
    refused: dict[str, str] = {}
    levels, taken = _levels(desired.get(LOG_LEVELS), now, refused)
    for name, value in desired.items():
        if name in settable:
            if (why := settable[name].refusal(value)) is None:
                options[name] = int(value)
            else:
                refused[name] = why
        elif name == CERTIFICATE:
            if _is_number(value):
                certificate = str(int(value))
            else:
                refused[name] = "a certificate's serial number in decimal digits"
        elif name != LOG_LEVELS:
            refused[_key(name)] = NOT_SETTABLE
    kept = dict(list(refused.items())[:MOST_REFUSED])
    if more := len(refused) - len(kept):
        kept["..."] = f"{more} more"
    return Wishes(options, levels, taken, certificate, kept)


def _levels(
    wished: object, now: float, refused: dict[str, str]
) -> tuple[dict[DeviceKey, LogConfig], dict[str, Any]]:
    """Return the configurations, and the wishes of which they were made; add the others."""
    levels: dict[DeviceKey, LogConfig] = {}
    taken: dict[str, Any] = {}
    if wished is not None and not isinstance(wished, dict):
        refused[LOG_LEVELS] = "an object, by device"
    for device, wish in wished.items() if isinstance(wished, dict) else ():
        match _level_of(str(device), wish, now):
            case str() as why:
                refused[_key(f"{LOG_LEVELS}.{device}")] = why
            case key, config:
                levels[key] = config
                taken[device] = wish
    return levels, taken


def _level_of(device: str, wish: object, now: float) -> tuple[DeviceKey, LogConfig] | str:
    """Read ``"42-A87D": {"level": "debug", "until": 1790000000, "moduleFlags": 1}``.

    Returns why not, where that can't be done.
    """
    application, _, serial = device.partition("-")
    if not serial or len(serial) > LONGEST_KEY or not _is_number(application):
        return "named APPLICATION-SERIAL"
    if int(application) > LARGEST_APPLICATION or not isinstance(wish, dict):
        return "an object with level and until"
    level, until = wish.get("level"), wish.get("until")
    flags = wish.get("moduleFlags", ALL_MODULES)
    if not isinstance(level, str) or level not in LEVELS:
        return f"level: one of {', '.join(LEVELS)}"
    if isinstance(until, bool) or not isinstance(until, int | float) or not abs(until) < _LATEST:
        return "until: Unix seconds"
    if type(flags) is not int or not 0 <= flags <= ALL_MODULES:
        return "moduleFlags: 32 bits"
    if (seconds := math.ceil(until - now)) < SHORTEST:
        return ENDED
    return (int(application), serial), LogConfig(LEVELS.index(level), flags, min(seconds, LONGEST))


def _is_number(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return 0 <= value < _LARGEST_NUMBER
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER:
        return False
    return re.fullmatch(r"[0-9]+", value) is not None


def _key(name: str) -> str:
    """Return a name that somebody chose as one that can be reported."""
    return one_line(name, LONGEST_KEY) or "?"
