"""A metric that went up twice counts once.

Firmware agents offer again after a reset what was taken already. Within one capture nothing is
there twice, however alike two samples are; so a capture's metrics are held against those of the
captures before it, each of which can explain only one of them away.
"""

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..capture.duplicates import ARRIVAL_ERROR
from ..model.identity import DeviceKey
from .reading import MetricReading

MOST_OF_A_NAME: Final = 3_000
"""Values remembered for one name: as many as the largest log buffer holds of it."""
MOST: Final = 50_000
"""Values remembered in all, some megabytes; names that were not heard of the longest go first."""
SAME_CLOCK: Final = 0.05
"""Seconds between two readings of one moment where the device's clock dates both."""


class _Seen(NamedTuple):
    at: float
    uncertainty: float
    value: float


class RepeatedMetrics:
    """Tells metrics that are new from those that came before, by device, name, time and value."""

    def __init__(self, most: int = MOST, most_of_a_name: int = MOST_OF_A_NAME) -> None:
        self._most = most
        self._most_of_a_name = most_of_a_name
        self._seen: OrderedDict[tuple[DeviceKey, str], deque[_Seen]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """How many values are remembered."""
        return self._count

    def new(self, device: DeviceKey, metrics: Iterable[MetricReading]) -> list[MetricReading]:
        """Return those of one capture's metrics that were not seen before, and remember them.

        What can't be dated is always new: equal values alone prove nothing.
        """
        found = []
        before: dict[str, _Unexplained] = {}
        for metric in metrics:
            if metric.at is None:
                found.append(metric)
                continue
            one = _Seen(metric.at, metric.uncertainty or 0.0, float(metric.value))
            if metric.name not in before:
                before[metric.name] = _Unexplained(self._seen.get((device, metric.name), ()))
            if not before[metric.name].explains(one):
                found.append(metric)
                self._remember((device, metric.name), one)
        return found

    def remember(self, device: DeviceKey, metrics: Iterable[MetricReading]) -> None:
        """Remember what was new in an earlier life; what is not dated proves nothing."""
        for metric in metrics:
            if metric.at is not None:
                one = _Seen(metric.at, metric.uncertainty or 0.0, float(metric.value))
                self._remember((device, metric.name), one)

    def forget(self, device: DeviceKey) -> None:
        """Let go of a device that is removed."""
        for key in [key for key in self._seen if key[0] == device]:
            self._count -= len(self._seen.pop(key))

    def _remember(self, key: tuple[DeviceKey, str], one: _Seen) -> None:
        values = self._seen.setdefault(key, deque())
        self._seen.move_to_end(key)
        values.append(one)
        self._count += 1
        if len(values) > self._most_of_a_name:
            values.popleft()
            self._count -= 1
        while self._count > self._most:
            _, gone = self._seen.popitem(last=False)
            self._count -= len(gone)


class _Unexplained:
    """What came before of one name, and has not yet been found again in the capture at hand."""

    def __init__(self, seen: Iterable[_Seen]) -> None:
        self._by_value: dict[float, list[_Seen]] = {}
        for one in sorted(seen):
            self._by_value.setdefault(one.value, []).append(one)

    def explains(self, other: _Seen) -> bool:
        """Whether a value is one of those, as exactly as their times are known; it is used up."""
        of_value = self._by_value.get(other.value, [])
        first = bisect_left(of_value, other.at - ARRIVAL_ERROR, key=lambda one: one.at)
        for number in range(first, len(of_value)):
            one = of_value[number]
            if one.at > other.at + ARRIVAL_ERROR:
                break
            apart = min(max(one.uncertainty, other.uncertainty, SAME_CLOCK), ARRIVAL_ERROR)
            if abs(one.at - other.at) <= apart:
                del of_value[number]
                return True
        return False
