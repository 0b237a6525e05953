"""The worst that bytes from outside can cost: 100 ms of processor time and 16 MiB, each."""

import gc
import os
import struct
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.core_dump import CoreDump, check_core_dump
from custom_components.ulogger.capture.duplicates import continuation
from custom_components.ulogger.capture.errors import CaptureError, InvalidImage
from custom_components.ulogger.capture.frames import iter_frames
from custom_components.ulogger.capture.log_buffer import LogHeader, check_log
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.log_lines import as_lines
from custom_components.ulogger.insight.reading import LONGEST_TEXT, Reading, read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support import made_captures as made
from ..support.fixtures import real_captures

SECONDS = 0.100
BYTES = 16 * 1024 * 1024
STRINGS, SYMBOLS, ALLOC = 3, 2, 2
LENGTH = 65_535


def cost(run: Callable[[], object]) -> tuple[float, int]:
    """Processor time of the best of three runs, and the memory at its peak."""
    times = []
    gc.collect()
    for _ in range(3):
        start = time.thread_time()
        run()
        times.append(time.thread_time() - start)
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(times), peak


def filled(frame: made.RawFrame) -> bytes:
    """The longest log buffer of this frame again and again."""
    return made.log(*[frame] * (LENGTH // (6 + len(frame[1]))))


LOGS = {
    "empty frames": filled((1, b"")),
    "frames without arguments": filled((1, made.payload())),
    "frames of many numbers": filled((1, made.payload(*[(0x11, b"\1")] * 255))),
    "frames of many empty strings": filled(
        (1, made.payload(*[(0x80, b"")] * 255, strings=(b"",) * 255))
    ),
    "frames of long strings": filled((1, made.payload((0x80, b""), strings=(b"\xff" * 9000,)))),
    "one long string": made.log((1, made.payload((0x80, b""), strings=(b"\x1b" * 60_000,)))),
}


@pytest.mark.parametrize("name", LOGS)
def test_the_worst_logs_are_read_within_limits(name: str) -> None:
    buffer = LOGS[name]

    def run() -> None:
        check_log(buffer)
        for _ in iter_frames(buffer):
            pass

    seconds, peak = cost(run)
    assert seconds < SECONDS
    assert peak < BYTES


def test_the_worst_continuation_is_found_within_limits() -> None:
    old = [(1, b"")] * 5_000
    before, after = made.log(*old, anchor=5_000), made.log(*old, *old)
    assert continuation(before, after) is not None
    seconds, peak = cost(lambda: continuation(before, after))
    assert seconds < SECONDS
    assert peak < BYTES


def test_the_worst_core_dump_is_read_within_limits() -> None:
    registers = b"\x63\x43\x03\x00" + bytes(84)
    dump = made.core_dump(registers + bytes(8) * 8_000)
    assert len(CoreDump.parse(dump).regions) == 8_000
    seconds, peak = cost(lambda: (check_core_dump(dump), CoreDump.parse(dump)))
    assert seconds < SECONDS
    assert peak < BYTES


def line_table(*units: bytes) -> bytes:
    """An image that has only line tables."""
    joined = b"".join(struct.pack("<I", len(unit)) + unit for unit in units)
    return made.elf(
        [(".debug_line", 1, 0, 0, joined), (".debug_str", 1, 0, 0, (b"x" * 500 + b"\0") * 50)]
    )


def unit_v4(code: bytes, files: bytes = b"\0\0", operands: bytes = bytes(12)) -> bytes:
    head = struct.pack("<BBBbBB", 1, 1, 1, -5, 14, len(operands) + 1) + operands + files
    return struct.pack("<HI", 4, len(head)) + head + code


def unit_v5(columns: int, form: int, count: int, body: bytes) -> bytes:
    table = bytes([columns]) + bytes((1, form)) * columns + count.to_bytes(2, "little")
    head = struct.pack("<BBBbBB", 1, 1, 1, -5, 14, 1) + table + body
    return struct.pack("<HBBI", 5, 4, 0, len(head)) + head


STRING_TABLES = bytes(4 * 1999) + bytes((1, 1, 0x0E, 0xCF, 0x0F)) + bytes(4 * 1999)
SET_ADDRESS = b"\0\x05\x02" + bytes(4)
IMAGES = {
    "most sections": made.elf([(f".s{n}", 1, ALLOC, n, b"x") for n in range(1000)]),
    "most symbols": made.elf(
        [
            (
                ".symtab",
                SYMBOLS,
                0,
                0,
                struct.pack("<IIIBBH", 1, 0, 0, 2, 0, 1) * 500_000,
            ),
            (".strtab", STRINGS, 0, 0, b"\0" + b"ulogger_debug_modules\0" * 200_000),
        ]
    ),
    "sequences": line_table(unit_v4(SET_ADDRESS * 300_000)),
    "units": line_table(*[unit_v4(SET_ADDRESS)] * 20_000),
    "empty units": line_table(*[b""] * 500_000),
    "rows": line_table(unit_v4(SET_ADDRESS + b"\x0d" * 1_000_000)),
    "operands": line_table(unit_v4(SET_ADDRESS + b"\x0c" * 1_000_000, operands=b"\xff" * 12)),
    "files": line_table(unit_v4(SET_ADDRESS, b"\0" + (b"x" * 500 + b"\0" + bytes(3)) * 9_000)),
    "columns": line_table(unit_v5(255, 0x08, 0x0FCF, bytes(40_000) + SET_ADDRESS)),
    "strings elsewhere": line_table(unit_v5(1, 0x0E, 0x0FCF, STRING_TABLES + SET_ADDRESS * 99)),
    "almost addresses": line_table(unit_v4(b"\0\x05" * 8_000_000)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_the_worst_images_are_read_within_limits(name: str) -> None:
    data = IMAGES[name]

    def run() -> None:
        image = FirmwareImage.load(data)
        image.place(0x400)

    seconds, peak = cost(run)
    assert seconds < SECONDS
    assert peak < BYTES


def test_many_frames_are_rendered_from_a_hostile_image_within_limits() -> None:
    """A hundred lines, each of the longest format string with the widest conversions."""
    text = b"%99999d" * 2_000
    image = FirmwareImage.load(made.elf([(".rodata", 1, ALLOC, 0x400, text)]))
    body = made.payload(*[(0x11, b"\1")] * 8, address=0x400)
    buffer = made.log(*[(1, body)] * 100)
    assert len(log_reading(buffer, image).frames[0].message) <= LONGEST_TEXT
    seconds, peak = cost(lambda: as_lines(log_reading(buffer, image), 5_000))
    assert seconds < 5 * SECONDS
    assert peak < BYTES


@given(st.sampled_from(real_captures()), st.data())
def test_a_real_capture_with_changed_bytes_is_read_or_refused(
    capture: object, data: st.DataObject
) -> None:
    changed = bytearray(capture.data)  # type: ignore[attr-defined]
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(changed[: data.draw(st.integers(0, len(changed)))])
    for parse in (LogHeader.parse, check_log, check_core_dump, CoreDump.parse, all_lines):
        try:
            parse(kept)
        except CaptureError:
            continue


def all_lines(buffer: bytes) -> list[str]:
    return as_lines(log_reading(buffer), 5_000)


def log_reading(buffer: bytes, image: FirmwareImage | None = None) -> Reading:
    return read(Capture(CaptureKind.LOG, DeviceIdentity(42, "A"), buffer, 1.8e9), image)


@given(st.data())
def test_a_real_image_with_changed_bytes_is_read_or_refused(data: st.DataObject) -> None:
    original = real_captures()[0].image
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 6))):
        place = st.one_of(st.integers(0, 51), st.integers(0, len(changed) - 1))
        changed[data.draw(place)] = data.draw(st.integers(0, 255))
    try:
        image = FirmwareImage.load(bytes(changed))
    except InvalidImage:
        return
    for address in (0x64, 0x108, data.draw(st.integers(0, 0xFFFF_FFFF))):
        image.place(address)
        image.format_string(address)


def test_bytes_without_any_sense_are_refused() -> None:
    noise = os.urandom(LENGTH)
    for parse in (check_log, check_core_dump, FirmwareImage.load):
        with pytest.raises(CaptureError):
            parse(b"\x04" + noise[:20])
