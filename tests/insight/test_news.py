"""What is new in a capture, held against real captures."""

from hypothesis import given

from custom_components.ulogger.insight.news import News, news_of
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.insight.repeated_metrics import RepeatedMetrics
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

from ..support.encoder import Log, logs
from ..support.fixtures import real_log

DEVICE = DeviceIdentity(42, "S")
ARRIVED = 1_795_225_293.0


def reading_of(data: bytes, at: float = ARRIVED) -> Reading:
    return read(Capture(CaptureKind.LOG, DEVICE, data, at))


def new_in(
    data: bytes, seen: RepeatedMetrics | None = None, level: Level | None = Level.ERROR
) -> News:
    return news_of(reading_of(data), DEVICE.key, RepeatedMetrics() if seen is None else seen, level)


def test_lines_of_a_level_and_above_are_worth_an_event() -> None:
    news = new_in(real_log("v4-crash").data)
    assert [line.level for line in news.events.frames] == [Level.ERROR] * 7 + [Level.CRITICAL]
    assert news.events.left_out_total == 0
    assert (news.errors, news.warnings, len(news.metrics)) == (8, 14, 18)


def test_errors_and_warnings_are_counted_whatever_becomes_an_event() -> None:
    for level in (None, *list(Level)[: Level.CRITICAL + 1]):
        news = new_in(real_log("v4-crash").data, level=level)
        assert (news.errors, news.warnings) == (8, 14)
        assert len(news.events.frames) == min(
            20, news.events.left_out_total + len(news.events.frames)
        )
        assert bool(news.events.frames) is (level is not None)


def test_the_same_lines_offered_again_are_not_new() -> None:
    seen = RepeatedMetrics()
    assert new_in(real_log("v4-crash").data, seen).errors == 8
    again = new_in(real_log("v4-crash", "log_after_crash.bin").data, seen, Level.DEBUG)
    assert (again.errors, again.warnings, again.metrics) == (0, 0, ())
    # The line that the device added after its reset, and those below a warning: nobody asked
    # for them the first time.
    assert len(again.events.frames) + again.events.left_out_total == 62


def test_the_same_lines_at_another_time_are_new() -> None:
    seen = RepeatedMetrics()
    first = reading_of(real_log("v3-crash").data)
    later = reading_of(real_log("v3-crash").data, ARRIVED + 3600)
    for reading in (first, later):
        news = news_of(reading, DEVICE.key, seen, Level.ERROR)
        assert (news.errors, len(news.events.frames)) == (8, 8)


def test_what_was_dated_is_remembered_by_another_memory() -> None:
    first = new_in(real_log("v4-crash").data)
    restarted = RepeatedMetrics()
    restarted.remember(DEVICE.key, first.dated)
    again = new_in(real_log("v4-crash").data, restarted)
    assert (again.errors, again.warnings, again.metrics, again.dated) == (0, 0, (), ())


def test_bytes_that_are_not_what_the_device_sent_say_nothing() -> None:
    data = bytearray(real_log("v4-crash").data)
    data[-3] ^= 0x10
    assert reading_of(bytes(data)).frames
    assert new_in(bytes(data)) == News()


def test_a_log_that_ends_early_says_what_it_has() -> None:
    data = real_log("v4-crash").data[:1500]
    assert reading_of(data).damage is not None
    assert 0 < new_in(data).warnings < 14


@given(logs)
def test_whatever_comes_twice_is_new_once_as_far_as_it_is_dated(log: Log) -> None:
    seen = RepeatedMetrics()
    reading = reading_of(log.encoded())
    first = news_of(reading, DEVICE.key, seen, Level.DEBUG)
    levels = [frame.level for frame in reading.frames if frame.level <= Level.CRITICAL]
    assert len(first.events.frames) + first.events.left_out_total == len(levels)
    again = news_of(reading, DEVICE.key, seen, Level.DEBUG)
    undated = [frame for frame in reading.frames if frame.at is None and frame.level <= 4]
    assert len(again.events.frames) + again.events.left_out_total == len(undated)
    assert not again.dated
