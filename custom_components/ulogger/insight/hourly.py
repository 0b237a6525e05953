"""Metrics by the hour in which they were measured, as long-term statistics take them."""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from .reading import MetricReading

HOUR: Final = 3600


class Hour(NamedTuple):
    """The values of one metric in one hour; ``hour`` counts hours since 1970.

    A ``total`` beyond what a number can be is infinite, and the hour has no mean then.
    """

    name: str
    hour: int
    samples: int
    total: float
    low: float
    high: float


def hourly(metrics: Iterable[MetricReading]) -> list[Hour]:
    """Return what there is of each metric in each hour; what is not dated is of no hour."""
    hours: dict[tuple[str, int], Hour] = {}
    for metric in metrics:
        if metric.at is None:
            continue
        hour, value = int(metric.at // HOUR), float(metric.value)
        key = (metric.name, hour)
        one = Hour(metric.name, hour, 1, value, value, value)
        hours[key] = together(hours[key], one) if key in hours else one
    return list(hours.values())


def together(first: Hour, second: Hour) -> Hour:
    """Return what two parts of an hour make up."""
    total = first.total + second.total
    return first._replace(
        samples=first.samples + second.samples,
        total=math.inf if math.isnan(total) else total,
        low=min(first.low, second.low),
        high=max(first.high, second.high),
    )
