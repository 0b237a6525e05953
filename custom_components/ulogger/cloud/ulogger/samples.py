"""Metrics and events: what may go up, how it is packed, and how too much of it is split.

The one place that builds their messages, whichever way they go.
"""

import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from ...model.telemetry import Event, Metric
from ..errors import InvalidMessage, MessageTooLarge
from .topics import checked_serial

COMPRESS_OVER = 1_024
"""Bytes of JSON from which a batch is gzipped."""
LONGEST_NAME = 256
_GZIP_LEVEL = 6

type Sample = Metric | Event
type Devices = Mapping[str, Sequence[Sample]]
"""Samples of one application's devices, by their serials."""


class Kind(StrEnum):
    """What is published: the topic's first level and the payload's list."""

    METRICS = "metrics"
    EVENTS = "events"


class Message(NamedTuple):
    """One message as it goes up."""

    data: bytes
    gzipped: bool = False


def check_samples(kind: Kind, samples: Sequence[Sample]) -> None:
    """Raise InvalidMessage unless every sample is one that the server takes.

    It refuses a message as a whole for one bad sample. Names have no spaces and no ``=``,
    values are finite numbers, timestamps Unix seconds.
    """
    if not samples:
        raise InvalidMessage(f"there are no {kind.value}")
    for sample in samples:
        name = sample[0]
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise InvalidMessage(f"{kind.value}: a name is missing or too long")
        if "=" in name or any(char.isspace() or not char.isprintable() for char in name):
            raise InvalidMessage(f"{kind.value}: {name!r} has a space or '='")
        if isinstance(sample, Metric) and not _number(sample.value):
            raise InvalidMessage(f"metrics: {name} has no finite number for a value")
        at = sample.timestamp
        if at is not None and not (_number(at) and at >= 0):
            raise InvalidMessage(f"{kind.value}: {name} has no Unix time for a timestamp")
        if isinstance(sample, Event):
            _check_extras(sample)


def _check_extras(event: Event) -> None:
    """Raise InvalidMessage unless JSON knows what an event carries, under names of its own."""
    taken = {"type", "timestamp"}.intersection(event.extras)
    if taken or not all(isinstance(name, str) and name for name in event.extras):
        raise InvalidMessage(f"events: {event.type} has extras without a name of their own")
    try:
        json.dumps(dict(event.extras), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as err:
        raise InvalidMessage(f"events: {event.type} has extras that are no JSON") from err


def messages(
    kind: Kind, devices: Devices, more: Mapping[str, str], largest: int | None
) -> Iterator[Message]:
    """Yield the samples in as few messages as they need, each of ``largest`` bytes at most.

    One device has a message to itself, ``{"device_serial", "metrics" or "events"}``; several
    share a batch, ``{"devices": [...]}``. ``more`` goes into each. Raises InvalidSerial.
    """
    entries = [
        {"device_serial": checked_serial(serial), kind.value: [_as_json(each) for each in samples]}
        for serial, samples in devices.items()
    ]
    yield from _split(kind, entries, more, largest)


def _split(
    kind: Kind, entries: Sequence[dict[str, Any]], more: Mapping[str, str], largest: int | None
) -> Iterator[Message]:
    message = _encode(entries, more)
    if largest is None or len(message.data) <= largest:
        yield message
        return
    if len(entries) > 1:
        parts = list(_halves(entries))
    else:
        (entry,) = entries
        parts = [[{**entry, kind.value: half}] for half in _halves(entry[kind.value])]
    for part in parts:
        yield from _split(kind, part, more, largest)


def _encode(entries: Sequence[dict[str, Any]], more: Mapping[str, str]) -> Message:
    if len(entries) == 1:
        return Message(json.dumps({**entries[0], **more}).encode())
    raw = json.dumps({"devices": list(entries), **more}).encode()
    if len(raw) > COMPRESS_OVER:
        return Message(gzip.compress(raw, _GZIP_LEVEL, mtime=0), gzipped=True)
    return Message(raw)


def _as_json(sample: Sample) -> dict[str, Any]:
    found = {name: value for name, value in sample._asdict().items() if value is not None}
    extras = found.pop("extras", {})
    return {**found, **extras}


def _halves[T](items: Sequence[T]) -> Iterator[Sequence[T]]:
    if len(items) < 2:
        raise MessageTooLarge("a single sample is larger than one message takes")
    middle = len(items) // 2
    yield list(items[:middle])
    yield list(items[middle:])


def _number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
