"""What a metric measures, guessed from its name; a person may know better and change it.

Firmware has no units, but names have endings: ``battery_mv``, ``temp_c``, ``uptime_s``. Units and
device classes are Home Assistant's own words, as plain text. Every device class here is one that
a measurement may have, which those that only count up, as energy, may not.
"""

import re
from itertools import pairwise
from typing import Final, NamedTuple


class Measure(NamedTuple):
    """A unit and the kind of quantity, each None where the name does not tell."""

    unit: str | None = None
    device_class: str | None = None


NOTHING: Final = Measure()

_BY_ENDING: Final[dict[str, Measure]] = {
    "uv": Measure("μV", "voltage"),
    "mv": Measure("mV", "voltage"),
    "millivolts": Measure("mV", "voltage"),
    "volt": Measure("V", "voltage"),
    "volts": Measure("V", "voltage"),
    "voltage": Measure("V", "voltage"),
    "v": Measure("V", "voltage"),
    "ua": Measure("μA", "current"),
    "ma": Measure("mA", "current"),
    "amps": Measure("A", "current"),
    "a": Measure("A", "current"),
    "mw": Measure("mW", "power"),
    "w": Measure("W", "power"),
    "watts": Measure("W", "power"),
    "kw": Measure("kW", "power"),
    "mwh": Measure("mWh"),
    "wh": Measure("Wh"),
    "kwh": Measure("kWh"),
    "c": Measure("°C", "temperature"),
    "degc": Measure("°C", "temperature"),
    "celsius": Measure("°C", "temperature"),
    "f": Measure("°F", "temperature"),
    "degf": Measure("°F", "temperature"),
    "fahrenheit": Measure("°F", "temperature"),
    "kelvin": Measure("K", "temperature"),
    "pct": Measure("%"),
    "percent": Measure("%"),
    "rh": Measure("%", "humidity"),
    "rssi": Measure("dBm", "signal_strength"),
    "dbm": Measure("dBm", "signal_strength"),
    "snr": Measure("dB", "signal_strength"),
    "db": Measure("dB", "signal_strength"),
    "byte": Measure("B", "data_size"),
    "bytes": Measure("B", "data_size"),
    "kb": Measure("kB", "data_size"),
    "kib": Measure("KiB", "data_size"),
    "mb": Measure("MB", "data_size"),
    "mib": Measure("MiB", "data_size"),
    "bps": Measure("bit/s", "data_rate"),
    "us": Measure("μs", "duration"),
    "usec": Measure("μs", "duration"),
    "ms": Measure("ms", "duration"),
    "msec": Measure("ms", "duration"),
    "s": Measure("s", "duration"),
    "sec": Measure("s", "duration"),
    "secs": Measure("s", "duration"),
    "seconds": Measure("s", "duration"),
    "min": Measure("min", "duration"),
    "mins": Measure("min", "duration"),
    "minutes": Measure("min", "duration"),
    "h": Measure("h", "duration"),
    "hours": Measure("h", "duration"),
    "days": Measure("d", "duration"),
    "hz": Measure("Hz", "frequency"),
    "khz": Measure("kHz", "frequency"),
    "mhz": Measure("MHz", "frequency"),
    "pa": Measure("Pa", "pressure"),
    "hpa": Measure("hPa", "pressure"),
    "kpa": Measure("kPa", "pressure"),
    "mbar": Measure("mbar", "pressure"),
    "bar": Measure("bar", "pressure"),
    "psi": Measure("psi", "pressure"),
    "lux": Measure("lx", "illuminance"),
    "lx": Measure("lx", "illuminance"),
    "ppm": Measure("ppm"),
    "ppb": Measure("ppb"),
    "mm": Measure("mm", "distance"),
    "cm": Measure("cm", "distance"),
    "m": Measure("m", "distance"),
    "km": Measure("km", "distance"),
    "g": Measure("g", "weight"),
    "kg": Measure("kg", "weight"),
    "mps": Measure("m/s", "speed"),
    "kmh": Measure("km/h", "speed"),
    "rpm": Measure("rpm"),
    "deg": Measure("°"),
    "ml": Measure("mL", "volume_storage"),
    "lpm": Measure("L/min", "volume_flow_rate"),
}

_ALONE: Final = frozenset(
    {"rssi", "snr", "voltage", "rh"} | {ending for ending in _BY_ENDING if len(ending) > 4}
)
"""Endings that say enough when they are the whole name."""

_PERCENT_OF: Final[dict[str, str]] = {
    "battery": "battery",
    "batt": "battery",
    "soc": "battery",
    "humidity": "humidity",
    "hum": "humidity",
    "moisture": "moisture",
}
_PARTS_OF: Final[dict[str, str]] = {"co2": "carbon_dioxide", "co": "carbon_monoxide"}

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_FRACTION = "ppm"


def measure(name: str) -> Measure:
    """Return unit and device class of a metric's name, as far as its last word tells.

    Words are parted by anything that is no letter, and by a capital: ``batteryMv``. A last word
    of one or two letters tells nothing when it is the whole name.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return NOTHING
    *others, last = words
    if not others and last not in _ALONE:
        return NOTHING
    found = _BY_ENDING.get(last, NOTHING)
    if found.unit == "%" and found.device_class is None:
        return _of(found, others, _PERCENT_OF)
    if found.unit == _FRACTION:
        return _of(found, _joined(others), _PARTS_OF)
    return found


def _of(found: Measure, words: list[str], table: dict[str, str]) -> Measure:
    """Return a measure with the device class that another word of the name tells."""
    told = next((table[word] for word in reversed(words) if word in table), None)
    return found._replace(device_class=told)


def _joined(words: list[str]) -> list[str]:
    """Return words, and what stands together of a word and a number: ``co2``."""
    pairs = [a + b for a, b in pairwise(words) if b.isdecimal()]
    return [*words, *pairs]
