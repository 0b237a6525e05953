"""The frames of a log buffer: what the device said, when, and with which values."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial
from typing import Final, NamedTuple

from ..model.level import Level
from ..model.telemetry import Metric
from .errors import CaptureError, TruncatedCapture
from .log_buffer import LogHeader

FRAME_OVERHEAD: Final = 6
"""Bytes of a frame before its payload: u16 payload length, u32 ticks."""

_FRAME = struct.Struct("<HI")
_PAYLOAD = struct.Struct("<BIB")
_PAYLOAD_HEAD = struct.Struct("<BI")
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


# Thrice as fast as calling the class, and every number of a log goes through it.
_argument: Callable[[tuple[ArgumentKind, int | float | str]], Argument] = partial(
    tuple.__new__, Argument
)


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


class FrameHead(NamedTuple):
    """The beginning of a frame at ``offset``: enough to tell whether it is of interest.

    ``level_and_module`` is ``level << 5 | module_bit``; it and the address are 0 in a frame
    whose payload is too short for them.
    """

    offset: int
    ticks: int
    level_and_module: int
    address: int


def iter_frames(buffer: bytes) -> Iterator[Frame]:
    """Return an iterator over the frames of a whole log buffer, header included.

    The checksum is not looked at, so that a damaged buffer can be viewed as far as it goes.
    Raises TruncatedCapture or CaptureError for the header at once, and TruncatedCapture while
    iterating when a frame runs over the used bytes.
    """
    return _decoded(buffer, *_whole(buffer))


def iter_frames_as_far_as_they_go(buffer: bytes) -> Iterator[Frame]:
    """Return an iterator like ``iter_frames``, also over a buffer whose end is missing.

    Raises TruncatedCapture while iterating, after the frames that are all there.
    """
    header = LogHeader.parse(buffer)
    return _decoded(buffer, header.size, header.total)


def iter_raw_frames(buffer: bytes) -> Iterator[RawFrame]:
    """Like ``iter_frames``, with payloads as they are."""
    return (
        RawFrame(offset, ticks, buffer[offset + FRAME_OVERHEAD : offset + FRAME_OVERHEAD + length])
        for offset, length, ticks in _cut(buffer, *_whole(buffer))
    )


def iter_frame_heads_as_far_as_they_go(buffer: bytes) -> Iterator[FrameHead]:
    """Like ``iter_frames_as_far_as_they_go``, with arguments not read yet."""
    header = LogHeader.parse(buffer)
    for offset, length, ticks in _cut(buffer, header.size, header.total):
        if length < _PAYLOAD.size:
            yield FrameHead(offset, ticks, 0, 0)
        else:
            yield FrameHead(offset, ticks, *_PAYLOAD_HEAD.unpack_from(buffer, offset + 6))


def frame_at(buffer: bytes, offset: int) -> Frame:
    """Return the frame whose head was found at an offset."""
    length, ticks = _FRAME.unpack_from(buffer, offset)
    return _frame(buffer, offset, length, ticks)


def has_string(buffer: bytes, offset: int) -> bool:
    """Whether a string is among the arguments of the frame whose head was found at an offset."""
    length, _ = _FRAME.unpack_from(buffer, offset)
    if length <= _PAYLOAD.size:
        return False
    first = offset + FRAME_OVERHEAD + _PAYLOAD.size
    return _STRING_DESCRIPTOR in buffer[first : first + buffer[first - 1]]


def _whole(buffer: bytes) -> tuple[int, int]:
    """Return where the frames of a whole buffer begin and end."""
    header = LogHeader.parse(buffer)
    if len(buffer) < header.total:
        raise TruncatedCapture(f"log buffer of {header.total} bytes, got {len(buffer)}")
    return header.size, header.total


def _cut(buffer: bytes, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield offset, payload length and ticks of frame after frame."""
    there = min(end, len(buffer))
    while offset < there:
        if there - offset < FRAME_OVERHEAD:
            raise TruncatedCapture(f"{there - offset} bytes are left, too few for a frame")
        length, ticks = _FRAME.unpack_from(buffer, offset)
        following = offset + FRAME_OVERHEAD + length
        if following > there:
            raise TruncatedCapture(f"the frame at {offset} runs over the buffer's end")
        yield offset, length, ticks
        offset = following
    if there < end:
        raise TruncatedCapture(f"log buffer of {end} bytes, got {there}")


def _decoded(buffer: bytes, offset: int, end: int) -> Iterator[Frame]:
    for start, length, ticks in _cut(buffer, offset, end):
        yield _frame(buffer, start, length, ticks)


def _frame(buffer: bytes, offset: int, length: int, ticks: int) -> Frame:
    """Read a payload: level and module, address, argument count, descriptors, values, strings.

    A payload that can't be read gives a malformed frame.
    """
    if length < _PAYLOAD.size:
        return Frame(ticks, Level.DEBUG, 0, 0, (), malformed=True)
    start = offset + FRAME_OVERHEAD
    level_and_module, address, count = _PAYLOAD.unpack_from(buffer, start)
    level = _LEVELS[level_and_module >> 5]
    module_bit = level_and_module & 0x1F
    if not count:
        return Frame(ticks, level, module_bit, address, ())
    try:
        arguments = _arguments(buffer[start : start + length], count)
    except CaptureError:
        return Frame(ticks, level, module_bit, address, (), malformed=True)
    return Frame(ticks, level, module_bit, address, arguments)


class _Scalar(NamedTuple):
    kind: ArgumentKind
    code: str


class _Signature(NamedTuple):
    """How the values of a row of descriptors lie in a payload; strings follow behind them.

    ``kinds`` are those of all arguments, strings included; then come the places of strings and
    of characters among them.
    """

    layout: struct.Struct
    kinds: tuple[ArgumentKind, ...]
    strings_at: tuple[int, ...]
    characters_at: tuple[int, ...]


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
    return {
        number << 4 | struct.calcsize(code): _Scalar(kind, code)
        for number, (kind, of_kind) in enumerate(codes, 1)
        for code in of_kind
    }


_LEVELS = tuple(Level)
_SCALARS = _scalars()
_STRING_DESCRIPTOR = 8 << 4
_NUMBERS = frozenset(ArgumentKind) - {
    ArgumentKind.CHAR,
    ArgumentKind.STRING,
    ArgumentKind.POINTER,
}


@lru_cache(maxsize=256)
def _signature(descriptors: bytes) -> _Signature | None:
    """Return how values of these descriptors are read, None when one of them is unknown.

    A firmware has some dozen rows of them, which come again in frame after frame.
    """
    kinds: list[ArgumentKind] = []
    codes = []
    for descriptor in descriptors:
        if descriptor == _STRING_DESCRIPTOR:
            kinds.append(ArgumentKind.STRING)
        elif (scalar := _SCALARS.get(descriptor)) is not None:
            kinds.append(scalar.kind)
            codes.append(scalar.code)
        else:
            return None
    places = [
        tuple(place for place, kind in enumerate(kinds) if kind is sought)
        for sought in (ArgumentKind.STRING, ArgumentKind.CHAR)
    ]
    return _Signature(struct.Struct(f"<{''.join(codes)}"), tuple(kinds), *places)


def _arguments(payload: bytes, count: int) -> tuple[Argument, ...]:
    """Read the arguments after the count; CaptureError when they do not fit the payload."""
    offset = _PAYLOAD.size + count
    descriptors = payload[_PAYLOAD.size : offset]
    if len(descriptors) < count:
        raise TruncatedCapture("the payload ends within its descriptors")
    signature = _signature(descriptors)
    if signature is None:
        raise CaptureError(f"no arguments have the descriptors {descriptors.hex()}")
    layout, kinds, strings_at, characters_at = signature
    if len(payload) < offset + layout.size:
        raise TruncatedCapture("the payload ends within its values")
    values = layout.unpack_from(payload, offset)
    if not strings_at and not characters_at:
        return tuple(map(_argument, zip(kinds, values, strict=True)))
    merged = list(values)
    if strings_at:
        texts = _strings(payload, offset + layout.size, len(strings_at))
        for place, text in zip(strings_at, texts, strict=True):
            merged.insert(place, text)
    for place in characters_at:
        merged[place] = chr(merged[place] & 0xFF)
    return tuple(map(_argument, zip(kinds, merged, strict=True)))


def _strings(payload: bytes, offset: int, expected: int) -> list[str]:
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
    return strings
