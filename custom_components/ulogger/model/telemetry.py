"""What is measured and what happens: the same words from a frame to a cloud."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """A named number at ``timestamp`` (Unix seconds); without one it counts from its arrival."""

    name: str
    value: int | float
    timestamp: float | None = None


class Event(NamedTuple):
    """Something of a ``type`` that happened at ``timestamp`` (Unix seconds), or at its arrival.

    ``extras`` is what else goes up with it, under names of its own: whatever JSON knows.
    """

    type: str
    timestamp: float | None = None
    extras: Mapping[str, Any] = MappingProxyType({})


class TextLine(NamedTuple):
    """A line of text at ``at`` (Unix seconds), of a level from 0 (DEBUG) to 4 (CRITICAL)."""

    at: float
    level: int
    message: str


def heartbeat(rssi: float | None = None, timestamp: float | None = None) -> list[Metric]:
    """Return what keeps a device "active" for a day, with its signal strength in dBm."""
    metrics = [Metric("heartbeat", 1, timestamp)]
    if rssi is not None:
        metrics.append(Metric("rssi", rssi, timestamp))
    return metrics
