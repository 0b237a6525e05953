"""The log buffer: its header, its checksum, and the two fields a gateway may fill in."""

import struct
from dataclasses import dataclass
from typing import Self

from .errors import CaptureError, ChecksumMismatch, NoClockField, TruncatedCapture

NEWEST_VERSION = 4

_TOKEN_OFFSET = 1
_EPOCH_OFFSET = 13
_SEQUENCED = struct.Struct("<BIIHH")
_TICKING = struct.Struct("<BIIIHH")
_DATED = struct.Struct("<BIIIQHH")
_LAYOUTS = {1: _SEQUENCED, 2: _SEQUENCED, 3: _TICKING, 4: _DATED}


@dataclass(frozen=True, slots=True)
class LogHeader:
    """What stands before the frames of a log buffer, all integers little-endian.

    | version | bytes | layout |
    |---|---|---|
    | 1, 2 | 13 | u8 version, u32 session_token, u32 sequence_number, u16 used, u16 checksum |
    | 3 | 17 | u8 version, u32 session_token, u32 anchor_tick, u32 tick_rate_hz, u16, u16 |
    | 4 | 25 | as 3 with u64 epoch_time_us before used_bytes |

    A newer version is read as version 4, as uLogger's own library does. ``checksum`` is the
    XOR of the ``used_bytes`` bytes after the header; the header itself is outside of it.
    ``epoch_us`` is the device's wall clock (Unix microseconds) when the buffer was closed for
    sending and 0 without one; ``anchor_tick`` is its tick counter at that same instant, in
    units of 1 / ``tick_rate_hz`` seconds. Fields that a version does not have are 0.
    """

    version: int
    session_token: int
    sequence_number: int
    anchor_tick: int
    tick_rate_hz: int
    epoch_us: int
    used_bytes: int
    checksum: int

    @property
    def size(self) -> int:
        """Length of the header in bytes: the offset of the first frame."""
        return _layout(self.version).size

    @property
    def total(self) -> int:
        """Length of header and frames; a trailer after that is allowed and is ignored."""
        return self.size + self.used_bytes

    @property
    def has_anchor(self) -> bool:
        """Whether this version says at which tick the buffer was closed."""
        return _layout(self.version) is not _SEQUENCED

    @property
    def has_clock_field(self) -> bool:
        """Whether this version has a place for a wall clock time at all."""
        return self.version >= NEWEST_VERSION

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a header from the start of ``data``.

        Raises TruncatedCapture when it is not all there, CaptureError for version 0, which
        no firmware writes: it is what memory that was never written looks like.
        """
        if not data:
            raise TruncatedCapture("an empty log buffer has no header")
        if data[0] == 0:
            raise CaptureError("there is no log buffer version 0")
        layout = _layout(data[0])
        if len(data) < layout.size:
            raise TruncatedCapture(
                f"log header of version {data[0]} has {layout.size} bytes, got {len(data)}"
            )
        version, token, *middle, used, checksum = layout.unpack_from(data)
        if layout is _SEQUENCED:
            return cls(version, token, middle[0], 0, 0, 0, used, checksum)
        anchor, rate, *epoch = middle
        return cls(version, token, 0, anchor, rate, epoch[0] if epoch else 0, used, checksum)

    def pack(self) -> bytes:
        """Return the bytes that ``parse`` reads as this header."""
        layout = _layout(self.version)
        ends = (self.used_bytes, self.checksum)
        if layout is _SEQUENCED:
            return layout.pack(self.version, self.session_token, self.sequence_number, *ends)
        ticks = (self.version, self.session_token, self.anchor_tick, self.tick_rate_hz)
        if layout is _TICKING:
            return layout.pack(*ticks, *ends)
        return layout.pack(*ticks, self.epoch_us, *ends)


def check_log(data: bytes) -> LogHeader:
    """Return the header of a log buffer that is all there and unharmed.

    Bytes after header and frames are allowed: firmware agents since 1.2.4 add a trailer.
    Raises TruncatedCapture or ChecksumMismatch (both CaptureError) otherwise.
    """
    header = LogHeader.parse(data)
    if len(data) < header.total:
        raise TruncatedCapture(f"log buffer of {header.total} bytes, got {len(data)}")
    found = xor_checksum(data[header.size : header.total])
    if found != header.checksum:
        raise ChecksumMismatch(f"log checksum is {found}, its header says {header.checksum}")
    return header


def with_session_token(data: bytes, token: int) -> bytes:
    """Return the log buffer with its session token (u32, 0 = none yet) replaced.

    The checksum stays right: it does not cover the header. Raises CaptureError for a buffer
    without a header and for a token that is no u32.
    """
    LogHeader.parse(data)
    if not 0 <= token <= 0xFFFF_FFFF:
        raise CaptureError(f"a session token has 32 bits, {token} does not fit")
    return _replaced(data, _TOKEN_OFFSET, token.to_bytes(4, "little"))


def with_epoch(data: bytes, epoch_us: int) -> bytes:
    """Return the log buffer with its wall clock time (Unix microseconds, u64) replaced.

    Raises NoClockField for versions 1 to 3, which have no place for it, and CaptureError for
    a buffer without a header or a time that is no u64.
    """
    header = LogHeader.parse(data)
    if not header.has_clock_field:
        raise NoClockField(f"a log buffer of version {header.version} can't carry a time")
    if not 0 <= epoch_us <= 0xFFFF_FFFF_FFFF_FFFF:
        raise CaptureError(f"a time has 64 bits, {epoch_us} does not fit")
    return _replaced(data, _EPOCH_OFFSET, epoch_us.to_bytes(8, "little"))


def xor_checksum(data: bytes) -> int:
    """XOR of all bytes.

    It runs in the transfer's path, so all bytes are one integer that is folded in half
    until one byte is left: 64 KiB take some 10 microseconds instead of milliseconds.
    """
    folded = int.from_bytes(data, "little")
    width = 8 << max(len(data) - 1, 0).bit_length()
    while width > 8:
        width //= 2
        folded = (folded >> width) ^ (folded & ((1 << width) - 1))
    return folded


def _layout(version: int) -> struct.Struct:
    """Return the header layout of a version; what is newer than we know reads as the newest."""
    return _LAYOUTS[min(version, NEWEST_VERSION)]


def _replaced(data: bytes, offset: int, value: bytes) -> bytes:
    return b"".join((data[:offset], value, data[offset + len(value) :]))
