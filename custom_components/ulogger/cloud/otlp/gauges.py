"""From metrics to gauges: each value at its own time, with the unit that its name tells."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import orjson

from ...insight.reading import LogFrame, Reading
from ...insight.units import measure
from .ucum import ucum
from .values import LARGEST_INT, SMALLEST_INT, clean, double, nanoseconds

HEARTBEAT: Final = "heartbeat"
LONGEST_NAME: Final = 255


class Gauge(NamedTuple):
    """A value at a moment (Unix seconds); ``unit`` is Home Assistant's, None for a guess."""

    name: str
    value: int | float
    at: float
    unit: str | None = None


def measured(frame: LogFrame) -> tuple[str, int | float] | None:
    """Return what a frame measured; a sign of life is a metric, too. None for any other frame."""
    if frame.frame.is_heartbeat:
        return HEARTBEAT, 1
    metric = frame.metric
    return None if metric is None else (metric.name, metric.value)


def gauges_of(reading: Reading, arrived_at: float) -> list[Gauge]:
    """Return a capture's metrics in their order; what is not dated counts from its arrival."""
    found = []
    for frame in reading.frames:
        if (value := measured(frame)) is not None:
            at = arrived_at if frame.at is None else frame.at
            found.append(Gauge(*value, at))
    return found


def metrics_json(gauges: Iterable[Gauge]) -> bytes:
    """Return gauges as a list of metrics in JSON, those of one name and unit together."""
    by_name: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for gauge in gauges:
        name = clean(gauge.name)[:LONGEST_NAME]
        unit = measure(name).unit if gauge.unit is None else gauge.unit
        by_name.setdefault((name, ucum(unit)), []).append(_point(gauge))
    return orjson.dumps(
        [
            {"name": name, "unit": unit, "gauge": {"dataPoints": points}}
            for (name, unit), points in by_name.items()
        ]
    )


def _point(gauge: Gauge) -> dict[str, Any]:
    point: dict[str, Any] = {"timeUnixNano": nanoseconds(gauge.at) or "0"}
    value = gauge.value
    if isinstance(value, int) and SMALLEST_INT <= value <= LARGEST_INT:
        point["asInt"] = str(int(value))
    else:
        point["asDouble"] = double(float(value))
    return point
