"""The frames of a log buffer: what the device said, when, and with which values."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from ..model.level import Level
from ..model.telemetry import Metric
from .errors import CaptureError, TruncatedCapture
from .log_buffer import LogHeader

FRAME_OVERHEAD: Final = 6
"""Bytes of a frame before its payload: u16 payload length, u32 ticks."""

_FRAME = struct.Struct("<HI")
_PAYLOAD = struct.Struct("<BIB")
_STRINGS = struct.Struct("<HH")


class ArgumentKind(StrEnum):
    """What an argument is by its conversion in the format string."""

    INT = "int"
    UINT = "uint"
    INT64 = "int64"
    UINT64 = "uint64"
    POINTER = "pointer"
    CHAR = "char"
    DOUBLE = "double"
    STRING = "string"


class Argument(NamedTuple):
    """One value of a frame; a CHAR is a string of one character."""

    kind: ArgumentKind
    value: int | float | str


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing that the device logged.

    ``ticks`` counts since the frame before; for the first one since boot or since the last
    anchor. ``module_bit`` 31 is always logged, 0 is also "no module". ``address`` is where
    the format string lies in the firmware image. A frame whose payload can't be read has no
    arguments and is ``malformed``: its length still tells where the next one starts.
    """

    ticks: int
    level: Level
    module_bit: int
    address: int
    arguments: tuple[Argument, ...]
    malformed: bool = False

    @property
    def metric(self) -> Metric | None:
        """The metric that this frame carries, if it does."""
        if self.level is not Level.METRIC or len(self.arguments) != 2:
            return None
        (name_kind, name), (value_kind, value) = self.arguments
        if name_kind is not ArgumentKind.STRING or not isinstance(name, str):
            return None
        if value_kind not in _NUMBERS or isinstance(value, str):
            return None
        return Metric(name, value)

    @property
    def is_heartbeat(self) -> bool:
        """Whether this is the sign of life: a metric without name and value."""
        return self.level is Level.METRIC and not self.arguments and not self.malformed


class RawFrame(NamedTuple):
    """A frame as it lies in the buffer, at ``offset`` from the buffer's start."""

    offset: int
    ticks: int
    payload: bytes


def iter_frames(buffer: bytes) -> Iterator[Frame]:
    """Return an iterator over the frames of a whole log buffer, header included.

    The checksum is not looked at, so that a damaged buffer can be viewed as far as it goes.
    Raises TruncatedCapture or CaptureError for the header at once, and TruncatedCapture while
    iterating when a frame runs over the used bytes.
    """
    return map(_decoded, iter_raw_frames(buffer))


def iter_raw_frames(buffer: bytes) -> Iterator[RawFrame]:
    """Like ``iter_frames``, with payloads as they are."""
    header = LogHeader.parse(buffer)
    if len(buffer) < header.total:
        raise TruncatedCapture(f"log buffer of {header.total} bytes, got {len(buffer)}")
    return _cut(buffer, header.size, header.total)


def _cut(buffer: bytes, offset: int, end: int) -> Iterator[RawFrame]:
    while offset < end:
        if end - offset < FRAME_OVERHEAD:
            raise TruncatedCapture(f"{end - offset} bytes are left, too few for a frame")
        length, ticks = _FRAME.unpack_from(buffer, offset)
        start = offset + FRAME_OVERHEAD
        if length > end - start:
            raise TruncatedCapture(f"the frame at {offset} runs over the buffer's end")
        yield RawFrame(offset, ticks, buffer[start : start + length])
        offset = start + length


def _decoded(raw: RawFrame) -> Frame:
    """Read a payload: level and module, address, argument count, descriptors, values, strings."""
    if len(raw.payload) < _PAYLOAD.size:
        return Frame(raw.ticks, Level.DEBUG, 0, 0, (), malformed=True)
    level_and_module, address, count = _PAYLOAD.unpack_from(raw.payload)
    level = _LEVELS[level_and_module >> 5]
    module_bit = level_and_module & 0x1F
    try:
        arguments = _arguments(raw.payload, count)
    except CaptureError:
        return Frame(raw.ticks, level, module_bit, address, (), malformed=True)
    return Frame(raw.ticks, level, module_bit, address, arguments)


class _Scalar(NamedTuple):
    kind: ArgumentKind
    layout: struct.Struct


def _scalars() -> dict[int, _Scalar]:
    """Table of descriptors (type << 4 | width in bytes) of arguments with a value.

    Integers are stored in as few bytes as hold them, signed ones sign-extended.
    """
    codes = (
        (ArgumentKind.INT, "bhiq"),
        (ArgumentKind.UINT, "BHIQ"),
        (ArgumentKind.INT64, "bhiq"),
        (ArgumentKind.UINT64, "BHIQ"),
        (ArgumentKind.POINTER, "BHIQ"),
        (ArgumentKind.CHAR, "BHIQ"),
        (ArgumentKind.DOUBLE, "fd"),
    )
    layouts = [
        (number << 4, kind, struct.Struct(f"<{code}"))
        for number, (kind, of_kind) in enumerate(codes, 1)
        for code in of_kind
    ]
    return {number | layout.size: _Scalar(kind, layout) for number, kind, layout in layouts}


_LEVELS = tuple(Level)
_SCALARS = _scalars()
_STRING_DESCRIPTOR = 8 << 4
_NUMBERS = frozenset(ArgumentKind) - {
    ArgumentKind.CHAR,
    ArgumentKind.STRING,
    ArgumentKind.POINTER,
}


def _arguments(payload: bytes, count: int) -> tuple[Argument, ...]:
    """Read the arguments after the count; CaptureError when they do not fit the payload."""
    descriptors = payload[_PAYLOAD.size : _PAYLOAD.size + count]
    if len(descriptors) < count:
        raise TruncatedCapture("the payload ends within its descriptors")
    offset = _PAYLOAD.size + count
    values: list[Argument | None] = []
    for descriptor in descriptors:
        if descriptor == _STRING_DESCRIPTOR:
            values.append(None)
            continue
        if (scalar := _SCALARS.get(descriptor)) is None:
            raise CaptureError(f"no argument has the descriptor {descriptor:#04x}")
        if len(payload) < offset + scalar.layout.size:
            raise TruncatedCapture("the payload ends within its values")
        value = scalar.layout.unpack_from(payload, offset)[0]
        offset += scalar.layout.size
        if scalar.kind is ArgumentKind.CHAR:
            value = chr(value & 0xFF)
        values.append(Argument(scalar.kind, value))
    if None not in values:
        return tuple(value for value in values if value is not None)
    strings = _strings(payload, offset, values.count(None))
    return tuple(value or Argument(ArgumentKind.STRING, next(strings)) for value in values)


def _strings(payload: bytes, offset: int, expected: int) -> Iterator[str]:
    """Read the strings after the values: u16 count, u16 bytes, then u16 length + UTF-8 each."""
    if len(payload) < offset + _STRINGS.size:
        raise TruncatedCapture("the payload ends before its strings")
    count, size = _STRINGS.unpack_from(payload, offset)
    offset += _STRINGS.size
    end = offset + size
    if count != expected or end > len(payload):
        raise CaptureError(f"{count} strings in {size} bytes for {expected} arguments")
    strings = []
    for _ in range(count):
        start = offset + 2
        offset = start + int.from_bytes(payload[offset:start], "little")
        if offset > end:
            raise TruncatedCapture("a string runs over the payload's strings")
        strings.append(payload[start:offset].decode(errors="replace"))
    return iter(strings)
