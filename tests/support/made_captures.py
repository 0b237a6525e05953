"""Log buffers, core dumps and images made by hand, for what the real captures do not show."""

import struct

from hypothesis import strategies as st

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum

type RawFrame = tuple[int, bytes]
"""Ticks and payload."""


def log(
    *frames: RawFrame,
    version: int = 4,
    token: int = 0,
    sequence: int = 0,
    anchor: int = 1_000_000,
    rate: int = 32768,
    epoch_us: int = 0,
    trailer: bytes = b"",
) -> bytes:
    """Return a valid log buffer of these frames."""
    data = b"".join(struct.pack("<HI", len(body), ticks) + body for ticks, body in frames)
    header = LogHeader(
        version,
        token,
        sequence if version < 3 else 0,
        anchor if version >= 3 else 0,
        rate if version >= 3 else 0,
        epoch_us if version >= 4 else 0,
        len(data),
        xor_checksum(data),
    )
    return header.pack() + data + trailer


def payload(
    *values: tuple[int, bytes],
    strings: tuple[bytes, ...] = (),
    level: int = 1,
    module: int = 0,
    address: int = 0x400,
) -> bytes:
    """Return a frame's payload of (descriptor, bytes) arguments and strings."""
    head = struct.pack("<BIB", level << 5 | module, address, len(values))
    body = bytes(descriptor for descriptor, _ in values) + b"".join(value for _, value in values)
    if strings:
        joined = b"".join(struct.pack("<H", len(text)) + text for text in strings)
        body += struct.pack("<HH", len(strings), len(joined)) + joined
    return head + body


def core_dump(
    body: bytes, *, version: int = 1, length: int | None = None, serial: bytes = b"S1"
) -> bytes:
    """Return a core dump with the right length and checksum for this body."""
    head = struct.pack(
        "<IIII44s68s68s68s",
        264 + len(body) if length is None else length,
        sum(body),
        version,
        42,
        b"bc53443",
        b"DoorSenseV2",
        serial,
        b"4.24.2",
    )
    return head + body


def elf(sections: list[tuple[str, int, int, int, bytes]]) -> bytes:
    """Return a 32-bit ELF file of sections (name, type, flags, address, contents)."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in sections) + b".shstrtab\0"
    rows = [bytes(40)]
    body = b""
    for name, kind, flags, address, contents in [*sections, (".shstrtab", 3, 0, 0, names)]:
        name_at = names.index(b"\0" + name.encode() + b"\0") + 1
        link = next((i for i, s in enumerate(sections, 1) if s[0] == ".strtab"), 0)
        place = 52 + len(body)
        entry = (name_at, kind, flags, address, place, len(contents), link, 0, 1, 16)
        rows.append(struct.pack("<10I", *entry))
        body += contents
    head = struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\x01\x01\x01",
        *(2, 40, 1, 0, 0, 52 + len(body), 0, 52, 32, 0, 40, len(rows), len(rows) - 1),
    )
    return head + body + b"".join(rows)


frames = st.lists(
    st.tuples(st.integers(0, 0xFFFF_FFFF), st.binary(max_size=40)), min_size=1, max_size=8
)
"""Frames whose payloads are any bytes."""
