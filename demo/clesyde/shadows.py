"""Named shadows as AWS IoT keeps them: versions, conflicts, deltas, notices, and the size limit."""

import copy
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

LARGEST_DOCUMENT: Final = 8 * 1024
LARGEST_REQUEST: Final = 8 * 1024

type Answer = tuple[str, dict[str, Any]]
"""Operation and verb (``update/delta``), and the message on it."""


@dataclass(slots=True)
class Shadow:
    """One shadow; ``largest`` is the most that its document ever took."""

    desired: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    largest: int = 0
    conflicts: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exists(self) -> bool:
        """Whether anybody has made it."""
        return self.version > 0

    def get(self) -> Answer:
        """Answer a get."""
        if not self.exists:
            return "get/rejected", _error(404, "No shadow exists with name: 'config'")
        state: dict[str, Any] = {"desired": self.desired, "reported": self.reported}
        if delta := self.delta():
            state["delta"] = delta
        return "get/accepted", {"state": _copied(state), "version": self.version, **_now()}

    def update(self, payload: bytes) -> list[Answer]:
        """Answer an update by whomever."""
        try:
            message = json.loads(payload)
            state, version = message["state"], message.get("version")
        except ValueError, KeyError, TypeError:
            return [("update/rejected", _error(400, "Invalid JSON"))]
        token = {"clientToken": message["clientToken"]} if "clientToken" in message else {}
        if len(payload) > LARGEST_REQUEST:
            return [self._refused(413, "The payload exceeds the maximum size allowed", token)]
        if version is not None and version != self.version:
            self.conflicts += 1
            return [self._refused(409, "Version conflict", token)]
        previous = {"state": self._state(), "version": self.version}
        desired = _merged(self.desired, state.get("desired") or {})
        reported = _merged(self.reported, state.get("reported") or {})
        size = len(_compact({"desired": desired, "reported": reported}))
        if size > LARGEST_DOCUMENT:
            return [self._refused(413, "The payload exceeds the maximum size allowed", token)]
        self.desired, self.reported = desired, reported
        self.version += 1
        self.largest = max(self.largest, size)
        current = {"state": self._state(), "version": self.version}
        accepted = {"state": state, "version": self.version, **_now(), **token}
        answers: list[Answer] = [("update/accepted", accepted)]
        if delta := self.delta():
            answers.append(
                ("update/delta", {"version": self.version, **_now(), "state": delta, **token})
            )
        answers.append(("update/documents", {"previous": previous, "current": current, **token}))
        return answers

    def delta(self) -> dict[str, Any]:
        """Return what is desired and not reported so."""
        return _differing(self.desired, self.reported)

    def _state(self) -> dict[str, Any]:
        return {"desired": _copied(self.desired), "reported": _copied(self.reported)}

    def _refused(self, code: int, message: str, token: dict[str, Any]) -> Answer:
        error = {**_error(code, message), **token}
        self.rejected.append(error)
        return "update/rejected", error


def _merged(state: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    result = _copied(state)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result


def _differing(desired: dict[str, Any], reported: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in desired.items():
        other = reported.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            if inner := _differing(value, other):
                found[name] = inner
        elif other != value:
            found[name] = value
    return found


def _error(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, **_now()}


def _now() -> dict[str, Any]:
    return {"timestamp": int(time.time())}


def _copied(value: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(value)


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
