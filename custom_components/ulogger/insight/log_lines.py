"""Frames as they are read, for answers: as a line for people, as fields for programs."""

import math
from datetime import UTC, datetime
from typing import Any, Final

from .reading import LogFrame, Reading

WORTH_SAYING: Final = 0.5
"""An uncertainty below so many seconds is not shown to people."""


def as_line(frame: LogFrame) -> str:
    """Return time, level, module and text of a frame."""
    module = frame.module_name or f"module {frame.module}"
    return f"{_time(frame)} {frame.level.name} {module}: {frame.message}"


def as_lines(reading: Reading, most: int) -> list[str]:
    """Return up to ``most`` lines of a log; where it is damaged the last one says why it ends."""
    lines = [as_line(frame) for frame in reading.frames[:most]]
    if reading.damage is not None:
        said = "the rest can't be read" if lines else "can't be read"
        lines.append(f"{said}: {reading.damage.message}")
    return lines


def as_fields(frame: LogFrame) -> dict[str, Any]:
    """Return a frame for an answer; times are ISO 8601 and seconds, all of it is valid JSON."""
    return {
        "time": moment(frame.at),
        "uncertainty": None if frame.uncertainty is None else round(frame.uncertainty, 3),
        "seconds": None if frame.seconds is None else round(frame.seconds, 6),
        "level": frame.level.name.lower(),
        "module": frame.module_name,
        "module_number": frame.module,
        "message": frame.message,
        "arguments": [_json(value) for _, value in frame.arguments],
        "address": f"0x{frame.address:08X}",
    }


def moment(at: float | None) -> str | None:
    """Return a moment in Unix seconds as ISO 8601, to the millisecond."""
    return (
        None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    )


def _json(value: float | str) -> float | str:
    """Return an argument; what is no number in JSON (infinity) is written out."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _time(frame: LogFrame) -> str:
    """Return the time of day with how far off it may be, else seconds since boot or anchor."""
    if (at := moment(frame.at)) is None:
        return "-" if frame.seconds is None else f"{frame.seconds:.3f}"
    off = frame.uncertainty or 0.0
    return at + (f" ±{off:.0f} s" if off >= WORTH_SAYING else "")
