"""When a frame was logged, and how far off that may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.insight.dating import Anchor, timeline
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support import made_captures as made

RATE = 1000
NOW = 1_795_000_000.0
ROUND = 1 << 32


def header(tick: int, epoch: float = 0.0, *, version: int = 4, rate: int = RATE) -> LogHeader:
    return LogHeader(version, 0, 0, tick, rate, round(epoch * 1e6), 0, 0)


def test_a_clock_of_the_device_dates_by_the_tick() -> None:
    found = timeline(header(5_000, NOW), 5_000, NOW + 0.4)
    assert found is not None
    at, uncertainty = found.at(2_000)
    assert at == NOW - 3
    assert uncertainty == pytest.approx(0.001 + 0.003)


@pytest.mark.parametrize("version", [3, 4])
def test_without_a_clock_the_arrival_dates_within_seconds(version: int) -> None:
    found = timeline(header(5_000, version=version), 5_000, NOW)
    assert found is not None
    assert found.at(5_000) == (NOW, 5.0)


@pytest.mark.parametrize(
    "unknown",
    [
        header(0, NOW),
        header(5_000, NOW, rate=0),
        header(4_999, NOW),
        LogHeader(2, 0, 7, 0, 0, 0, 0, 0),
    ],
    ids=["no anchor", "no rate", "more ticks than the anchor", "version 2"],
)
def test_what_nothing_tells_is_not_dated(unknown: LogHeader) -> None:
    assert timeline(unknown, 5_000, NOW) is None


def test_neither_clock_nor_arrival_dates_nothing() -> None:
    assert timeline(header(5_000), 5_000, 0.0) is None
    assert timeline(header(5_000, 2e12), 5_000, 0.0) is None
    assert timeline(header(5_000, 3.0), 5_000, 0.0) is None


def test_a_clock_that_was_never_set_is_not_believed() -> None:
    found = timeline(header(5_000, 1_577_836_800.0), 5_000, NOW)
    assert found is not None
    assert found.at(5_000) == (NOW, 5.0)


def test_a_clock_that_is_an_hour_off_is_believed_within_that_hour() -> None:
    found = timeline(header(5_000, NOW - 3600), 5_000, NOW)
    assert found is not None
    at, uncertainty = found.at(5_000)
    assert at == NOW - 3600
    assert uncertainty == 3595


def test_a_clock_alone_is_enough() -> None:
    found = timeline(header(5_000, NOW), 5_000, 0.0)
    assert found is not None
    assert found.at(5_000) == (NOW, 0.001)


def test_without_the_capture_before_a_device_may_have_booted_or_not() -> None:
    """A minute of logs of a device that runs since an hour: now or right after its boot."""
    found = timeline(header(3_600_000, NOW), 60_000, NOW)
    assert found is not None
    assert found.anchor.base is None
    at, uncertainty = found.at(60_000)
    assert at == NOW - 3540
    assert at + uncertainty >= NOW


def before(tick: int, ago: float, error: float = 0.0, base: int | None = 0) -> Anchor:
    return Anchor(tick, RATE, NOW - ago, error, base)


def test_frames_count_from_the_log_that_was_taken_before() -> None:
    found = timeline(header(3_600_000, NOW), 60_000, NOW, before(3_480_000, 120))
    assert found is not None
    assert found.anchor.base == 3_480_000
    at, uncertainty = found.at(60_000)
    assert at == NOW - 60
    assert uncertainty < 0.1


def test_a_device_that_was_reset_since_counts_from_its_boot() -> None:
    found = timeline(header(90_000, NOW), 60_000, NOW, before(3_480_000, 120))
    assert found is not None
    assert found.anchor.base == 0
    at, uncertainty = found.at(60_000)
    assert at == NOW - 30
    assert uncertainty < 0.1


def test_a_log_that_goes_on_from_one_that_was_not_erased_has_the_same_base() -> None:
    earlier = before(3_480_000, 120, base=3_400_000)
    found = timeline(header(3_600_000, NOW), 200_000, NOW, earlier, continues=True)
    assert found is not None
    assert found.anchor.base == 3_400_000
    assert found.at(200_000)[0] == NOW


def test_a_log_that_goes_on_from_one_of_unknown_base_is_as_uncertain() -> None:
    earlier = before(3_480_000, 120, base=None)
    found = timeline(header(3_600_000, NOW), 200_000, NOW, earlier, continues=True)
    assert found is not None
    assert found.anchor.base is None
    assert found.at(0)[1] >= 3_400


def test_ticks_of_another_rate_say_nothing() -> None:
    found = timeline(header(3_600_000, NOW), 60_000, NOW, Anchor(3_480_000, 500, NOW - 120, 0))
    assert found is not None
    assert found.anchor.base is None


@given(
    st.integers(0, ROUND - 1),
    st.floats(60, 30 * 86_400),
    st.lists(st.integers(0, 100_000), min_size=1, max_size=20),
    st.sampled_from([1000, 32768]),
)
def test_a_counter_that_went_round_dates_just_as_well(
    tick: int, elapsed: float, ticks: list[int], rate: int
) -> None:
    """The device ran through, however often its 32 bits were full meanwhile."""
    ticks_between = round(elapsed * rate)
    quiet = ticks_between - sum(ticks)
    if quiet < 0 or tick < 20 * rate:
        return
    earlier = Anchor(tick, rate, NOW - elapsed, 0.001, 0)
    now = header((tick + ticks_between) % ROUND, NOW, rate=rate)
    if not now.anchor_tick:
        return
    found = timeline(now, sum(ticks), NOW, earlier)
    assert found is not None
    assert found.anchor.base == tick
    at, uncertainty = found.at(sum(ticks))
    assert at == pytest.approx(NOW - quiet / rate, abs=0.001)
    assert uncertainty < 1 + 0.001 * elapsed


def test_a_log_longer_than_a_round_is_dated_back_from_its_anchor() -> None:
    found = timeline(header(10_000, NOW), ROUND + 4_000, NOW)
    assert found is not None
    at, uncertainty = found.at(ROUND + 4_000)
    assert at == NOW - 6
    assert uncertainty >= 6


def reading_of(*ticks: int, anchor: int, arrived: float) -> Capture:
    frames = [(each, made.payload()) for each in ticks]
    data = made.log(*frames, anchor=anchor, rate=RATE, version=3)
    return Capture(CaptureKind.LOG, DeviceIdentity(1, "S"), data, arrived)


def ats(reading: Reading) -> list[float | None]:
    return [frame.at for frame in reading.frames]


def test_one_capture_dates_the_next() -> None:
    first = read(reading_of(1_000, 1_000, anchor=10_000, arrived=NOW))
    second_capture = reading_of(2_000, 3_000, anchor=910_000, arrived=NOW + 900)
    alone, second = read(second_capture), read(second_capture, before=first.anchor)
    assert ats(first) == [NOW - 9, NOW - 8]
    assert ats(second) == [NOW + 2, NOW + 5]
    uncertainty = second.frames[0].uncertainty
    assert uncertainty is not None
    assert uncertainty < 10
    assert alone.frames[0].uncertainty is not None
    assert alone.frames[0].uncertainty > 900


@given(st.floats(0, 1e10), st.integers(0, ROUND - 1), st.integers(0, 2 * ROUND), st.data())
def test_no_header_makes_dating_fail(
    arrived: float, tick: int, total: int, data: st.DataObject
) -> None:
    rate = data.draw(st.integers(0, ROUND - 1))
    earlier = Anchor(
        data.draw(st.integers(0, ROUND - 1)),
        data.draw(st.sampled_from([rate, 1])),
        data.draw(st.floats(0, 1e10)),
        data.draw(st.floats(0, 10)),
        data.draw(st.none() | st.integers(0, ROUND - 1)),
    )
    made_header = header(tick, data.draw(st.floats(0, 1e13)), rate=rate)
    found = timeline(made_header, total, arrived, earlier, continues=data.draw(st.booleans()))
    if found is not None:
        at, uncertainty = found.at(total)
        assert at <= found.anchor.at
        assert uncertainty > 0
