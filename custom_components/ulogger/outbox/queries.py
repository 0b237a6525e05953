"""What the outbox can be asked without changing it."""

import sqlite3
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceKey
from . import envelope
from .deliveries import utc_day
from .errors import NoSuchCapture, OutboxDamaged
from .model import (
    CaptureState,
    DeliveryRow,
    DeliveryState,
    DestinationCounters,
    DeviceCounters,
    Row,
)

_ROWS: Final = """SELECT captures.id, application_id, serial, kind, state, size, captured_at,
    stored_at, reason, delivered_at, continues, captures.may_repeat
    FROM captures JOIN devices ON devices.id = device_id"""

_DELIVERIES: Final = """SELECT capture_id, destination_id, state, attempts, last_error,
    last_attempt, reason, delivered_at FROM deliveries WHERE capture_id = ?"""

_SENT: Final = """SELECT destination_id, device_id, captures, bytes, last,
    CASE WHEN day = ? THEN bytes_that_day ELSE 0 END FROM sent"""

_COUNTERS: Final = """SELECT devices.id, application_id, serial, uploads, bytes_uploaded,
    last_upload, last_upload_size, core_dumps, last_core_dump, duplicates, continuations,
    may_repeat, CASE WHEN day = ? THEN bytes_that_day ELSE 0 END FROM devices ORDER BY devices.id"""


def read(connection: sqlite3.Connection, capture_id: int) -> Capture:
    """Load one capture as it is on disk, whatever its state."""
    row = connection.execute("SELECT reason FROM captures WHERE id = ?", (capture_id,)).fetchone()
    if row is None:
        raise NoSuchCapture(f"capture {capture_id} is not in the outbox")
    sealed = envelope.load(connection, capture_id)
    if sealed is None:
        raise OutboxDamaged(f"capture {capture_id} has no readable body")
    return envelope.with_reason(sealed.capture, row[0])


def listing(
    connection: sqlite3.Connection,
    key: DeviceKey | None,
    states: Collection[CaptureState],
    limit: int | None,
) -> list[Row]:
    """Describe captures, newest first, without loading their bytes."""
    wanted = sorted(state.value for state in states)
    marks = ", ".join("?" * len(wanted))
    statement = f"{_ROWS} WHERE state IN ({marks})"
    values: list[object] = [*wanted]
    if key is not None:
        statement += " AND application_id = ? AND serial = ?"
        values += key
    values.append(-1 if limit is None else limit)
    rows = connection.execute(f"{statement} ORDER BY captures.id DESC LIMIT ?", values)
    return [
        Row(
            capture_id,
            (application_id, serial),
            CaptureKind(kind),
            CaptureState(state),
            *(*others, bool(may_repeat), _deliveries(connection, capture_id)),
        )
        for capture_id, application_id, serial, kind, state, *others, may_repeat in rows
    ]


def logs(connection: sqlite3.Connection, key: DeviceKey) -> list[tuple[float, int]]:
    """Return when each log of a device was captured, and its ID."""
    return connection.execute(
        "SELECT captured_at, captures.id FROM captures JOIN devices ON devices.id = device_id"
        " WHERE application_id = ? AND serial = ? AND kind = ?",
        (*key, CaptureKind.LOG.value),
    ).fetchall()


def _deliveries(connection: sqlite3.Connection, capture_id: int) -> dict[str, DeliveryRow]:
    """Describe how it stands with a capture at each destination."""
    return {
        destination: DeliveryRow(DeliveryState(state), *others)
        for _capture, destination, state, *others in connection.execute(_DELIVERIES, (capture_id,))
    }


def counters(connection: sqlite3.Connection, now: float) -> dict[DeviceKey, DeviceCounters]:
    """Read every device's counters."""
    gauges = {
        (device_id, state): (captures, total)
        for device_id, state, captures, total in connection.execute("SELECT * FROM gauges")
    }

    def gauge(device_id: int, state: CaptureState) -> tuple[int, int]:
        return gauges.get((device_id, state.value), (0, 0))

    found = {}
    for row in connection.execute(_COUNTERS, (utc_day(now),)):
        device_id, application_id, serial, *values = row
        delivered = gauge(device_id, CaptureState.DELIVERED)
        only_here = gauge(device_id, CaptureState.KEPT)
        for state in (CaptureState.WAITING, CaptureState.QUARANTINED):
            values += gauge(device_id, state)
        values += (delivered[0] + only_here[0], delivered[1] + only_here[1])
        found[application_id, serial] = DeviceCounters(*(*values, *only_here))
    return found


def delivery_counters(
    connection: sqlite3.Connection, now: float
) -> dict[str, dict[DeviceKey, DestinationCounters]]:
    """Read what each destination has got of every device, and what is to come."""
    keys = {
        device_id: (application_id, serial)
        for device_id, application_id, serial in connection.execute(
            "SELECT id, application_id, serial FROM devices"
        )
    }
    names = [row[0] for row in connection.execute("SELECT id FROM destinations")]
    found: dict[str, dict[DeviceKey, DestinationCounters]] = {name: {} for name in names}
    for name, device_id, *values in connection.execute(_SENT, (utc_day(now),)):
        if name in found and device_id in keys:
            found[name][keys[device_id]] = DestinationCounters(*values)
    gauges = connection.execute(
        "SELECT destination_id, device_id, state, captures, bytes FROM delivery_gauges"
        " WHERE state IN ('waiting', 'refused')"
    )
    for name, device_id, state, captures, total in gauges:
        if name in found and device_id in keys:
            known = found[name].get(keys[device_id], DestinationCounters())
            found[name][keys[device_id]] = replace(
                known, **{state: captures, f"{state}_bytes": total}
            )
    return found


def undelivered_bytes(connection: sqlite3.Connection) -> int:
    """Sum the bytes of all captures that somebody waits for, or that nobody takes."""
    total: int = connection.execute(
        "SELECT coalesce(sum(bytes), 0) FROM gauges WHERE state IN ('waiting', 'quarantined')"
    ).fetchone()[0]
    return total
