"""Whether what a gateway says is UDMI: by rules of this file, and by UDMI's schemas where given.

The schemas are the folder ``schema/`` of UDMI's public repository; without them the rules hold
that every payload has in common.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft7Validator, FormatChecker  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import DRAFT7

VERSION: Final = "1.5.7"
DEVICE: Final = re.compile(r"[A-Z]{2,6}-[1-9][0-9]*")
NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
FAMILY: Final = re.compile(r"_?[a-z][a-z0-9]*(_[a-z0-9]+)*")
ADDRESS: Final = re.compile(r"[-_.:0-9A-Z]+")
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
CATEGORY: Final = re.compile(r"[a-z]+(\.[a-z]+(_[a-z]+)*)+")
LEVELS: Final = (100, 200, 300, 400, 500, 600)
"""The last one is that of what is critical; the specification names those before it."""
KINDS: Final = {
    "state": "state",
    "events/system": "events_system",
    "events/pointset": "events_pointset",
    "events/discovery": "events_discovery",
}
"""The schemas of what comes on a device's topics."""
EMPTY: Final = ("attach", "detach")
NAMED: Final = {
    "points": NAME,
    "families": FAMILY,
    "blobs": FAMILY,
}
"""How the keys of these objects have to be spelt."""
MOMENTS: Final = {
    *("timestamp", "last_config", "last_start", "generation"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """Something that a gateway said."""

    topic: str
    device: str
    rest: str
    payload: bytes
    at: float
    """When it came (Unix seconds)."""
    document: Mapping[str, Any] | None = None
    """The payload, where it is an object in JSON."""

    @classmethod
    def read(cls, topic: str, device: str, rest: str, payload: bytes, at: float) -> Message:
        """Read a payload, which may be anything."""
        document = None
        try:
            found = json.loads(payload)
        except ValueError:
            pass
        else:
            document = found if isinstance(found, dict) else None
        return cls(topic, device, rest, payload, at, document)


class Schemas:
    """UDMI's schemas, from a folder."""

    def __init__(self, directory: Path) -> None:
        """Read the folder; raises OSError or ValueError."""
        resources = []
        self._documents = {}
        for path in sorted(directory.glob("*.json")):
            document = json.loads(path.read_text())
            self._documents[path.stem] = document
            resources.append((f"file:{path.name}", DRAFT7.create_resource(document)))
        if not set(KINDS.values()) <= self._documents.keys():
            raise ValueError(f"{directory}: not the folder of UDMI's schemas")
        self._registry: Registry[Any] = Registry().with_resources(resources)
        self._formats = FormatChecker(formats=())
        self._formats.checks("date-time")(is_moment)
        self._validators: dict[str, Draft7Validator] = {}

    def faults(self, kind: str, document: object) -> Iterator[str]:
        """Describe where a document is not as its schema has it."""
        if kind not in self._validators:
            self._validators[kind] = Draft7Validator(
                self._documents[kind], registry=self._registry, format_checker=self._formats
            )
        for error in self._validators[kind].iter_errors(document):
            yield f"{'/'.join(str(each) for each in error.absolute_path)}: {error.message}"


def is_moment(value: object) -> bool:
    """Whether something is a moment as RFC 3339 writes it; what is no text is none's business."""
    if not isinstance(value, str):
        return True
    if not MOMENT.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def moment(text: object) -> datetime | None:
    """Return the moment that a text says, None where it says none."""
    return datetime.fromisoformat(text) if isinstance(text, str) and is_moment(text) else None


def faults(message: Message, schemas: Schemas | None = None) -> Iterator[str]:
    """Describe all that is wrong with a message."""
    if message.rest in EMPTY:
        if message.payload:
            yield "not empty"
        return
    if (kind := KINDS.get(message.rest)) is None:
        yield "nothing of UDMI's is said on this topic"
        return
    if message.document is None:
        yield "no object in JSON"
        return
    yield from _common(message.document)
    if kind == "state":
        system = message.document.get("system")
        wanted = {"serial_no", "last_config", "hardware", "software", "operation"}
        if not isinstance(system, Mapping) or not wanted <= system.keys():
            yield "a state without all of its system"
    if schemas is not None:
        yield from schemas.faults(kind, message.document)


def _common(document: Mapping[str, Any]) -> Iterator[str]:
    if document.get("version") != VERSION:
        yield f"version {document.get('version')!r}"
    if not isinstance(document.get("timestamp"), str):
        yield "no timestamp"
    yield from _inside(document, "")


def _inside(value: object, path: str) -> Iterator[str]:
    """Describe what is wrong at any depth: nulls, moments, names, entries."""
    if value is None:
        yield f"{path}: null"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: not a number"
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _inside(each, f"{path}/{number}")
    elif isinstance(value, dict):
        if {"message", "category"} <= value.keys():
            yield from _entry(value, path)
        named = path.rpartition("/")[2] in NAMED
        for key, each in value.items():
            inner = f"{path}/{key}"
            if key in MOMENTS and not named and not (isinstance(each, str) and is_moment(each)):
                yield f"{inner}: {each!r} is no moment"
            if (
                key == "addr"
                and not named
                and not (isinstance(each, str) and ADDRESS.fullmatch(each))
            ):
                yield f"{inner}: {each!r} is no address"
            if (spelt := NAMED.get(key)) is not None and isinstance(each, dict):
                for name in each:
                    if not spelt.fullmatch(name):
                        yield f"{inner}: {name!r} is no name"
            if path.rpartition("/")[2] != "ancillary":
                yield from _inside(each, inner)


def _entry(entry: Mapping[str, Any], path: str) -> Iterator[str]:
    if entry.get("level") not in LEVELS:
        yield f"{path}: level {entry.get('level')!r}"
    if not CATEGORY.fullmatch(str(entry.get("category"))):
        yield f"{path}: category {entry.get('category')!r}"
    if not isinstance(entry.get("timestamp"), str):
        yield f"{path}: an entry without a time"
