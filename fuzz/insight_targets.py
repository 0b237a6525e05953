"""The room of insight: captures read, summed up and searched, and what tells them apart."""

import json
import math
import struct
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.firmware.format_strings import may_contain, render
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.cache import estimated_size
from custom_components.ulogger.insight.dating import Anchor, timeline
from custom_components.ulogger.insight.hourly import HOUR, Hour, hourly, together
from custom_components.ulogger.insight.log_lines import as_fields, as_lines
from custom_components.ulogger.insight.news import News, news_of
from custom_components.ulogger.insight.picking import MOST_EVENTS, pick_events
from custom_components.ulogger.insight.reading import MetricReading, Reading, read
from custom_components.ulogger.insight.repeated_metrics import RepeatedMetrics
from custom_components.ulogger.insight.search import Query, Source, search
from custom_components.ulogger.insight.summary import LONGEST_NAME, Summary, summarize
from custom_components.ulogger.insight.units import measure
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level
from decode.files import kind_of

from .target import Target

_FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "agent"
_DEVICE = DeviceIdentity(42, "A87DE76F0011")
_ARRIVED = 1_795_225_293.0
_IMAGE = FirmwareImage.load((_FIXTURES / "v4-crash" / "firmware.elf").read_bytes())
_DATING = struct.Struct("<IIQIIIf?")
_SAMPLE = struct.Struct("<BdQ")


def _captures() -> list[bytes]:
    """Return real captures, the long ones cut."""
    return [path.read_bytes()[:4096] for path in sorted(_FIXTURES.glob("*/*.bin"))]


def _capture(data: bytes) -> Capture:
    return Capture(kind_of(data), _DEVICE, data, _ARRIVED)


def _reading(data: bytes) -> object:
    """Read a capture with an image and without; both have to see the same frames."""
    capture = _capture(data)
    reading, bare = read(capture, _IMAGE), read(capture)
    # As text, because what is not a number is not equal to itself.
    if str([frame.frame for frame in reading.frames]) != str(
        [frame.frame for frame in bare.frames]
    ):
        raise AssertionError("an image changes what was logged")
    seen = RepeatedMetrics()
    for metric in (*seen.new(_DEVICE.key, reading.metrics), *reading.metrics):
        measure(metric.name)
    pick_events(reading, Level.DEBUG)
    summary = summarize(reading)
    if Summary.from_row(summary.to_row()) != summary:
        raise AssertionError(f"{summary} does not come back")
    answered = json.dumps([as_fields(frame) for frame in reading.frames], allow_nan=False)
    return answered.encode(), as_lines(reading, 100), estimated_size(reading)


def _news(data: bytes) -> object:
    """What is new is so once, also after a restart, and keeps to its limits."""
    level = (None, *Level)[data[0] % 6] if data else Level.ERROR
    most = data[1] if len(data) > 1 else 50
    # Nearly all mutations fail the checksum, and would say nothing.
    reading = replace(read(_capture(data[2:]), _IMAGE), damage=None)
    known = ["battery_mv"]

    def heard(repeated: RepeatedMetrics) -> News:
        return news_of(reading, _DEVICE.key, repeated, level, names=known, most_names=most)

    seen = RepeatedMetrics()
    news, again = heard(seen), heard(seen)
    restarted = RepeatedMetrics()
    restarted.remember(_DEVICE.key, news.dated)
    later = heard(restarted)
    if str(later) != str(again) or again.dated:
        raise AssertionError(f"{again} is new once more, after a restart {later}")
    if any(each.at is not None for each in again.metrics):
        raise AssertionError(f"a metric counts twice: {again.metrics}")
    _check_limits(reading, news, level, max(most, len(known)))
    return _check_hours(list(news.metrics))


def _check_limits(reading: Reading, news: News, level: Level | None, most: int) -> None:
    frames, names = news.events.frames, {each.name for each in news.metrics}
    if len(frames) > MOST_EVENTS or any(level is None or each.level < level for each in frames):
        raise AssertionError(f"{len(frames)} events from {level} on")
    told = [each for each in reading.frames if Level.WARNING <= each.level <= Level.CRITICAL]
    if news.errors + news.warnings > len(told):
        raise AssertionError(f"{news.errors} errors and {news.warnings} warnings of {len(told)}")
    if (
        len(names) > most
        or names & set(news.left_out)
        or max(map(len, names), default=0) > (LONGEST_NAME)
    ):
        raise AssertionError(f"{len(names)} names of {most}, without {news.left_out}")


def _check_hours(metrics: list[MetricReading]) -> list[Hour]:
    """Add up hours at once and in two parts; every value has to be in one of them."""
    hours = hourly(metrics)
    parts: dict[tuple[str, int], Hour] = {}
    middle = len(metrics) // 2
    for each in (*hourly(metrics[:middle]), *hourly(metrics[middle:])):
        key = (each.name, each.hour)
        parts[key] = together(parts[key], each) if key in parts else each
    if sum(each.samples for each in hours) != sum(each.at is not None for each in metrics):
        raise AssertionError(f"values are lost: {hours}")
    if [_without_total(each) for each in hours] != [
        _without_total(each) for each in parts.values()
    ]:
        raise AssertionError(f"{hours} come in parts as {parts}")
    for each in (*hours, *parts.values()):
        if math.isnan(each.total) or not each.low <= each.high:
            raise AssertionError(f"{each} can't be kept")
    return hours


def _without_total(hour: Hour) -> Hour:
    """Leave out what depends on the order in which it was added up."""
    return hour._replace(total=0.0)


def _hours(data: bytes) -> object:
    """Any finite values at any times, of two metrics."""
    metrics = [
        MetricReading("ab"[of & 1], value, None if of & 2 else at / 1e6, 0.0)
        for of, value, at in _SAMPLE.iter_unpack(data[: len(data) // _SAMPLE.size * _SAMPLE.size])
        if math.isfinite(value)
    ]
    return _check_hours(metrics)


def _search(data: bytes) -> object:
    """Search a log for a text of its own; a look at every frame has to find the same."""
    size = min(data[0] & 7, len(data) - 1) if data else 0
    wanted, capture = data[1 : 1 + size].decode("latin-1"), _capture(data[1 + size :])
    summary = summarize(read(capture, _IMAGE))
    query = Query(contains=wanted, limit=1000)
    for image in (_IMAGE, None):
        source = Source(1, _ARRIVED, lambda: capture, image, summary)
        found = [hit.frame.number for hit in search([source], query).hits]
        frames = read(capture, image).frames if capture.kind is CaptureKind.LOG else ()
        all_of_it = [
            frame.number
            for frame in reversed(frames)
            if wanted.casefold() in frame.message.casefold()
        ]
        if found != all_of_it[:1000]:
            raise AssertionError(f"a search for {wanted!r} finds {found}, not {all_of_it}")
    return found


def _sieve(data: bytes) -> object:
    """A text that a format string makes may never be ruled out, nor may a part of it."""
    text = data.decode(errors="replace")
    shown = render(text, ()).casefold()
    middle = len(shown) // 2
    for part in (shown, shown[middle:], shown[:middle], shown[middle : middle + 3]):
        if not may_contain(text, part):
            raise AssertionError(f"{part!r} of {text!r} is ruled out")
    return shown


def _dating(data: bytes) -> object:
    fields = _DATING.unpack(data[: _DATING.size].ljust(_DATING.size, b"\0"))
    tick, rate, epoch_us, before_tick, before_rate, base, ago, continues = fields
    header = LogHeader(4, 0, 0, tick, rate, epoch_us, 0, 0)
    before = Anchor(before_tick, before_rate or rate, _ARRIVED - ago, 0.0, base)
    ticks = list(accumulate(data[_DATING.size :], initial=0))
    found = timeline(header, ticks[-1], _ARRIVED, before, continues=continues)
    times = [found.at(each)[0] for each in ticks] if found else []
    if times != sorted(times):
        raise AssertionError(f"frames lie {times}")
    return times


def _summary_row(data: bytes) -> object:
    found = Summary.from_row(data.decode(errors="replace"))
    if found is not None and Summary.from_row(found.to_row()) != found:
        raise AssertionError(f"{found} does not come back")
    return found


def _rows() -> list[bytes]:
    summaries = [summarize(read(_capture(data), _IMAGE), "crash") for data in _captures()]
    return [summary.to_row().encode() for summary in summaries] + [json.dumps({}).encode()]


def _datings() -> list[bytes]:
    run_on = _DATING.pack(3_600_000, 1000, 0, 3_480_000, 1000, 0, 120.0, False)
    return [run_on + bytes(40), run_on[:-1] + b"\1" + bytes(range(40))]


def _samples() -> list[bytes]:
    """Return values of one hour and of several, and the largest that there are."""
    usual = (_SAMPLE.pack(number & 1, number / 3, number * 900_000_000) for number in range(40))
    large = (_SAMPLE.pack(0, sign * 1.7e308, 0) for sign in (1, 1, -1, -1))
    return [b"".join(usual), b"".join(large), _SAMPLE.pack(2, 1.0, HOUR)]


_ERRORS = (CaptureError,)
TARGETS = (
    Target("reading", _reading, _ERRORS, _captures),
    Target("news", _news, _ERRORS, lambda: [b"\4\62" + data for data in _captures()]),
    Target("hours", _hours, _ERRORS, _samples),
    Target("search", _search, _ERRORS, lambda: [b"\4down" + data for data in _captures()]),
    Target("sieve", _sieve, _ERRORS, lambda: [b"temp %d.%d C at %u", b"a %s b %% %x %5"], 512),
    Target("dating", _dating, _ERRORS, _datings, 512),
    Target("summary_row", _summary_row, _ERRORS, _rows),
    Target(
        "metric_name",
        lambda data: measure(data.decode("latin-1")),
        _ERRORS,
        lambda: [b"battery_mv", b"co2Ppm"],
        256,
    ),
)
