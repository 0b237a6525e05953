"""Text logs: lines of text with a time and a level, many in one message."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence

from ...model.identity import DeviceIdentity, DeviceKey
from ...model.telemetry import TextLine
from ..errors import InvalidMessage

LARGEST_MESSAGE = 131_072
LONGEST_TEXT = 8_192
LOWEST_LEVEL, HIGHEST_LEVEL = 0, 4


def encode(line: TextLine) -> bytes:
    """Return the line's JSON ``{"t", "lv": 1..5, "m"}``; raises InvalidMessage.

    A text that is far too long is cut, and says so.
    """
    if not LOWEST_LEVEL <= line.level <= HIGHEST_LEVEL:
        raise InvalidMessage(f"log level {line.level} is not one of 0 to 4")
    text = line.message
    if (more := len(text) - LONGEST_TEXT) > 0:
        text = f"{text[:LONGEST_TEXT]} ... ({more} more characters)"
    sent = {"t": round(line.at, 3), "lv": line.level + 1, "m": text}
    return json.dumps(sent, allow_nan=False).encode()


class Sequences:
    """The number of each message of a device.

    They begin at the time of the first one (Unix seconds), so that they go on rising over a
    restart without being kept anywhere.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._numbers: dict[DeviceKey, itertools.count[int]] = {}

    def next(self, key: DeviceKey) -> int:
        """Return the device's next number."""
        if key not in self._numbers:
            self._numbers[key] = itertools.count(int(self._now()))
        return next(self._numbers[key])


def text_log_messages(
    device: DeviceIdentity,
    lines: Sequence[TextLine],
    next_sequence: Callable[[], int],
    largest: int = LARGEST_MESSAGE,
) -> Iterator[bytes]:
    """Yield the lines as NDJSON, in as many messages as they need.

    Each message begins with ``{"sequence", "device_type", "version", "git", "serial"}``.
    """
    pending: list[bytes] = []
    head = b""
    size = 0
    for line in lines:
        encoded = encode(line)
        if pending and size + len(encoded) + 1 > largest:
            yield b"\n".join((head, *pending)) + b"\n"
            pending = []
        if not pending:
            head = _head(device, next_sequence())
            size = len(head) + 1
        pending.append(encoded)
        size += len(encoded) + 1
    if pending:
        yield b"\n".join((head, *pending)) + b"\n"


def _head(device: DeviceIdentity, sequence: int) -> bytes:
    return json.dumps(
        {
            "sequence": sequence,
            "device_type": device.device_type,
            "version": device.git_version,
            "git": device.git_hash,
            "serial": device.serial,
        }
    ).encode()
