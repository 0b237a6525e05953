"""From what a capture says to log records: one for each frame that is no metric, one for a crash.

Severities are those that OpenTelemetry's specification gives such levels, each the lowest of its
range. Attributes go by its semantic conventions where there is one, and begin with ``ulogger.``
where there is none. ``log.record.uid`` is the same each time a record is sent, so that a collector
can tell what came twice because an answer was lost.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from ...capture.core_dump import CoreDumpHeader
from ...firmware.symbols import CodePlace
from ...insight.crash_report import CrashReport
from ...insight.reading import LogFrame, Reading
from ...model.capture import Capture, CaptureKind
from ...model.identity import DeviceIdentity
from ...model.level import Level
from .gauges import measured
from .values import any_value, attributes, clean, nanoseconds

SEVERITIES: Final[Mapping[Level, int]] = {
    Level.DEBUG: 5,
    Level.INFO: 9,
    Level.WARNING: 13,
    Level.ERROR: 17,
    Level.CRITICAL: 21,
}
WARN: Final = (13, "WARNING")
FATAL: Final = (21, "FATAL")
MOST_BACKTRACE: Final = 128
MOST_PLACES: Final = 256
"""Format strings of one capture of which is told where they are logged; looking takes time."""


def nowhere(_address: int) -> Sequence[CodePlace]:
    """Know no place in the source."""
    return ()


class Records:
    """The log records of one capture, each made when it is asked for; metrics only if asked for.

    ``places_of`` returns where a format string is logged; it may block.

    Their number and order depend on the capture's bytes alone, not on an image, so that sending
    can go on where it ended.
    """

    def __init__(
        self,
        capture: Capture,
        capture_id: int,
        reading: Reading,
        crash: CrashReport | None = None,
        *,
        with_metrics: bool = False,
        places_of: Callable[[int], Sequence[CodePlace]] = nowhere,
    ) -> None:
        self._places_of = places_of
        self._known_places: dict[int, dict[str, Any]] = {}
        self._capture = capture
        self._capture_id = capture_id
        self._reading = reading
        self._crash = crash
        self._observed = nanoseconds(capture.captured_at) or "0"
        self._uid = _uid(capture, capture_id)
        self._frames = [
            frame for frame in reading.frames if with_metrics or measured(frame) is None
        ]
        self._has_note = capture.kind is CaptureKind.LOG and reading.damage is not None

    def __len__(self) -> int:
        """How many there are."""
        if self._capture.kind is CaptureKind.CORE_DUMP:
            return 1
        return len(self._frames) + self._has_note

    def __getitem__(self, number: int) -> bytes:
        """Return a record as JSON; IndexError behind the last one."""
        if self._capture.kind is CaptureKind.CORE_DUMP:
            if number:
                raise IndexError(number)
            return orjson.dumps(self._of_crash())
        if number == len(self._frames) and self._has_note:
            return orjson.dumps(self._of_damage())
        return orjson.dumps(self._of_frame(self._frames[number]))

    @property
    def device(self) -> DeviceIdentity:
        """Who says it, with the firmware that said it: a crash may be an earlier one's."""
        return speaker(self._capture, self._reading)

    def _record(
        self,
        number: str,
        severity: tuple[int, str],
        body: str,
        values: Mapping[str, Any],
        at: float | None = None,
    ) -> dict[str, Any]:
        record: dict[str, Any] = {"observedTimeUnixNano": self._observed}
        if (time := nanoseconds(at)) is not None:
            record["timeUnixNano"] = time
        if severity[0]:
            record["severityNumber"] = severity[0]
        record["severityText"] = severity[1]
        record["body"] = {"stringValue": clean(body)}
        record["attributes"] = attributes(
            {
                "log.record.uid": f"{self._uid}-{number}",
                "ulogger.capture.id": self._capture_id,
                **values,
            }
        )
        return record

    def _of_frame(self, frame: LogFrame) -> dict[str, Any]:
        values: dict[str, Any] = {
            "ulogger.frame.number": frame.number,
            "ulogger.module.number": frame.module,
            "ulogger.module.name": frame.module_name,
            "ulogger.address": f"0x{frame.address:08X}",
            "ulogger.uncertainty": frame.uncertainty,
        }
        if frame.at is None:
            values["ulogger.seconds"] = frame.seconds
        values |= self._place(frame.address)
        if frame.arguments:
            values["ulogger.arguments"] = [value for _, value in frame.arguments]
        level = frame.level
        severity = (SEVERITIES.get(level, 0), level.name)
        return self._record(f"{frame.number:x}", severity, frame.message, values, frame.at)

    def _place(self, address: int) -> dict[str, Any]:
        """Return where in the source a line is logged, if that is one place."""
        if (known := self._known_places.get(address)) is not None:
            return known
        if len(self._known_places) >= MOST_PLACES:
            return {}
        places = self._places_of(address)
        known = code_values(places[0]) if len(places) == 1 else {}
        self._known_places[address] = known
        return known

    def _of_damage(self) -> dict[str, Any]:
        damage = self._reading.damage
        assert damage is not None  # noqa: S101 - __getitem__ has looked
        values = {"ulogger.damage": damage.reason}
        body = f"the rest of this log can't be read: {damage.message}"
        return self._record("damage", WARN, body, values)

    def _of_crash(self) -> dict[str, Any]:
        crash = self._crash
        if crash is None:
            damage = self._reading.damage
            said = damage.message if damage else "the format of its contents is unknown"
            values = {
                "exception.type": "core_dump",
                "exception.message": f"a core dump of {len(self._capture.data)} bytes: {said}",
            }
            return self._record("crash", FATAL, values["exception.message"], values)
        return self._record("crash", FATAL, crash.reason, crash_values(crash))


def code_values(place: CodePlace) -> dict[str, Any]:
    """Return the attributes of a place in the source."""
    values: dict[str, Any] = {"code.function.name": place.function}
    if place.source is not None:
        values["code.file.path"] = place.source.file
        values["code.line.number"] = place.source.line
    return values


def speaker(capture: Capture, reading: Reading) -> DeviceIdentity:
    """Return the device that a capture is of, with the firmware that wrote it."""
    header = reading.header
    if isinstance(header, CoreDumpHeader) and header.known:
        written_by = header.device
        if written_by.key == capture.device.key:
            return written_by
    return capture.device


def crash_values(crash: CrashReport) -> dict[str, Any]:
    """Return the attributes of a crash; the innermost known function says where in the code."""
    values: dict[str, Any] = {
        "exception.type": str(crash.fault.kind),
        "exception.message": crash.fault.text,
        "exception.stacktrace": stacktrace(crash),
        "ulogger.crash.fingerprint": crash.fingerprint,
        "ulogger.crash.pc": f"0x{crash.pc.address:08X}",
        "ulogger.crash.lr": f"0x{crash.lr.address:08X}",
        "ulogger.crash.registers": [
            f"{name}=0x{value:08X}" for name, value in crash.registers.items()
        ],
        "code.function.name": crash.function,
    }
    known = next((frame for frame in crash.backtrace if frame.function), None)
    if known is not None:
        values["code.file.path"] = known.file
        values["code.line.number"] = known.line
    if crash.fault.address is not None:
        values["ulogger.crash.fault_address"] = f"0x{crash.fault.address:08X}"
    return values


def stacktrace(crash: CrashReport) -> str:
    """Return the backtrace in lines, the innermost function first; without an image, pc and lr."""
    if not crash.backtrace:
        return "\n".join(
            f"{name} 0x{point.address:08X}"
            + (f" in {point.function}" if point.function else "")
            + (f" ({point.location})" if point.location else "")
            for name, point in (("pc", crash.pc), ("lr", crash.lr))
        )
    return "\n".join(
        f"#{number} 0x{frame.address:08X} in {frame.function or '?'}"
        + (f" ({frame.file}:{frame.line})" if frame.file else "")
        + (" [inlined]" if frame.inlined else "")
        for number, frame in enumerate(crash.backtrace[:MOST_BACKTRACE])
    )


def text_record(at: float, level: int, message: str) -> bytes:
    """Return a line of text as a record."""
    known = Level(level)
    now = nanoseconds(at) or "0"
    return orjson.dumps(
        {
            "timeUnixNano": now,
            "observedTimeUnixNano": now,
            "severityNumber": SEVERITIES.get(known, 0),
            "severityText": known.name,
            "body": any_value(message),
        }
    )


def _uid(capture: Capture, capture_id: int) -> str:
    """Return what a capture's records begin their IDs with, the same for the same capture."""
    name = f"{capture.device.key}\0{capture.kind}\0{capture.captured_at!r}\0{capture_id}"
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:24]
