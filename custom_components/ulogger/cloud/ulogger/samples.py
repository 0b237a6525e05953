"""Metrics and events: what may go up, how it is packed, and how too much of it is split."""

import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from ..errors import InvalidMessage, MessageTooLarge

COMPRESS_OVER = 1_024
LONGEST_NAME = 256
_GZIP_LEVEL = 6

type Sample = Mapping[str, Any]
"""A metric ``{"name", "value", "timestamp"?}`` or an event ``{"type", "timestamp"?}``."""
type DeviceSamples = Mapping[str, Any]
"""One device in a batch: ``{"device_serial", "app_id"?, "metrics" or "events": [...]}``."""


class Kind(StrEnum):
    """What is published: the topic's first level and the payload's list."""

    METRICS = "metrics"
    EVENTS = "events"


class Compress(StrEnum):
    """Whether a batch is gzipped; AUTO is from 1 KiB of JSON on."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


_NAME_FIELD = {Kind.METRICS: "name", Kind.EVENTS: "type"}


def check_samples(kind: Kind, samples: Sequence[Sample]) -> None:
    """Raise InvalidMessage unless every sample is one that the server takes.

    It refuses a message as a whole for one bad sample. Names have no spaces and no ``=``,
    values are finite numbers, timestamps Unix seconds.
    """
    if not samples:
        raise InvalidMessage(f"there are no {kind.value}")
    field = _NAME_FIELD[kind]
    for sample in samples:
        name = sample.get(field)
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise InvalidMessage(f"{kind.value}: a {field} is missing, empty or too long")
        if "=" in name or any(char.isspace() or not char.isprintable() for char in name):
            raise InvalidMessage(f"{kind.value}: the {field} {name!r} has a space or '='")
        if kind is Kind.METRICS and not _number(sample.get("value")):
            raise InvalidMessage(f"metrics: {name} has no finite number for a value")
        if "timestamp" in sample and not (
            _number(sample["timestamp"]) and sample["timestamp"] >= 0
        ):
            raise InvalidMessage(f"{kind.value}: {name} has no Unix time for a timestamp")


def check_batch(kind: Kind, devices: Sequence[DeviceSamples]) -> None:
    """Raise InvalidMessage unless every device of a batch has a serial and good samples."""
    if not devices:
        raise InvalidMessage("there are no devices in the batch")
    for entry in devices:
        serial = entry.get("device_serial")
        if not isinstance(serial, str) or not serial:
            raise InvalidMessage("a device of the batch has no serial")
        check_samples(kind, entry.get(kind.value, ()))


def encode(payload: Mapping[str, Any], compress: Compress) -> tuple[bytes, bool]:
    """Return the payload as JSON, and whether it is gzipped."""
    raw = json.dumps(payload).encode()
    if compress is Compress.ALWAYS or (compress is Compress.AUTO and len(raw) > COMPRESS_OVER):
        return gzip.compress(raw, _GZIP_LEVEL, mtime=0), True
    return raw, False


def device_messages(
    kind: Kind, serial: str, samples: Sequence[Sample], largest: int
) -> Iterator[bytes]:
    """Yield one device's samples in as many messages as they need."""
    data, _ = encode({"device_serial": serial, kind.value: list(samples)}, Compress.NEVER)
    if len(data) <= largest:
        yield data
        return
    for half in _halves(samples):
        yield from device_messages(kind, serial, half, largest)


def batch_messages(
    kind: Kind, devices: Sequence[DeviceSamples], compress: Compress, largest: int
) -> Iterator[bytes]:
    """Yield a batch in as many messages as it needs, each a good batch by itself.

    A device whose samples alone are too large for one message comes in several.
    """
    data, _ = encode({"devices": list(devices)}, compress)
    if len(data) <= largest:
        yield data
        return
    if len(devices) > 1:
        parts = list(_halves(devices))
    else:
        (entry,) = devices
        parts = [[{**entry, kind.value: half}] for half in _halves(entry[kind.value])]
    for part in parts:
        yield from batch_messages(kind, part, compress, largest)


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
