"""A capture's row on disk: everything it is, sealed with one hash.

Nothing in it ever changes, so a row whose hash still matches is trusted by itself, even when
everything around it is damaged.
"""

import hashlib
import json
import math
import sqlite3
from dataclasses import dataclass, replace
from typing import Any, Final

from ..model.capture import Capture, CaptureFault, CaptureKind
from ..model.identity import DeviceIdentity
from .model import DAMAGED

_COLUMNS: Final = (
    "kind, application_id, serial, device_type, git_version, git_hash, captured_at, fault,"
    " digest, data"
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A capture as it was read back, and whether it is what was stored."""

    capture: Capture
    intact: bool


def _digest(values: tuple[Any, ...], data: bytes) -> bytes:
    sealed = hashlib.sha256(json.dumps(values).encode())
    sealed.update(b"\0")
    sealed.update(data)
    return sealed.digest()


def store(connection: sqlite3.Connection, capture_id: int, capture: Capture) -> None:
    """Write the capture's body."""
    device = capture.device
    values = (
        capture.kind.value,
        device.application_id,
        device.serial,
        device.device_type,
        device.git_version,
        device.git_hash,
        float(capture.captured_at),
        None if capture.fault is None else capture.fault.value,
    )
    connection.execute(
        f"INSERT INTO bodies (id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (capture_id, *values, _digest(values, capture.data), capture.data),
    )


def load(connection: sqlite3.Connection, capture_id: int) -> Sealed | None:
    """Read a body; None when there is none, or none that could be anybody's."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM bodies WHERE id = ?",  # noqa: S608
        (capture_id,),
    ).fetchone()
    return None if row is None else opened(row)


def opened(row: tuple[Any, ...]) -> Sealed | None:
    """Take a body's values, in the order of its columns, for a capture; None if they are none."""
    *values, digest, data = row
    kind, application_id, serial, device_type, git_version, git_hash, captured_at, fault = values
    if not (isinstance(application_id, int) and isinstance(serial, str)):
        return None
    if not isinstance(data, bytes):
        return None
    intact = digest == _digest(tuple(values), data) if _plain(values) else False
    return Sealed(
        Capture(
            kind=CaptureKind(kind) if kind in list(CaptureKind) else CaptureKind.LOG,
            device=DeviceIdentity(
                application_id, serial, str(device_type), str(git_version), str(git_hash)
            ),
            data=data,
            captured_at=(
                captured_at
                if isinstance(captured_at, float) and math.isfinite(captured_at)
                else 0.0
            ),
            fault=fault_of(fault),
        ),
        intact,
    )


def _plain(values: list[Any]) -> bool:
    return all(value is None or isinstance(value, (str, int, float)) for value in values)


def fault_of(reason: object) -> CaptureFault | None:
    """Tell the fault behind a reason; our own reasons (damage on disk) are nobody's fault."""
    return next((fault for fault in CaptureFault if fault == reason), None)


def with_reason(capture: Capture, reason: str | None) -> Capture:
    """Give the capture the fault that it is in quarantine for now."""
    return capture if reason == DAMAGED else replace(capture, fault=fault_of(reason))
