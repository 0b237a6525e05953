"""Log records as Pepeunit takes them, and what fits one message."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

LEVELS: Final = ("Debug", "Info", "Warning", "Error", "Critical")
LARGEST_MESSAGE: Final = 256 * 1024 - 1024
"""Bytes of one message: a packet has 256 KB with its topic."""
LONGEST_TEXT: Final = 16_384
"""Characters of a record's text; the rest is cut off."""


class LogRecord(NamedTuple):
    """One line of a unit's log; ``level`` counts from 0 (Debug), ``at`` is in Unix seconds."""

    level: int
    text: str
    at: float

    def as_dict(self) -> dict[str, str]:
        """Return the record as it goes over the wire."""
        text = self.text.encode(errors="replace").decode()[:LONGEST_TEXT]
        return {"level": LEVELS[self.level], "text": text, "create_datetime": _moment(self.at)}


def in_messages(
    records: Iterable[LogRecord], largest: int = LARGEST_MESSAGE
) -> Iterator[tuple[bytes, int]]:
    """Put records into arrays, each in one message; returns them with how many are in each."""
    parts: list[str] = []
    size = 2
    for record in records:
        part = json.dumps(record.as_dict(), ensure_ascii=False, separators=(",", ":"))
        length = len(part.encode()) + 1
        if parts and size + length > largest:
            yield _array(parts), len(parts)
            parts, size = [], 2
        parts.append(part)
        size += length
    if parts:
        yield _array(parts), len(parts)


def _array(parts: list[str]) -> bytes:
    return f"[{','.join(parts)}]".encode()


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except ValueError, OverflowError, OSError:
        return datetime.fromtimestamp(0, UTC).isoformat()
