"""The room of captures: what devices send, and the images that explain it."""

import struct
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from custom_components.ulogger.capture.core_dump import (
    CoreDump,
    CoreDumpHeader,
    check_core_dump,
    declared_length,
)
from custom_components.ulogger.capture.duplicates import content_key, continuation
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.frames import iter_frames, iter_raw_frames
from custom_components.ulogger.capture.log_buffer import (
    LogHeader,
    check_log,
    with_epoch,
    with_session_token,
    xor_checksum,
)
from custom_components.ulogger.capture.timestamps import dated
from custom_components.ulogger.firmware.format_strings import render
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.log_lines import as_lines
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.insight.text import core_dump_lines
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from .target import Target

_FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "agent"
_DEVICE = DeviceIdentity(42, "A87DE76F0011")
_ADDRESSES = (0x64, 0x108, 0x400)


def _files(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(_FIXTURES.glob(f"*/{name}"))]


def _frame_data() -> list[bytes]:
    """Return frames of real logs, some at a time so that they are quick to change."""
    pieces = []
    for log in _files("log*.bin"):
        starts = [frame.offset for frame in iter_raw_frames(log)][:100:20]
        pieces += [log[start:end] for start, end in pairwise(starts)]
    return pieces


def _log(data: bytes) -> bytes:
    """Return a valid log buffer of these frames."""
    data = data[:0xFFFF]
    header = LogHeader(4, 0, 0, 1 << 30, 32768, 1 << 50, len(data), xor_checksum(data))
    return header.pack() + data


def _log_buffer(data: bytes) -> object:
    capture = Capture(CaptureKind.LOG, _DEVICE, data, 1.8e9)
    content_key(capture)
    dated(capture)
    for change in (with_session_token, with_epoch):
        with suppress(CaptureError):
            change(data, 1)
    header = check_log(data)
    if header.pack() != data[: header.size]:
        raise AssertionError(f"{header} does not survive the wire")
    return header


def _frames(data: bytes) -> object:
    return [(frame.metric, frame.is_heartbeat) for frame in iter_frames(_log(data))]


def _text(data: bytes) -> object:
    return as_lines(read(Capture(CaptureKind.LOG, _DEVICE, _log(data), 1.8e9)), 0xFFFF)


def _printf(data: bytes) -> object:
    text, _, payload = data.partition(b"\0")
    frame = struct.pack("<HI", len(payload), 1) + payload
    (read,) = iter_frames(_log(frame))
    return render(text.decode(errors="replace"), read.arguments)


def _continuation(data: bytes) -> object:
    cut = int.from_bytes(data[:2], "little")
    body = data[2:]
    shorter = continuation(_log(body[:cut]), _log(body))
    return shorter and check_log(shorter)


def _core_dump(data: bytes) -> object:
    """Read a dump with length and checksum set right, and check it as it is."""
    fixed = struct.pack("<II", len(data), sum(data[264:])) + data[8:]
    lines = core_dump_lines(CoreDump.parse(fixed))
    CoreDumpHeader.parse(data)
    declared_length(data)
    check_core_dump(data)
    return lines


def _image(data: bytes) -> object:
    image = FirmwareImage.load(data)
    image.elf.string(_ADDRESSES[-1])
    return [image.place(address) for address in _ADDRESSES]


def _line_table(data: bytes) -> object:
    """Read a line table in an image that has nothing else."""
    names = b"\0.debug_line\0.debug_str\0"
    head = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 40, 1, 0, 0, 52, 0, 52, 32, 0, 40, 4, 1
    )
    sections = (
        bytes(40),
        struct.pack("<10I", 0, 3, 0, 0, 212, len(names), 0, 0, 1, 0),
        struct.pack("<10I", 1, 1, 0, 0, 212 + len(names), len(data), 0, 0, 1, 0),
        struct.pack("<10I", 13, 1, 0, 0, 212 + len(names), len(data), 0, 0, 1, 0),
    )
    image = FirmwareImage.load(head + b"".join(sections) + names + data)
    return image.place(_ADDRESSES[len(data) % len(_ADDRESSES)]).location


def _line_tables() -> list[bytes]:
    return [bytes(FirmwareImage.load(data).elf.section(".debug_line")) for data in _files("*.elf")]


def _formats() -> list[bytes]:
    payload = bytes.fromhex("00ac030000021180070100020061")
    texts = (b"%d", b"%-5d|", b"%5.1f %s", b"100%% %08x %#o", b"%.2s %c %p %lld")
    return [text + b"\0" + payload for text in texts]


def _logs() -> list[bytes]:
    headers = (LogHeader(number, 0, 0, 0, 0, 0, 0, 0).pack() for number in (1, 2, 3, 4, 9))
    return [*map(_log, _frame_data()), *_files("log*.bin"), *headers]


_ERRORS = (CaptureError,)
TARGETS = (
    Target("log_buffer", _log_buffer, _ERRORS, _logs),
    Target("frames", _frames, _ERRORS, _frame_data),
    Target("text", _text, _ERRORS, _frame_data),
    Target("printf", _printf, _ERRORS, _formats, 512),
    Target(
        "continuation",
        _continuation,
        _ERRORS,
        lambda: [bytes((6 + data[0], 0)) + data for data in _frame_data()],
    ),
    Target("core_dump", _core_dump, _ERRORS, lambda: _files("core_dump.bin")),
    Target("image", _image, _ERRORS, lambda: _files("*.elf"), 32 * 1024),
    Target("line_table", _line_table, _ERRORS, _line_tables),
)
