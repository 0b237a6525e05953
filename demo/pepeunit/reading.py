"""Reads the log of a unit as anybody does who opens it: by device, capture and frame."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from ..check import Comparison
from ..device.virtual import VirtualDevice

_RECORD: Final = re.compile(r"(\S+) #(\d+)(?:\.(\d+))?:? (.*)", re.DOTALL)


@dataclass(slots=True)
class LoggedCapture:
    """What a unit's log has of one capture: its head, and its frames in the order they came."""

    serial: str
    capture_id: int
    heads: list[str] = field(default_factory=list)
    frames: list[tuple[int, str]] = field(default_factory=list)

    @property
    def is_core_dump(self) -> bool:
        """Whether it is a core dump's."""
        return any("core dump of" in head for head in self.heads)


def logged_captures(
    records: Iterable[Mapping[str, str]],
) -> tuple[dict[tuple[str, int], LoggedCapture], list[str]]:
    """Return what a log has of each capture, in the order they came, and what is of none."""
    captures: dict[tuple[str, int], LoggedCapture] = {}
    others: list[str] = []
    for record in records:
        if (match := _RECORD.fullmatch(record["text"])) is None:
            others.append(record["text"])
            continue
        serial, number, frame, text = match.groups()
        key = (serial, int(number))
        capture = captures.setdefault(key, LoggedCapture(*key))
        if frame is None:
            capture.heads.append(text)
        else:
            capture.frames.append((int(frame), text))
    return captures, others


def frames_of(log: bytes) -> list[tuple[int, str]]:
    """Return the frames of a log as a unit's log has them, without a firmware image."""
    device = DeviceIdentity(0, "any")
    reading = read(Capture(CaptureKind.LOG, device, log, 0.0))
    return [
        (frame.number, " ".join(f"[{frame.module}] {frame.message}".split()))
        for frame in reading.frames
    ]


def compare_records(
    devices: Iterable[VirtualDevice], records: Iterable[Mapping[str, str]]
) -> Comparison:
    """Look for each frame that devices held, and for each core dump."""
    captures, others = logged_captures(records)
    result = Comparison(different=[f"a record of no capture: {text[:80]}" for text in others])
    left = dict(captures)
    for device in devices:
        serial = device.identity.serial
        own = [each for each in captures.values() if each.serial == serial]
        if device.log:
            frames = frames_of(device.log)
            _note(
                result,
                left,
                f"log of {serial}",
                len(device.log),
                [each for each in own if each.frames == frames],
            )
        if device.core_dump:
            wanted = f"core dump of {len(device.core_dump)} bytes"
            _note(
                result,
                left,
                f"core dump of {serial}",
                len(device.core_dump),
                [each for each in own if any(wanted in head for head in each.heads)],
            )
    result.different += [f"capture {number} of {serial}" for serial, number in left]
    return result


def _note(
    result: Comparison,
    left: dict[tuple[str, int], LoggedCapture],
    what: str,
    size: int,
    alike: list[LoggedCapture],
) -> None:
    result.expected += 1
    for each in alike:
        left.pop((each.serial, each.capture_id), None)
    if not alike:
        result.missing.append(what)
        return
    result.identical += 1
    result.bytes += size
    result.duplicated += len(alike) - 1
