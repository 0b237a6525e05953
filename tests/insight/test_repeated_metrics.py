"""A metric that went up twice counts once."""

import time

from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.insight.reading import MetricReading, read
from custom_components.ulogger.insight.repeated_metrics import RepeatedMetrics
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support.fixtures import real_log

PUMP, DOOR = (1, "pump"), (1, "door")


def sample(
    at: float | None, value: float = 20.0, name: str = "t", off: float = 0.01
) -> MetricReading:
    return MetricReading(name, value, at, None if at is None else off)


def test_the_same_log_again_has_no_new_metrics() -> None:
    seen = RepeatedMetrics()
    identity = DeviceIdentity(42, "S")
    for data in (real_log("v4-crash").data, real_log("v4-crash", "log_after_crash.bin").data):
        metrics = list(read(Capture(CaptureKind.LOG, identity, data, 1_795_225_293.0)).metrics)
        new = seen.new(identity.key, metrics)
        if data == real_log("v4-crash").data:
            assert new == metrics
    assert not new
    assert metrics


def test_another_device_name_time_or_value_is_another_metric() -> None:
    seen = RepeatedMetrics()
    assert seen.new(PUMP, [sample(100)])
    assert seen.new(DOOR, [sample(100)])
    assert seen.new(PUMP, [sample(100, name="u")])
    assert seen.new(PUMP, [sample(101)])
    assert seen.new(PUMP, [sample(100, 21.0)])
    assert not seen.new(PUMP, [sample(100)])


def test_times_that_are_uncertain_match_within_that_and_never_by_more_than_seconds() -> None:
    seen = RepeatedMetrics()
    assert seen.new(PUMP, [sample(100, off=3600)])
    assert seen.new(PUMP, [sample(106, off=3600)])
    assert not seen.new(PUMP, [sample(102, off=3600)])


def test_two_equal_samples_of_one_capture_are_two() -> None:
    seen = RepeatedMetrics()
    twice = [sample(100, off=5), sample(101, off=5)]
    assert seen.new(PUMP, twice) == twice
    assert not seen.new(PUMP, twice)
    assert len(seen.new(PUMP, [*twice, sample(102, off=5)])) == 1


def test_what_can_not_be_dated_is_new() -> None:
    seen = RepeatedMetrics()
    for _ in range(2):
        assert seen.new(PUMP, [sample(None)])


def test_memory_is_bounded_and_a_removed_device_is_forgotten() -> None:
    seen = RepeatedMetrics(most=100, most_of_a_name=30)
    for number in range(50):
        assert seen.new(PUMP, [sample(number)])
    assert len(seen) == 30
    for number in range(200):
        seen.new(DOOR, [sample(1, name=f"n{number}")])
    assert len(seen) == 100
    assert seen.new(PUMP, [sample(49)])
    seen.forget(DOOR)
    assert len(seen) == 1


def test_a_full_log_of_one_metric_is_told_apart_fast() -> None:
    seen = RepeatedMetrics()
    for each in range(3):
        capture = [sample(each * 10_000 + number) for number in range(2_600)]
        start = time.thread_time()
        assert seen.new(PUMP, capture) == capture
        assert time.thread_time() - start < 0.2
    assert not seen.new(PUMP, capture)


@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.sampled_from([1.0, 2.0]), st.sampled_from("ab")),
        max_size=30,
    ),
    st.data(),
)
def test_any_part_of_a_capture_that_comes_again_adds_nothing(
    values: list[tuple[int, float, str]], data: st.DataObject
) -> None:
    capture = [sample(at, value, name) for at, value, name in values]
    seen = RepeatedMetrics()
    assert seen.new(PUMP, capture) == capture
    start = data.draw(st.integers(0, len(capture)))
    again = capture[start : data.draw(st.integers(start, len(capture)))]
    assert not seen.new(PUMP, again)
    later = [sample(at + 5000, value, name) for at, value, name in values]
    assert seen.new(PUMP, again + later) == later
