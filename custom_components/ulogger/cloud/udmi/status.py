"""What UDMI calls an entry: a message with a category, a time and a level."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

VERSION: Final = "1.5.7"
LONGEST_MESSAGE: Final = 1024
LONGEST_DETAIL: Final = 4096


class Severity(IntEnum):
    """How important an entry is."""

    DEBUG = 100
    INFO = 200
    NOTICE = 300
    WARNING = 400
    ERROR = 500
    CRITICAL = 600


def stamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 has it, in UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_stamp(text: object) -> datetime:
    """Return a moment as it is written in a message; raises ValueError for anything else.

    Without an offset it is UTC.
    """
    if not isinstance(text, str) or "T" not in text.upper():
        raise ValueError(f"{text!r} is no date and time")
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as err:
        raise ValueError(f"{text!r} is out of range") from err


def make_status(
    message: str,
    category: str,
    level: int,
    at: datetime,
    detail: str | None = None,
) -> Mapping[str, Any]:
    """Return an entry; what is longer than anybody reads is cut."""
    entry: dict[str, Any] = {
        "message": message[:LONGEST_MESSAGE],
        "category": category,
        "timestamp": stamp(at),
        "level": int(level),
    }
    if detail:
        entry["detail"] = detail[:LONGEST_DETAIL]
    return entry
