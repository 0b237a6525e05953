"""Bodies of requests: as much as fits, packed. Everything here takes processor time."""

import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import orjson

from .gauges import Gauge, metrics_json

MOST_RECORDS: Final = 2_000
MOST_BYTES: Final = 1024 * 1024
"""Of a body before it is packed: proxies before a collector often take no more than that."""
_LEVEL: Final = 3
_GZIP: Final = 31


class Batch(NamedTuple):
    """A packed body, and how many records or points it holds."""

    body: bytes
    items: int


class RecordSequence(Protocol):
    """Records as JSON that are made when they are asked for."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, number: int) -> bytes:
        """Return one of them."""
        ...


def logs_batch(
    resource: dict[str, Any],
    scope: dict[str, Any],
    records: RecordSequence,
    start: int,
    most_bytes: int = MOST_BYTES,
) -> Batch:
    """Return a request with records from *start* on: one at least, if there is one."""
    taken: list[bytes] = []
    size = 0
    for number in range(start, min(len(records), start + MOST_RECORDS)):
        record = records[number]
        size += len(record) + 1
        if taken and size > most_bytes:
            break
        taken.append(record)
    head = orjson.dumps({"resource": resource})[:-1]
    body = (
        b'{"resourceLogs":['
        + head
        + b',"scopeLogs":[{"scope":'
        + orjson.dumps(scope)
        + b',"logRecords":['
        + b",".join(taken)
        + b"]}]}]}"
    )
    return Batch(packed(body), len(taken))


def metrics_batch(
    resource: dict[str, Any],
    scope: dict[str, Any],
    gauges: Sequence[Gauge],
    start: int,
    most_bytes: int = MOST_BYTES,
) -> Batch:
    """Return a request with gauges from *start* on: one at least, if there is one."""
    taken = gauges[start : start + MOST_RECORDS]
    metrics = metrics_json(taken)
    while len(metrics) > most_bytes and len(taken) > 1:
        taken = taken[: max(1, len(taken) * most_bytes // (len(metrics) + 1))]
        metrics = metrics_json(taken)
    head = orjson.dumps({"resource": resource})[:-1]
    body = (
        b'{"resourceMetrics":['
        + head
        + b',"scopeMetrics":[{"scope":'
        + orjson.dumps(scope)
        + b',"metrics":'
        + metrics
        + b"}]}]}"
    )
    return Batch(packed(body), len(taken))


def packed(body: bytes) -> bytes:
    """Return a body in gzip's format, the same each time."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


NO_LOGS: Final = packed(b'{"resourceLogs":[]}')
NO_METRICS: Final = packed(b'{"resourceMetrics":[]}')
"""Requests without records: they find out whether a collector is there and lets us in."""
