"""What Pepeunit's backend makes of a message, told from its documented formats alone."""

import json
from datetime import datetime
from typing import Any

from .units import LEVELS, Unit

LARGEST_PAYLOAD = 256 * 1024
STATE_KEYS = {
    "ifconfig": (list, 4),
    "millis": (int, None),
    "mem_free": (int, None),
    "mem_alloc": (int, None),
    "freq": ((int, float), None),
    "statvfs": (list, 10),
    "pu_commit_version": (str, None),
}


def judge(unit: Unit, topic: str, payload: bytes) -> str | None:
    """Say what is wrong with a message of a unit, None when the backend can use it."""
    if len(payload) > LARGEST_PAYLOAD:
        return f"{len(payload)} bytes"
    if topic == unit.topic("log"):
        return _log(payload)
    if topic == unit.topic("state"):
        return _state(payload)
    if any(topic == unit.topic(name) for name in unit.outputs):
        return None if _is_text(payload) else "a value that is no text"
    return "not a topic that a unit sends on"


def _log(payload: bytes) -> str | None:
    try:
        records: Any = json.loads(payload)
    except ValueError:
        return "a log that is no JSON"
    for record in [records] if isinstance(records, dict) else records:
        if not isinstance(record, dict) or record.get("level") not in LEVELS:
            return f"a record without a level: {record!r:.100}"
        if not isinstance(record.get("text"), str) or not record["text"]:
            return "a record without text"
        if "create_datetime" in record:
            moment = datetime.fromisoformat(record["create_datetime"])
            if moment.tzinfo is None:
                return "a time without a zone"
    return None


def _state(payload: bytes) -> str | None:
    try:
        state = json.loads(payload)
    except ValueError:
        return "a state that is no JSON"
    if unknown := state.keys() - STATE_KEYS.keys():
        return f"unknown values {sorted(unknown)}"
    if missing := {"millis", "mem_free", "mem_alloc", "pu_commit_version"} - state.keys():
        return f"a state without {sorted(missing)}"
    for name, value in state.items():
        kind, length = STATE_KEYS[name]
        if not isinstance(value, kind):  # type: ignore[arg-type]
            return f"{name} is {value!r}"
        if length is not None and len(value) != length:
            return f"{name} has {len(value)} values"
    return None


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
