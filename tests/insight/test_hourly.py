"""Metrics by the hour, held against adding them up at once."""

import math

from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.insight.hourly import HOUR, Hour, hourly, together
from custom_components.ulogger.insight.reading import MetricReading

values = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(-(2**40), 2**40),
        st.one_of(st.none(), st.floats(0, 5 * HOUR - 0.001)),
    ),
    max_size=30,
)


def of(samples: list[tuple[str, int, float | None]]) -> list[MetricReading]:
    return [MetricReading(name, value, at, 0.0) for name, value, at in samples]


@given(values)
def test_each_value_is_in_its_hour(samples: list[tuple[str, int, float | None]]) -> None:
    found = {(each.name, each.hour): each for each in hourly(of(samples))}
    for name in "ab":
        for hour in range(5):
            inside = [
                value
                for other, value, at in samples
                if other == name and at is not None and hour * HOUR <= at < (hour + 1) * HOUR
            ]
            expected = (
                Hour(name, hour, len(inside), sum(inside), min(inside), max(inside))
                if inside
                else None
            )
            assert found.get((name, hour)) == expected


def test_totals_beyond_all_numbers_have_no_mean() -> None:
    (high,), (low,) = (hourly(of([("a", sign * 10**308, 1.0)] * 2)) for sign in (1, -1))
    assert (high.total, low.total) == (math.inf, -math.inf)
    assert together(high, low) == Hour("a", 0, 4, math.inf, -1e308, 1e308)


@given(values, values)
def test_parts_of_an_hour_add_up(
    first: list[tuple[str, int, float | None]], second: list[tuple[str, int, float | None]]
) -> None:
    whole = {(each.name, each.hour): each for each in hourly(of([*first, *second]))}
    parts: dict[tuple[str, int], Hour] = {}
    for each in (*hourly(of(first)), *hourly(of(second))):
        key = (each.name, each.hour)
        parts[key] = together(parts[key], each) if key in parts else each
    assert parts == whole
