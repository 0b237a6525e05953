"""Captures from files: which there are, of what kind each is, and what stands beside it."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from custom_components.ulogger.capture.core_dump import CoreDumpHeader
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.log_buffer import check_log
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

STANDARD_INPUT: Final = "-"
NOBODY: Final = DeviceIdentity(0, "")

_CRASH_CATCHER = b"\x63\x43\x03\x00"
_KINDS = {
    "log": CaptureKind.LOG,
    "core_dump": CaptureKind.CORE_DUMP,
    "core-dump": CaptureKind.CORE_DUMP,
}
_LARGEST_SIDECAR = 1 << 20


class Unreadable(Exception):
    """A file that there is nothing to be had from; says which, why and what to do."""


@dataclass(frozen=True)
class Input:
    """A capture, the name it was given by, and the label that is unique among all."""

    label: str
    capture: Capture


def find(names: list[str]) -> Iterator[str]:
    """Yield the files of a command line, those in folders by their names.

    What describes a capture is none: a ``.json`` with a ``.bin`` beside it is passed over.
    """
    for name in names:
        path = Path(name)
        if name != STANDARD_INPUT and path.is_dir():
            yield from (str(found) for found in sorted(path.rglob("*.bin")))
        elif path.suffix != ".json" or not path.with_suffix(".bin").exists():
            yield name


def labels(names: list[str]) -> list[str]:
    """Return what each file is called: its last part, or all of it where that is not unique."""
    short = [name if name == STANDARD_INPUT else Path(name).name for name in names]
    return [
        label if short.count(label) == 1 else name for name, label in zip(names, short, strict=True)
    ]


def read_input(name: str, label: str) -> Input:
    """Read one capture; raises Unreadable when there is no such file or nothing in it."""
    try:
        data = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
    except OSError as error:
        raise Unreadable(f"{name}: {error.strerror or error}") from error
    if not data:
        raise Unreadable(f"{name}: the file is empty")
    beside = {} if name == STANDARD_INPUT else _sidecar(Path(name))
    kind = _kind_said(beside, name) or kind_of(data)
    device = _device(beside)
    if kind is CaptureKind.CORE_DUMP and device == NOBODY:
        device = _device_in(data)
    return Input(label, Capture(kind, device, data, _arrival(beside)))


def kind_of(data: bytes) -> CaptureKind:
    """Tell a core dump from a log by what is in it; what is neither counts as a log.

    A dump begins with its own length and version, a log with its version: the length of a dump
    of version 1 to 4 modulo 256 looks like one, so the dump's other marks are asked first.
    """
    try:
        header = CoreDumpHeader.parse(data)
    except CaptureError:
        return CaptureKind.LOG
    marked = data[264:268] == _CRASH_CATCHER
    if header.known and (marked or header.length == len(data)):
        return CaptureKind.CORE_DUMP
    if header.length != len(data):
        return CaptureKind.LOG
    try:
        check_log(data)
    except CaptureError:
        return CaptureKind.CORE_DUMP
    return CaptureKind.LOG


def _sidecar(path: Path) -> Mapping[str, Any]:
    """Return what the ``.json`` beside a file says; nothing where there is none of use."""
    beside = path.with_suffix(".json")
    try:
        if path.suffix == ".json" or beside.stat().st_size > _LARGEST_SIDECAR:
            return {}
        said = json.loads(beside.read_bytes())
    except OSError, ValueError, RecursionError:
        return {}
    if not isinstance(said, dict):
        return {}
    device = said.get("device")
    return said | device if isinstance(device, dict) else said


def _kind_said(beside: Mapping[str, Any], name: str) -> CaptureKind | None:
    """Return the kind that the description tells, or the name: ``<time>-<id>-<kind>.bin``."""
    said = beside.get("kind")
    if isinstance(said, str) and said in _KINDS:
        return _KINDS[said]
    if not beside:
        return None
    stem = Path(name).stem
    return next((kind for word, kind in _KINDS.items() if stem.endswith(f"-{word}")), None)


def _device(beside: Mapping[str, Any]) -> DeviceIdentity:
    """Return whose the capture is, as far as that is told."""
    application = beside.get("application_id", 0)
    serial = beside.get("serial", beside.get("device_serial", ""))
    others = (beside.get(key, "") for key in ("device_type", "git_version", "git_hash"))
    return DeviceIdentity(
        application if isinstance(application, int) else 0,
        *(text if isinstance(text, str) else "" for text in (serial, *others)),
    )


def _device_in(dump: bytes) -> DeviceIdentity:
    """Return whose a core dump is by its own header."""
    try:
        return CoreDumpHeader.parse(dump).device
    except CaptureError:
        return NOBODY


def _arrival(beside: Mapping[str, Any]) -> float:
    """Return when the capture came, Unix seconds, 0 when that is not told."""
    said = beside.get("captured_at")
    if isinstance(said, str):
        try:
            moment = datetime.fromisoformat(said)
        except ValueError:
            return 0.0
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.timestamp()
    return float(said) if isinstance(said, (int, float)) and said > 0 else 0.0
