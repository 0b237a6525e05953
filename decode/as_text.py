"""What a capture says as lines for a person, in colour on a terminal."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.firmware.symbols import Symbols
from custom_components.ulogger.firmware.unwind import Certainty
from custom_components.ulogger.insight.crash_report import crash_report
from custom_components.ulogger.insight.reading import LogFrame, Reading
from custom_components.ulogger.insight.text import core_dump_lines, printable
from custom_components.ulogger.model.capture import Capture
from custom_components.ulogger.model.level import Level

WORTH_SAYING = 0.5
"""An uncertainty below so many seconds is not shown."""

_PLAIN = "\x1b[0m"
_BOLD = "\x1b[1m"
_RED = "\x1b[31m"
_COLOURS = {
    Level.DEBUG: "\x1b[2m",
    Level.WARNING: "\x1b[33m",
    Level.ERROR: _RED,
    Level.CRITICAL: "\x1b[1;37;41m",
    Level.METRIC: "\x1b[36m",
}


class Lines:
    """Makes lines, with colours or without."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def log(
        self, label: str, capture: Capture, reading: Reading, wanted: Callable[[LogFrame], bool]
    ) -> Iterator[str]:
        """Yield a heading, the frames that are wanted, and why there are no more."""
        header = reading.header
        parts = [printable(label), "log"]
        if isinstance(header, LogHeader):
            parts.append(f"version {header.version}")
        parts.append(f"{len(capture.data)} bytes")
        parts.append(f"{len(reading.frames)} frames")
        if capture.device.serial:
            parts.append(_whose(capture))
        yield self._in(_BOLD, ", ".join(parts))
        for frame in reading.frames:
            if wanted(frame):
                yield self._in(_COLOURS.get(frame.level, ""), _line(frame))
        yield from self._damage(reading)

    def core_dump(
        self, label: str, capture: Capture, reading: Reading, image: Symbols | None
    ) -> Iterator[str]:
        """Yield a heading and what is known of a crash."""
        yield self._in(_BOLD, f"{printable(label)}, core dump, {len(capture.data)} bytes")
        try:
            dump = CoreDump.parse(capture.data)
            yield from map(printable, core_dump_lines(dump, image))
            yield from map(printable, _backtrace(dump, image))
        except CaptureError:
            if capture.device.serial:
                yield _whose(capture)
        yield from self._damage(reading)

    def _damage(self, reading: Reading) -> Iterator[str]:
        if reading.damage is not None:
            yield self._in(_RED, f"damaged: {reading.damage.message}")

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured and colour else text


def _backtrace(dump: CoreDump, image: Symbols | None) -> Iterator[str]:
    """Yield the crash in a line and the functions that led to it; nothing without an image."""
    report = crash_report(dump, image)
    if report is None or not report.backtrace:
        return
    yield report.reason
    for number, frame in enumerate(report.backtrace):
        place = frame.function or "?"
        said = [f"#{number} 0x{frame.address:08x} in {place}"]
        said += [f"({frame.location})"] if frame.location else []
        said += ["inlined"] if frame.inlined else []
        said += ["candidate"] if frame.certainty is Certainty.CANDIDATE else []
        yield " ".join(said)


def _whose(capture: Capture) -> str:
    device = capture.device
    said = [device.serial, device.device_type, device.git_version, device.git_hash]
    return printable(" ".join(part for part in said if part))


def _line(frame: LogFrame) -> str:
    """Return time, level, module and text of a frame."""
    module = frame.module_name or f"module {frame.module}"
    return f"{_time(frame):>12} {frame.level.name:<8} {module}: {frame.message}"


def _time(frame: LogFrame) -> str:
    """Return the time of day with how far off it may be, else seconds since boot or anchor."""
    if frame.at is None:
        return "-" if frame.seconds is None else f"+{frame.seconds:.3f}"
    at = datetime.fromtimestamp(frame.at, UTC).isoformat(timespec="milliseconds")
    off = frame.uncertainty or 0.0
    return f"{at[:-6]}Z" + (f" ±{off:.0f} s" if off >= WORTH_SAYING else "")
