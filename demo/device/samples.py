"""Log buffers and core dumps of any size, valid to the last byte."""

from dataclasses import replace
from random import Random
from struct import Struct

from custom_components.ulogger.capture.log_buffer import xor_checksum
from custom_components.ulogger.model.identity import DeviceIdentity

from .log_memory import DEFAULT_HEADER

_FRAME = Struct("<HIBIB")
_DUMP_HEADER = Struct("<IIII44s68s68s68s")
_NO_ARGUMENTS = 6
_TICKS = 10
_INFO = 1 << 5
_FORMAT = 0x2000_0000
HEADER_SIZE = 25
SMALLEST_FRAME = _FRAME.size


def sample_frames(size: int, seed: int = 0) -> bytes:
    """Make frames of exactly ``size`` bytes, the last ones padded with unread bytes."""
    random = Random(seed)
    frames = bytearray()
    while len(frames) + 2 * SMALLEST_FRAME <= size:
        address = _FORMAT + 4 * random.randrange(0x10000)
        frames += _FRAME.pack(_NO_ARGUMENTS, random.randrange(_TICKS), _INFO, address, 0)
    return bytes(frames) + _padding(size - len(frames))


def sample_log(size: int, seed: int = 0) -> bytes:
    """Make a buffer of version 4, header included, of exactly ``size`` bytes."""
    frames = sample_frames(max(size - HEADER_SIZE, 0), seed)
    header = replace(DEFAULT_HEADER, used_bytes=len(frames), checksum=xor_checksum(frames))
    return header.pack() + frames


def sample_core_dump(device: DeviceIdentity, size: int, seed: int = 0) -> bytes:
    """Make a dump of ``size`` bytes, at least its header; what it holds is noise."""
    body = Random(seed).randbytes(size - _DUMP_HEADER.size)
    strings = (device.git_hash, device.device_type, device.serial, device.git_version)
    header = _DUMP_HEADER.pack(
        size,
        sum(body) & 0xFFFF_FFFF,
        1,
        device.application_id,
        *(text.encode() for text in strings),
    )
    return header + body


def _padding(size: int) -> bytes:
    """Make one frame of a given size: a string of no meaning after a call without arguments."""
    if size < SMALLEST_FRAME:
        return bytes(size)
    payload = size - _FRAME.size + _NO_ARGUMENTS
    return _FRAME.pack(payload, 0, _INFO, _FORMAT, 0) + bytes(size - _FRAME.size)
