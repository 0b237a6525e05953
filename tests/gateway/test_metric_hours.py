"""Hours of metrics in SQLite, one part after the other."""

import math
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.gateway.metric_hours import TABLES, add_hours, due_hours
from custom_components.ulogger.insight.hourly import Hour, hourly
from custom_components.ulogger.insight.reading import MetricReading

KEY = (42, "A87DE76F0011")


def kept(*parts: list[float]) -> Hour:
    """Keep the parts of one hour, and return it."""
    connection = sqlite3.connect(":memory:")
    for table in TABLES:
        connection.execute(table)
    for part in parts:
        add_hours(connection, KEY, hourly(MetricReading("x", each, 10.0, 0.0) for each in part))
    ((_, hour),) = due_hours(connection, 1)
    connection.close()
    return hour


@given(st.lists(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=5), min_size=1, max_size=5))
def test_an_hour_is_what_its_parts_add_up_to(parts: list[list[float]]) -> None:
    values = [each for part in parts for each in part]
    hour = kept(*parts)
    assert (hour.samples, hour.low, hour.high) == (len(values), min(values), max(values))
    assert hour.total == pytest.approx(sum(values), rel=1e-9, abs=1e290)


def test_totals_beyond_all_numbers_are_kept_as_such() -> None:
    """A device may log the largest numbers that there are, upwards and then downwards."""
    hour = kept([1.7e308] * 2, [-1.7e308] * 2)
    assert hour == Hour("x", 0, 4, math.inf, -1.7e308, 1.7e308)
    assert kept([1.7e308] * 2, [-1.7e308] * 2, [1.0]).samples == 5
