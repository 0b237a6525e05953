"""What captures and log records say, as UDMI's entries and points.

A frame of a metric is a point at the time at which it was measured; any other frame, and a crash,
is an entry. What is below the device's level is left out, and is never sent later.
"""

import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ...insight.crash_report import CrashReport
from ...insight.reading import LogFrame, Reading
from ...model.capture import Capture, CaptureKind
from ...model.level import LEVELS, Level
from .points import point_name
from .status import VERSION, Severity, make_status, stamp

SEVERITIES: Final[Mapping[Level, Severity]] = {
    Level.DEBUG: Severity.DEBUG,
    Level.INFO: Severity.INFO,
    Level.WARNING: Severity.WARNING,
    Level.ERROR: Severity.ERROR,
    Level.CRITICAL: Severity.CRITICAL,
}
MOST_ENTRIES: Final = 64
"""Entries of one message."""
MOST_BYTES: Final = 96 * 1024
"""Characters of one message's entries: with what JSON adds it stays under 256 KiB."""
LOG: Final = "device.log"
CRASH: Final = "device.crash"
GATEWAY: Final = "device.gateway"
_NO_WORD: Final = re.compile(r"[^a-z]+")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a capture: the subfolder of its topic, and what it says.

    ``frames`` and ``points`` count what of the capture is there once this was acknowledged.
    """

    subfolder: str
    payload: Mapping[str, Any]
    frames: int
    points: int


@dataclass(slots=True)
class _Batch:
    entries: list[Mapping[str, Any]] = field(default_factory=list)
    size: int = 0

    def full(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry has to go into the next one."""
        size = self.size + _size(entry)
        return bool(self.entries) and (len(self.entries) >= MOST_ENTRIES or size > MOST_BYTES)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take an entry in."""
        self.entries.append(entry)
        self.size += _size(entry)


def log_level(level: int) -> int:
    """Return the level of a log configuration at which a device tells what a site wants to hear.

    NOTICE is none of a device's levels: what is worth a notice is a warning there.
    """
    for place in range(len(LEVELS)):
        if SEVERITIES[Level(place)] >= level:
            return place
    return len(LEVELS) - 1


def messages(
    capture: Capture,
    reading: Reading,
    report: CrashReport | None,
    least: int,
    *,
    capture_id: int = 0,
    after_frames: int = 0,
    after_points: int = 0,
) -> Iterator[Message]:
    """Yield what a capture becomes, entries first, in the order in which it goes.

    ``least`` is the level below which an entry is left out. The first so many frames and points
    are there already. The detail of each entry names the capture, so that one that came twice,
    where an acknowledgement was lost, can be told from one that says the same.
    """
    frames = max(1, len(reading.frames))
    if after_frames < frames:
        place = f"capture {capture_id}"
        if capture.kind is CaptureKind.CORE_DUMP:
            yield _entries_message([_crash(capture, report, place)], 1)
        else:
            yield from _entries(capture, reading, least, after_frames, place)
    yield from _points(capture, reading, frames, after_points)


def _entries(
    capture: Capture, reading: Reading, least: int, after: int, place: str
) -> Iterator[Message]:
    batch, done = _Batch(), after
    for frame in reading.frames[after:]:
        entry = _entry(capture, frame, least, place)
        if entry is not None:
            if batch.full(entry):
                yield _entries_message(batch.entries, done)
                batch = _Batch()
            batch.add(entry)
        done += 1
    if batch.entries:
        yield _entries_message(batch.entries, max(1, done))


def _entry(capture: Capture, frame: LogFrame, least: int, place: str) -> Mapping[str, Any] | None:
    severity = SEVERITIES.get(frame.level)
    if severity is None or severity < least:
        return None
    module = frame.module_name or f"module {frame.module}"
    return make_status(
        frame.message or f"0x{frame.address:08X}",
        _category(LOG, frame.module_name or ""),
        severity,
        _moment(frame.at, capture),
        f"{place}, frame {frame.number}, {module}, 0x{frame.address:08X}",
    )


def _crash(capture: Capture, report: CrashReport | None, place: str) -> Mapping[str, Any]:
    said = "A core dump that can't be read"
    detail = place
    if report is not None:
        said = f"Crash: {report.fault.text}"
        places = (f"{each.function or hex(each.address)}" for each in report.backtrace)
        detail = "\n".join((detail, f"fingerprint {report.fingerprint}", *places))
    at = datetime.fromtimestamp(capture.captured_at, UTC)
    return make_status(said, CRASH, Severity.CRITICAL, at, detail)


def _points(capture: Capture, reading: Reading, frames: int, after: int) -> Iterator[Message]:
    """Yield the metrics: those of one moment go together, each with its own value."""
    points: dict[str, Any] = {}
    at: datetime | None = None
    done = 0
    for number, metric in enumerate(reading.metrics):
        name = point_name(metric.name)
        if number < after or not name or not math.isfinite(metric.value):
            done = number + 1
            continue
        moment = _moment(metric.at, capture)
        if points and at is not None and (moment != at or name in points):
            yield _points_message(points, at, frames, done)
            points = {}
        at = moment
        points[name] = {"present_value": metric.value}
        done = number + 1
    if points and at is not None:
        yield _points_message(points, at, frames, done)


def _entries_message(entries: list[Mapping[str, Any]], frames: int) -> Message:
    payload = {
        "timestamp": entries[-1]["timestamp"],
        "version": VERSION,
        "logentries": entries,
    }
    return Message("system", payload, frames, 0)


def _points_message(points: Mapping[str, Any], at: datetime, frames: int, done: int) -> Message:
    payload = {
        "timestamp": stamp(at),
        "version": VERSION,
        "partial_update": True,
        "points": dict(points),
    }
    return Message("pointset", payload, frames, done)


def _moment(at: float | None, capture: Capture) -> datetime:
    """Return when something was; where the device does not tell, when it was collected."""
    try:
        return datetime.fromtimestamp(capture.captured_at if at is None else at, UTC)
    except OverflowError, OSError, ValueError:
        return datetime.fromtimestamp(capture.captured_at, UTC)


def _size(entry: Mapping[str, Any]) -> int:
    return len(entry["message"]) + len(entry.get("detail", "")) + 128


def _category(root: str, name: str) -> str:
    """Add a name to a category, as far as it has letters."""
    word = _NO_WORD.sub("_", name.lower()).strip("_")
    return f"{root}.{word}" if word else root


def record_entry(record: logging.LogRecord, text: str) -> Mapping[str, Any]:
    """Return a log record of this integration as an entry of the gateway's."""
    severity = Severity.DEBUG
    for python, its in (
        (logging.CRITICAL, Severity.CRITICAL),
        (logging.ERROR, Severity.ERROR),
        (logging.WARNING, Severity.WARNING),
        (logging.INFO, Severity.INFO),
    ):
        if record.levelno >= python:
            severity = its
            break
    room = record.name.rpartition("custom_components.ulogger.")[2].partition(".")[0]
    at = datetime.fromtimestamp(record.created, UTC)
    return make_status(text, _category(GATEWAY, room), severity, at, record.name)


def entries_payload(entries: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return an event of the system that holds entries; the time is added where it is sent."""
    return {"logentries": entries}
