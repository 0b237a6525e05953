"""Writing what was saved of a damaged file into a new one."""

import math
import sqlite3
from typing import Any, Final

from . import contents, deliveries, envelope
from .matching import Row
from .model import DAMAGED, CaptureState, DeliveryState
from .records import ensure_device
from .salvage import STATES

_OWN: Final = frozenset({"id", "device_id", "kind", "state", "size", "captured_at"})
"""Columns of a capture that its body or its place tells better than its damaged row."""

_WHO: Final = frozenset({"id", "application_id", "serial"})

_STATES_THERE: Final = frozenset(state.value for state in DeliveryState)

_KINDS_OF: Final[dict[str, tuple[type, ...]]] = {
    "INTEGER": (int,),
    "REAL": (int, float),
    "TEXT": (str,),
    "BLOB": (bytes,),
}


class Rebuilding:
    """A new file that is filled, inside a transaction of the caller."""

    def __init__(
        self,
        target: sqlite3.Connection,
        columns: dict[str, dict[str, str]],
        then: dict[str, dict[int, Row]],
        now: float,
    ) -> None:
        self.brought = 0
        self.distrusted = 0
        self._target = target
        self._now = now
        self._devices: dict[int, int] = {}
        self._types = columns
        self._remembered = _by_capture(then["contents"])
        self._deliveries = _by_capture(then["deliveries"])

    def place(self, capture_id: int, sealed: envelope.Sealed, row: Row | None) -> None:
        """Write one capture, under its ID and in the state that it had, as far as it is known."""
        capture = sealed.capture
        state = None if row is None or row["state"] not in STATES else row["state"]
        if state == CaptureState.DELIVERED and not sealed.intact:
            return
        fault = capture.fault
        values: Row = {
            "id": capture_id,
            "device_id": self._device(sealed, row),
            "kind": capture.kind.value,
            "state": CaptureState.WAITING if fault is None else CaptureState.QUARANTINED,
            "size": len(capture.data),
            "captured_at": capture.captured_at,
            "stored_at": self._now,
            "reason": None if fault is None else fault.value,
        }
        if row is not None and state is not None and sealed.intact:
            own = self._plain("captures", row)
            values |= {name: own[name] for name in own.keys() - _OWN} | {"state": state}
        if not sealed.intact:
            values |= {"state": CaptureState.QUARANTINED, "reason": DAMAGED}
        device_id = values["device_id"]
        self._insert("captures", values)
        envelope.store(self._target, capture_id, capture)
        self.brought += sealed.intact
        self.distrusted += not sealed.intact
        if not sealed.intact:
            return
        self._delivered(capture_id, device_id, capture.kind.value)
        for content in self._remembered.get(capture_id, ()):
            self._insert("contents", content | {"device_id": device_id, "kept": 1})
        contents.remember(
            self._target, device_id, capture_id, capture, whole=True, erased=values.get("erased")
        )

    def _delivered(self, capture_id: int, device_id: int, kind: str) -> None:
        """Write how it stood with a capture at each destination, as far as that can be read."""
        for row in self._deliveries.get(capture_id, ()):
            own = self._plain("deliveries", row)
            if own.get("state") in _STATES_THERE and "destination_id" in own:
                self._insert("deliveries", own | {"device_id": device_id, "kind": kind})

    def counters(self, devices: dict[int, Row], sent: dict[int, Row]) -> None:
        """Bring over the counters of all devices, and those that have no captures now."""
        for device_id, row in devices.items():
            key = (row["application_id"], row["serial"])
            known = self._known(key) or self._devices.get(device_id)
            if known is None:
                self._insert("devices", row | {"id": device_id})
                known = self._known(key)
            else:
                counters = self._plain("devices", row)
                self._update(known, {name: counters[name] for name in counters.keys() - _WHO})
            if known is not None:
                self._devices[device_id] = known
        for row in sent.values():
            own = self._plain("sent", row)
            if own.get("device_id") in self._devices and "destination_id" in own:
                self._insert("sent", own | {"device_id": self._devices[own["device_id"]]})

    def settle(self) -> None:
        """Have states agree with one another, and every destination look at all that is here.

        What a destination has no readable row of, it is offered again: that may repeat, and
        loses nothing.
        """
        deliveries.begin_with_first(self._target)
        deliveries.settle_all(self._target, self._now)
        self._target.execute("DELETE FROM destinations")

    def memory(self) -> None:
        """Bring over what is remembered of captures that had left the disk."""
        for each in self._remembered.values():
            for content in each:
                device_id = self._devices.get(content["device_id"])
                if device_id is not None and content["kept"] == 0:
                    self._insert("contents", content | {"device_id": device_id})

    def _plain(self, table: str, row: Row) -> Row:
        """Leave out what can't be a value of its column; the column's default stands for it."""
        return {
            name: value
            for name, value in row.items()
            if (kinds := _KINDS_OF.get(self._types[table].get(name, ""))) is not None
            and isinstance(value, kinds)
            and not (isinstance(value, float) and not math.isfinite(value))
        }

    def _device(self, sealed: envelope.Sealed, row: Row | None) -> int:
        """Find or make the device: the body says who it is, unless the body has changed."""
        then = None if row is None else row["device_id"]
        if not sealed.intact and then in self._devices:
            return self._devices[then]
        known = self._known(sealed.capture.device.key)
        if known is None:
            known = ensure_device(self._target, sealed.capture.device.key)
        if then is not None and sealed.intact:
            self._devices.setdefault(then, known)
        return known

    def _known(self, key: tuple[int, str]) -> int | None:
        row = self._target.execute(
            "SELECT id FROM devices WHERE application_id IS ? AND serial IS ?", key
        ).fetchone()
        return None if row is None else int(row[0])

    def _update(self, device_id: int, values: Row) -> None:
        marks = ", ".join(f"{name} = ?" for name in values)
        self._target.execute(
            f"UPDATE OR IGNORE devices SET {marks} WHERE id = ?",  # noqa: S608
            (*values.values(), device_id),
        )

    def _insert(self, table: str, values: dict[str, Any]) -> None:
        """Write a row unless it contradicts one that is there or what its table may hold."""
        marks = ", ".join("?" * len(values))
        self._target.execute(
            f"INSERT OR IGNORE INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608
            tuple(values.values()),
        )


def _by_capture(rows: dict[int, Row]) -> dict[int, list[Row]]:
    """Sort rows by the capture that they are about."""
    found: dict[int, list[Row]] = {}
    for row in rows.values():
        found.setdefault(row["capture_id"], []).append(row)
    return found
