"""What devices measured, read from the captures that are kept of them."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from homeassistant.core import HomeAssistant

from ..gateway.gateway import Gateway
from ..gateway.summary_file import SummaryRow
from ..insight.reading import Reading
from ..insight.units import measure
from ..outbox.errors import OutboxError
from .messages import MetricSeries

MOST_METRICS: Final = 16
"""Metrics of one device that are shown; which ones they are is told by the alphabet."""


class Series:
    """The newest values of a device's metrics, at most so many of each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._points: dict[str, deque[tuple[float, float]]] = {}

    def add(self, reading: Reading, arrived: float) -> None:
        """Add a capture's metrics; the captures come in their order. Blocks for a long one."""
        for metric in reading.metrics:
            points = self._points.get(metric.name)
            if points is None:
                points = self._points[metric.name] = deque(maxlen=self._most)
            points.append((arrived if metric.at is None else metric.at, float(metric.value)))

    def messages(self, since: float = 0.0) -> list[MetricSeries]:
        """Return the series, each in the order of time."""
        return [
            {
                "name": name,
                "unit": measure(name).unit,
                "points": sorted(point for point in self._points[name] if point[0] >= since),
            }
            for name in sorted(self._points)[:MOST_METRICS]
        ]


async def async_read_series(
    hass: HomeAssistant, gateway: Gateway, rows: Sequence[SummaryRow], captures: int, most: int
) -> Series:
    """Read the metrics of the newest captures that have any; ``rows`` has the newest first."""
    series = Series(most)
    measured = [row for row in rows if row.summary.metrics][:captures]
    for row in reversed(measured):
        try:
            reading = await gateway.readings.async_reading(row.capture_id)
        except OutboxError:
            continue
        await hass.async_add_executor_job(series.add, reading, row.captured_at)
    return series


def errors_since(rows: Iterable[SummaryRow], since: float) -> list[tuple[float, int]]:
    """Return how many errors came with each capture from a time on."""
    return [
        (row.captured_at, row.summary.errors)
        for row in rows
        if row.captured_at >= since and row.summary.errors
    ]
