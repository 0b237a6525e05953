"""The shadow's messages: what comes is read, what goes is kept within AWS's size."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import InvalidMessage

LARGEST_DOCUMENT: Final = 8 * 1024
"""Bytes of desired and reported state that AWS IoT keeps of one shadow."""
LARGEST_MESSAGE: Final = 64 * 1024
"""Bytes of a message that is read: a document with its metadata, twice."""
CONFLICT: Final = 409
NOT_FOUND: Final = 404
OMITTED: Final = "devicesOmitted"
DEVICES: Final = "devices"
_SPARE: Final = 64

type State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A shadow as it stands; ``version`` is None where the message did not tell."""

    desired: State = field(default_factory=dict)
    reported: State = field(default_factory=dict)
    version: int | None = None
    client_token: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """What is desired and not reported."""

    state: State
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request about the shadow was refused."""

    code: int
    message: str
    client_token: str | None = None


def parse_delta(payload: bytes) -> Delta:
    """Read a delta in either shape; raises InvalidMessage.

    AWS sends what differs as the state itself. Clesyde's own library expects it one step deeper,
    beside what is desired.
    """
    message = _json(payload)
    state = _object(message, "state")
    if isinstance(inner := state.get("delta"), dict) and state.keys() <= {"desired", "delta"}:
        state = inner
    return Delta(state, _version(message))


def parse_document(payload: bytes) -> Document:
    """Read the answer to a get or an update; raises InvalidMessage."""
    message = _json(payload)
    state = _object(message, "state")
    return Document(
        _optional(state, "desired"),
        _optional(state, "reported"),
        _version(message),
        _token(message),
    )


def parse_documents(payload: bytes) -> Document:
    """Read the notice of a change, which holds the whole shadow; raises InvalidMessage."""
    message = _json(payload)
    current = _object(message, "current")
    state = _object(current, "state")
    return Document(
        _optional(state, "desired"),
        _optional(state, "reported"),
        _version(current),
        _token(message),
    )


def parse_rejection(payload: bytes) -> Rejection:
    """Read why a request was refused; raises InvalidMessage."""
    message = _json(payload)
    code = message.get("code")
    if type(code) is not int:
        raise InvalidMessage("a rejection without a code")
    return Rejection(code, str(message.get("message", ""))[:200], _token(message))


def merged(state: State, change: State) -> dict[str, Any]:
    """Return a state after a change, as AWS makes it: objects join, null takes away."""
    result = dict(state)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[name] = value
    return result


def difference(before: State, after: State) -> dict[str, Any]:
    """Return the change that makes *after* of *before*; empty where they are the same."""
    change: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := difference(old, value):
                change[name] = inner
        elif old != value or type(old) is not type(value):
            change[name] = value
    return change


def update_message(reported: State, version: int | None, token: str) -> bytes:
    """Return the request that reports a change, on condition of a version where one is known."""
    message: dict[str, Any] = {"state": {"reported": reported}, "clientToken": token}
    if version is not None:
        message["version"] = version
    return encoded(message)


def bounded(state: State, devices: Sequence[tuple[str, State]], desired: State) -> dict[str, Any]:
    """Return what is reported, with as many devices as fit beside what is desired.

    The devices named first come first; of one for which there is no room the metrics are left
    out before the device is. How many are left out is said.
    """
    room = LARGEST_DOCUMENT - _SPARE - _size(desired)
    result = dict(state)
    if _size(result) > room:
        # Somebody desires so much that not even why it is refused fits beside it.
        result = {name: value for name, value in state.items() if name != "refused"}
    shown: dict[str, Any] = {}
    taken = _size({**result, DEVICES: {}, OMITTED: len(devices)})
    for name, about in devices:
        brief = {key: value for key, value in about.items() if key != "metrics"}
        for one in (about, brief):
            size = _size({name: one})
            if taken + size <= room:
                shown[name] = one
                taken += size
                break
    if _size({**result, DEVICES: shown}) <= room:
        result[DEVICES] = shown
        if omitted := len(devices) - len(shown):
            result[OMITTED] = omitted
    return result


def encoded(value: object) -> bytes:
    """Return JSON as short as it can be."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _size(value: object) -> int:
    return len(encoded(value))


def _json(payload: bytes) -> Mapping[str, Any]:
    if len(payload) > LARGEST_MESSAGE:
        raise InvalidMessage(f"a message of {len(payload)} bytes about the shadow")
    try:
        message = json.loads(payload.decode())
    except (ValueError, RecursionError) as err:
        raise InvalidMessage("a message about the shadow is not JSON") from err
    if not isinstance(message, dict):
        raise InvalidMessage("a message about the shadow is no JSON object")
    return message


def _object(parent: Mapping[str, Any], name: str) -> State:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise InvalidMessage(f"a message about the shadow has no {name}")
    return value


def _optional(parent: Mapping[str, Any], name: str) -> State:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _version(message: Mapping[str, Any]) -> int | None:
    version = message.get("version")
    return version if type(version) is int else None


def _token(message: Mapping[str, Any]) -> str | None:
    token = message.get("clientToken")
    return token if isinstance(token, str) else None
