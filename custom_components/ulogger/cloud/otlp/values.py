"""Values as OTLP's JSON has them: typed, 64-bit numbers as text, never anything that is no JSON."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

type Value = str | bool | int | float | Iterable[Value]
"""What an attribute can hold."""

LARGEST_INT: Final = 2**63 - 1
SMALLEST_INT: Final = -(2**63)
LATEST: Final = 2**64 - 1
_NANO: Final = 1_000_000_000


def any_value(value: Value) -> dict[str, Any]:
    """Return a value with its type; a whole number beyond 64 bits with a sign becomes text."""
    if isinstance(value, str):
        return {"stringValue": clean(value)}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        if SMALLEST_INT <= value <= LARGEST_INT:
            return {"intValue": str(value)}
        return {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": double(value)}
    return {"arrayValue": {"values": [any_value(each) for each in value]}}


def attributes(values: Mapping[str, Value | None]) -> list[dict[str, Any]]:
    """Return attributes; those that are None or an empty text are left out."""
    return [
        {"key": key, "value": any_value(value)}
        for key, value in values.items()
        if value is not None and value != ""
    ]


def double(value: float) -> float | str:
    """Return a number; what is none in JSON goes by its name."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def nanoseconds(at: float | None) -> str | None:
    """Return a moment (Unix seconds) in nanoseconds; None for one that OTLP can't hold."""
    if at is None or not 0.0 < at < LATEST / _NANO:
        return None
    # A float's last digits are no time: whole microseconds are what it tells today.
    nano = round(at * 1_000_000) * (_NANO // 1_000_000)
    return str(nano) if 0 < nano <= LATEST else None


def clean(text: str) -> str:
    """Return a text that UTF-8 can hold, whatever a device or an image made of it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
