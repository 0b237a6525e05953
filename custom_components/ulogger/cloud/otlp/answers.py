"""What a collector says to a request, as OTLP's specification has it; it can say anything."""

import json
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from ...model.plain_text import one_line
from ...model.reason import Reason
from ..errors import (
    ApiTokenRefused,
    CloudUnavailable,
    MessageRefused,
    MessageTooLarge,
)

LARGEST_ANSWER: Final = 64 * 1024
LONGEST_WAIT: Final = 3600.0
"""Seconds: what a collector asks beyond that is cut, since its clock or ours may be wrong."""
RETRYABLE: Final = frozenset({429, 502, 503, 504})
_ANSWERS: Final = frozenset({"application/json", "application/x-protobuf"})


class Overloaded(CloudUnavailable):
    """The collector asks to come again later; ``wait`` is in seconds, 0 where it says nothing."""

    reason = Reason.COLLECTOR_OVERLOADED

    def __init__(self, detail: str, wait: float = 0.0) -> None:
        """Say why, and when to come again."""
        super().__init__(detail)
        self.wait = wait


class NotACollector(CloudUnavailable):
    """What answers there takes no OTLP: another program, another path, or a page to log in."""

    reason = Reason.NOT_A_COLLECTOR


class Redirected(NotACollector):
    """The address leads elsewhere; nothing of a device, and no token, goes where nobody chose."""

    reason = Reason.REDIRECTED


class Refused(MessageRefused):
    """The collector refuses a request for good: it says that the same again is of no use."""

    final = True


class Rejected(NamedTuple):
    """What a collector did not take of a request that it answered with a success, and why."""

    items: int
    message: str


NOTHING_REJECTED: Final = Rejected(0, "")


def check_status(status: int, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raise CloudError unless the status is a success; ``now`` is in Unix seconds."""
    if 200 <= status < 300:
        return
    said = f"the collector answered with status {status}{_told(headers, body)}"
    if 300 <= status < 400:
        raise Redirected(f"{said}, which leads elsewhere")
    if status in RETRYABLE:
        raise Overloaded(said, retry_after(headers.get("Retry-After"), now))
    if status in (401, 403, 407):
        raise ApiTokenRefused(said)
    if status in (404, 405, 406, 410, 415, 421, 426):
        raise NotACollector(said)
    if status == 408:
        raise CloudUnavailable(said)
    if status == 413:
        raise MessageTooLarge(said)
    if 400 <= status < 500:
        raise Refused(said)
    if 500 <= status < 600:
        raise MessageRefused(said)
    raise CloudUnavailable(said)


def read_answer(content_type: str, body: bytes, signal_key: str) -> Rejected:
    """Return what of a request was rejected, from the answer to a success.

    ``signal_key`` names the count: ``rejectedLogRecords``. Raises NotACollector for an answer that
    no collector gives: what took the request may have thrown it away.
    """
    if not body:
        return NOTHING_REJECTED
    kind = content_type.split(";", 1)[0].strip().lower()
    if len(body) >= LARGEST_ANSWER:
        raise NotACollector("the answer is longer than any of a collector's")
    if kind not in _ANSWERS:
        raise NotACollector(f"the answer is no collector's ({one_line(kind, 64) or 'untyped'})")
    if kind != "application/json":
        return NOTHING_REJECTED
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise NotACollector("the answer is said to be JSON and is none") from err
    if not isinstance(answer, dict):
        raise NotACollector("the answer is no collector's")
    partial = answer.get("partialSuccess", answer.get("partial_success"))
    if not isinstance(partial, dict):
        return NOTHING_REJECTED
    message = partial.get("errorMessage", partial.get("error_message", ""))
    return Rejected(
        _count(partial.get(signal_key)), one_line(message if isinstance(message, str) else "")
    )


def retry_after(value: str | None, now: float) -> float:
    """Return seconds from a ``Retry-After``: a number of them, or a date. 0 for anything else."""
    if value is None:
        return 0.0
    text = value.strip()[:64]
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return min(max(moment.timestamp() - now, 0.0), LONGEST_WAIT)
    except ValueError, TypeError, OverflowError, IndexError:
        return 0.0


def _count(value: object) -> int:
    """Return a count, which JSON may have as a text; 0 for anything else."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    return max(value, 0) if isinstance(value, int) else 0


def _told(headers: Mapping[str, str], body: bytes) -> str:
    """Return what a collector says of a failure, on one line, if it says something readable."""
    text = ""
    kind = headers.get("Content-Type", "").split(";", 1)[0].strip().lower()
    if kind == "application/json":
        try:
            answer = json.loads(body)
        except ValueError, RecursionError:
            return ""
        if isinstance(answer, dict) and isinstance(answer.get("message"), str):
            text = answer["message"]
    elif kind == "text/plain":
        text = body[:2000].decode(errors="replace")
    line = one_line(text, 200)
    return f": {line}" if line else ""
