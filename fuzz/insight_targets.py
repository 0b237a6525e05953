"""The room of insight: captures read, summed up and searched, and what tells them apart."""

import json
import struct
from itertools import accumulate
from pathlib import Path

from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.firmware.format_strings import may_contain, render
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.cache import estimated_size
from custom_components.ulogger.insight.dating import Anchor, timeline
from custom_components.ulogger.insight.log_lines import as_fields, as_lines
from custom_components.ulogger.insight.picking import pick_events
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.insight.repeated_metrics import RepeatedMetrics
from custom_components.ulogger.insight.search import Query, Source, search
from custom_components.ulogger.insight.summary import Summary, summarize
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


_ERRORS = (CaptureError,)
TARGETS = (
    Target("reading", _reading, _ERRORS, _captures),
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
