"""What devices logged, as records of the unit's log.

A record names the device, the capture and the frame: ``A87DE76F0011 #12.3 [2] text``. So a
reader tells devices apart, sees gaps, and nothing that came twice passes for two.
"""

from collections.abc import Iterator, Sequence

from ...capture.core_dump import CoreDump
from ...capture.errors import CaptureError
from ...insight.crash_report import crash_report
from ...insight.reading import LogFrame, Reading
from ...model.capture import Capture, CaptureKind
from ...model.level import Level
from ...model.plain_text import one_line
from ...model.telemetry import TextLine
from .records import LONGEST_TEXT, LogRecord


def capture_records(
    capture: Capture, capture_id: int, reading: Reading, min_level: int
) -> list[LogRecord]:
    """Return the records of a capture that are important enough, in its order. Blocks."""
    found = _records(capture, f"{one_line(capture.device.serial, 64)} #{capture_id}", reading)
    return [record for record in found if record.level >= min_level]


def line_records(serial: str, lines: Sequence[TextLine], min_level: int) -> list[LogRecord]:
    """Return the records of lines of text that are important enough."""
    who = one_line(serial, 64)
    return [
        LogRecord(line.level, one_line(f"{who} {line.message}", LONGEST_TEXT), line.at)
        for line in lines
        if line.level >= min_level
    ]


def _records(capture: Capture, name: str, reading: Reading) -> Iterator[LogRecord]:
    at = capture.captured_at
    device = one_line(f"{capture.device.device_type} {capture.device.git_version}", 128)
    if capture.kind is CaptureKind.CORE_DUMP:
        yield LogRecord(Level.CRITICAL, f"{name}: {device}: {_crash(capture)}", at)
    else:
        frames = len(reading.frames)
        yield LogRecord(
            Level.INFO, f"{name}: {device}: {frames} frames, {len(capture.data)} bytes", at
        )
        for frame in reading.frames:
            yield _frame(name, frame, at)
    if reading.damage is not None:
        text = one_line(f"{name}: damaged: {reading.damage.message}", LONGEST_TEXT)
        yield LogRecord(Level.WARNING, text, at)


def _frame(name: str, frame: LogFrame, captured_at: float) -> LogRecord:
    level = min(int(frame.level), Level.CRITICAL) if frame.level <= Level.CRITICAL else Level.INFO
    module = frame.module_name or str(frame.module)
    text = one_line(f"{name}.{frame.number} [{module}] {frame.message}", LONGEST_TEXT)
    return LogRecord(level, text, captured_at if frame.at is None else frame.at)


def _crash(capture: Capture) -> str:
    size = f"core dump of {len(capture.data)} bytes"
    try:
        report = crash_report(CoreDump.parse(capture.data), None)
    except CaptureError:
        return size
    if report is None:
        return size
    return one_line(f"{size}: {report.reason}", LONGEST_TEXT)
