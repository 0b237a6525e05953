"""The packets between gateway and device. All integers are little-endian."""

from struct import Struct
from typing import Final, NamedTuple

from ..model.identity import DeviceIdentity
from .errors import BadIdentification

MAX_TEXT: Final = 67
"""Characters of an identification string: what a core dump's header has room for."""
MAX_IDENTIFICATION: Final = 512
"""Bytes of the longest attribute value that ATT allows."""
_TOPIC_AND_PATH: Final = frozenset("/+#\\")
_CHUNK: Final = Struct("<HH")
_ACK: Final = Struct("<H")
_APPLICATION_ID: Final = Struct("<I")
CHUNK_HEADER: Final = _CHUNK.size


class Chunk(NamedTuple):
    """A piece of a buffer: ``u16 offset, u16 total, payload`` (any length but none).

    ``total`` is the buffer's length modulo 65,536.
    """

    offset: int
    total: int
    payload: bytes


def parse_chunk(data: bytes | bytearray) -> Chunk | None:
    """Read a notification; None when it is too short to carry anything."""
    if len(data) <= CHUNK_HEADER:
        return None
    offset, total = _CHUNK.unpack_from(data)
    return Chunk(offset, total, bytes(data[CHUNK_HEADER:]))


def starts_transfer(data: bytes | bytearray) -> bool:
    """Return whether a notification is the first chunk of a buffer."""
    return len(data) > CHUNK_HEADER and data[:2] == b"\0\0"


def encode_chunk(chunk: Chunk) -> bytes:
    """Write a notification, wrapping the total as firmware does."""
    return _CHUNK.pack(chunk.offset & 0xFFFF, chunk.total & 0xFFFF) + chunk.payload


encode_ack = _ACK.pack
"""Write a request for the chunk at an offset; at or past the total it is the erase command."""


def parse_ack(data: bytes | bytearray) -> int | None:
    """Read the offset of a request; None when it is not two bytes."""
    return int(_ACK.unpack(data)[0]) if len(data) == _ACK.size else None


def parse_rssi(data: bytes | bytearray) -> int | None:
    """Read the signal strength that the device itself sees, in dBm."""
    return int.from_bytes(data, "little", signed=True) if len(data) == 1 else None


def parse_identification(data: bytes | bytearray) -> DeviceIdentity:
    """Read the config characteristic: who the device says it is.

    ``u32 application_id``, then NUL-terminated UTF-8 ``serial, device_type, git_version,
    git_hash``. Firmware drops a string that does not fit its 128 bytes, so any suffix can
    be missing; so is a string without its NUL. Descriptive strings are cleaned and cut.
    The serial becomes part of topics and names, so it is taken exactly or not at all.
    Raises BadIdentification.
    """
    if not _APPLICATION_ID.size < len(data) <= MAX_IDENTIFICATION:
        raise BadIdentification(f"an identification of {len(data)} bytes")
    (application_id,) = _APPLICATION_ID.unpack_from(data)
    serial, *described = bytes(data[_APPLICATION_ID.size :]).split(b"\0")[:-1] or [b""]
    texts = [_cleaned(text) for text in described[:3]]
    return DeviceIdentity(application_id, _checked_serial(serial), *texts)


def encode_identification(identity: DeviceIdentity) -> bytes:
    """Write the config characteristic, dropping what does not fit 128 bytes."""
    encoded = _APPLICATION_ID.pack(identity.application_id)
    for text in (
        identity.serial,
        identity.device_type,
        identity.git_version,
        identity.git_hash,
    ):
        string = text.encode() + b"\0"
        if len(encoded) + len(string) > 128:
            break
        encoded += string
    return encoded


def _checked_serial(raw: bytes) -> str:
    """Decode the serial; refuse one that could name another topic, path or nothing."""
    try:
        serial = raw.decode()
    except UnicodeDecodeError as err:
        raise BadIdentification("the serial is not UTF-8") from err
    if not serial.strip():
        raise BadIdentification("the serial is empty")
    if len(serial) > MAX_TEXT:
        raise BadIdentification(f"the serial has {len(serial)} characters")
    if not serial.isprintable() or not _TOPIC_AND_PATH.isdisjoint(serial) or serial in {".", ".."}:
        raise BadIdentification(f"the serial {serial!r} can't be part of a topic")
    return serial


def _cleaned(raw: bytes) -> str:
    """Decode a descriptive string without control characters and not too long."""
    text = raw.decode(errors="replace")
    return "".join(c for c in text if c.isprintable())[:MAX_TEXT].strip()
