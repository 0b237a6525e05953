"""Captures as messages for Clesyde: raw or decoded, each message within AWS's size.

Every message is a JSON object that names the capture, which of its parts it is and of how many, so
what comes twice after a lost connection is recognised by ``capture`` and ``part``.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...insight.crash_report import CrashReport
from ...insight.reading import LogFrame, Reading
from ...model.capture import Capture, CaptureKind
from .shadow import encoded

LARGEST_PAYLOAD: Final = 128 * 1024
"""Bytes that AWS IoT Core takes in one message."""
_HEAD: Final = 4 * 1024
"""Room for what each part says beside its contents: names are at most 128 bytes each."""
RAW_BYTES: Final = (LARGEST_PAYLOAD - _HEAD) // 4 * 3
LONGEST_LIST: Final = LARGEST_PAYLOAD - _HEAD


@dataclass(frozen=True, slots=True)
class Choice:
    """Which captures go where: topics under the thing's, empty for off; ``raw`` is as they came."""

    logs: str = ""
    metrics: str = ""
    crashes: str = ""
    raw: bool = False

    @property
    def any(self) -> bool:
        """Whether anything goes at all."""
        return bool(self.logs or self.metrics or self.crashes)

    def wants(self, kind: CaptureKind) -> bool:
        """Whether something of such a capture goes."""
        if kind is CaptureKind.LOG:
            return bool(self.logs or self.metrics)
        return bool(self.crashes)

    def needs_reading(self, kind: CaptureKind) -> bool:
        """Whether a capture has to be read for it."""
        return kind is CaptureKind.LOG and bool(self.metrics or (self.logs and not self.raw))


def messages(
    choice: Choice,
    capture_id: int,
    capture: Capture,
    reading: Reading | None,
    report: CrashReport | None,
) -> list[tuple[str, bytes]]:
    """Return the topics and payloads that a capture becomes, in the order in which they go.

    ``reading`` is needed where `Choice.needs_reading` says so.
    """
    found: list[tuple[str, bytes]] = []
    about = _about(capture_id, capture)
    if capture.kind is CaptureKind.LOG:
        if choice.logs and (choice.raw or reading is None):
            found += _on(choice.logs, _raw(about, capture.data))
        elif choice.logs and reading is not None:
            damage = None if reading.damage is None else reading.damage.reason
            head = {**about, "content": "log", "damage": damage}
            found += _on(choice.logs, _lists(head, "frames", map(_frame, reading.frames)))
        if choice.metrics and reading is not None:
            metrics = [
                {"name": each.name[:256], "value": each.value, "at": each.at}
                for each in reading.metrics
            ]
            if metrics:
                head = {**about, "content": "metrics"}
                found += _on(choice.metrics, _lists(head, "metrics", metrics))
    elif choice.crashes:
        if choice.raw:
            found += _on(choice.crashes, _raw(about, capture.data))
        else:
            found += _on(choice.crashes, _crash(about, report))
    return found


def _about(capture_id: int, capture: Capture) -> dict[str, Any]:
    device = capture.device
    return {
        "capture": capture_id,
        "kind": capture.kind.value,
        "application": device.application_id,
        "serial": device.serial[:256],
        "device_type": device.device_type[:256],
        "firmware": device.git_version[:256],
        "captured_at": capture.captured_at,
    }


def _on(topic: str, payloads: Iterable[bytes]) -> list[tuple[str, bytes]]:
    return [(topic, each) for each in payloads]


def _raw(about: Mapping[str, Any], data: bytes) -> Iterator[bytes]:
    """Yield a capture's bytes in parts; the first says nothing that the last does not."""
    head = {
        **about,
        "content": "raw",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    parts = max(1, -(-len(data) // RAW_BYTES))
    for part in range(parts):
        piece = data[part * RAW_BYTES : (part + 1) * RAW_BYTES]
        text = base64.b64encode(piece).decode()
        yield encoded({**head, "part": part + 1, "parts": parts, "data": text})


def _lists(head: Mapping[str, Any], name: str, items: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Return messages that hold as many items each as fit; one at least."""
    pieces: list[list[bytes]] = [[]]
    size = 0
    for item in items:
        text = encoded(item)
        if pieces[-1] and size + len(text) + 1 > LONGEST_LIST:
            pieces.append([])
            size = 0
        pieces[-1].append(text)
        size += len(text) + 1
    found = []
    for number, piece in enumerate(pieces):
        start = encoded({**head, "part": number + 1, "parts": len(pieces)})[:-1]
        found.append(start + b',"' + name.encode() + b'":[' + b",".join(piece) + b"]}")
    return found


def _frame(frame: LogFrame) -> dict[str, Any]:
    module = frame.module_name or f"module {frame.module}"
    return {
        "number": frame.number,
        "at": frame.at,
        "seconds": frame.seconds,
        "level": frame.level.name,
        "module": module[:256],
        "text": frame.message[:2048],
    }


def _crash(about: Mapping[str, Any], report: CrashReport | None) -> list[bytes]:
    """Return a crash report as one message, its backtrace and memory cut where they must be."""
    said = None if report is None else report.as_dict()
    head = {**about, "content": "crash", "part": 1, "parts": 1}
    message = encoded({**head, "report": said})
    for name in ("memory", "backtrace", "registers", "float_registers"):
        if said is None or len(message) <= LARGEST_PAYLOAD:
            break
        said[name] = None
        message = encoded({**head, "report": said})
    return [message]
