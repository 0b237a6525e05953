"""The worst that an image can cost while it is imported: 100 ms and 16 MiB for each step."""

import gc
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.capture.errors import CaptureError, InvalidImage
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.image_import import import_image, import_steps
from custom_components.ulogger.insight.core_file import core_file
from custom_components.ulogger.insight.crash_groups import CrashGroups, Occurrence
from custom_components.ulogger.insight.crash_report import crash_report

from ..support import made_captures as made
from ..support.arm_programs import crash, dump_of, program

SECONDS, BYTES = 0.100, 16 * 1024 * 1024
CODE, SYMBOLS, STRINGS = 6, 2, 3
TEXT = (".text", 1, CODE, 0x100, bytes(0x8000))
MOST_STEPS = 400
"""Steps that are measured; the rest is like them."""


def unit(body: bytes, *, layout_at: int = 0) -> bytes:
    return struct.pack("<IHBBI", 8 + len(body), 5, 1, 4, layout_at) + body


def image(**sections: bytes) -> bytes:
    named = [(f".debug_{name}", 1, 0, 0, contents) for name, contents in sections.items()]
    return made.elf([TEXT, *named])


def layout(tag: int, *attributes: int, children: bool = False) -> bytes:
    return bytes((1, tag, children, *attributes, 0, 0, 0))


def frames(code: bytes, count: int) -> bytes:
    common = struct.pack("<II", 16, 0xFFFF_FFFF) + bytes((1, 0, 1, 0x7C, 14, 12, 13, 0, 0, 0, 0, 0))
    entry = struct.pack("<IIII", 12 + len(code), 0, 0x100, 0x4000) + code
    return common + entry * count


def lines(code: bytes) -> bytes:
    head = struct.pack("<BBBbBB", 1, 1, 1, -5, 14, 13) + bytes(12) + b"\0\0"
    body = struct.pack("<HI", 4, len(head)) + head + code
    return struct.pack("<I", len(body)) + body


ADDRESS = b"\0\x05\x02" + struct.pack("<I", 0x100)
INLINED = layout(0x1D, 0x11, 1, 0x12, 6, 0x31, 0x10)
INLINED_ROW = struct.pack("<BIII", 1, 0x100, 0x4000, 12)
MANY_RANGES = b"\x04\x00\x08" * 3_000
NESTED = layout(0x1D, 0x11, 1, 0x12, 6, 0x31, 0x10, children=True)
BOMB = zlib.compress(bytes(100_000_000))
IMAGES: dict[str, Callable[[], bytes]] = {
    "entries": lambda: image(info=unit(b"\1" * 3_000_000), abbrev=layout(0x34, 0x0B, 0x19)),
    "inlined calls": lambda: image(info=unit(INLINED_ROW * 200_000), abbrev=INLINED),
    "nested calls": lambda: image(info=unit(INLINED_ROW * 200_000), abbrev=NESTED),
    "a name that refers to itself": lambda: image(
        info=unit(struct.pack("<BI", 1, 12) * 100_000), abbrev=layout(0x2E, 0x31, 0x10)
    ),
    "ranges that are used again and again": lambda: image(
        info=unit(struct.pack("<BII", 1, 12, 0) * 100_000),
        abbrev=layout(0x1D, 0x31, 0x10, 0x55, 0x17),
        rnglists=MANY_RANGES,
    ),
    "units": lambda: image(info=unit(b"") * 300_000, abbrev=layout(0x34)),
    "layouts": lambda: image(
        info=b"".join(unit(b"\1", layout_at=at) for at in range(50_000)),
        abbrev=b"\x81\x01" * 60_000,
    ),
    "wide entries": lambda: image(
        info=unit((b"\1" + bytes(90)) * 60_000), abbrev=layout(0x2E, *(0x03, 0x0B) * 90)
    ),
    "long texts": lambda: image(info=unit(b"\1" + b"x" * 4_000_000), abbrev=layout(0x2E, 3, 8)),
    "rows": lambda: image(line=lines(ADDRESS + b"\x2f\x30" * 2_000_000)),
    "sequences": lambda: image(line=lines((ADDRESS + b"\1\2\4\0\1\1") * 200_000)),
    "line units": lambda: image(line=lines(b"") * 100_000),
    "functions with rules": lambda: image(frame=frames(b"\x0e\x08\x41", 100_000)),
    "rules": lambda: image(frame=frames(b"\x0e\x08\x41\x0e\x10\x41" * 2_500, 60)),
    "rules that are remembered": lambda: image(frame=frames(b"\x0a\x0b" * 7_500, 60)),
    "symbols": lambda: made.elf(
        [
            TEXT,
            (
                ".symtab",
                SYMBOLS,
                0,
                0,
                b"".join(
                    struct.pack("<IIIBBH", n % 9_000, 0x100 + n % 0x8000, 2, 2, 0, 1)
                    for n in range(300_000)
                ),
            ),
            (".strtab", STRINGS, 0, 0, b"\0" + b"x" * 10_000 + b"\0"),
        ]
    ),
    "exceptions": lambda: made.elf(
        [TEXT, (".ARM.exidx", 1, 2, 0x9000, struct.pack("<II", 0x7FFF_8000, 0x80A8_B0B0) * 100_000)]
    ),
    "a bomb": lambda: made.elf(
        [
            TEXT,
            (".debug_line", 1, 0x800, 0, struct.pack("<III", 1, 100_000_000, 1) + BOMB),
        ]
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_each_step_of_the_worst_imports_is_within_limits(name: str) -> None:
    data = IMAGES[name]()
    assert longest(data) < SECONDS
    gc.collect()
    tracemalloc.start()
    steps = import_steps(data)
    try:
        before = 0
        for _ in islice(steps, MOST_STEPS):
            now, peak = tracemalloc.get_traced_memory()
            assert peak - before < BYTES
            tracemalloc.reset_peak()
            before = now
    except InvalidImage:
        pass
    finally:
        tracemalloc.stop()


def longest(data: bytes) -> float:
    """Seconds of the longest step, of the better of two runs each."""

    def run() -> list[float]:
        found = []
        steps = import_steps(data)
        while True:
            start = time.thread_time()
            try:
                next(steps)
            except StopIteration, InvalidImage:
                return found
            finally:
                found.append(time.thread_time() - start)

    return max(min(pair) for pair in zip(run(), run(), strict=True))


def test_the_worst_dump_is_explained_within_limits() -> None:
    data = program("-O2", "-g")
    kept = CompactImage.load(import_image(data))
    back = crash_report(CoreDump.parse(crash(data)), kept).backtrace[2].address | 1  # type: ignore[union-attr]
    words = struct.pack("<I", back) * 16_000
    registers = [0x2000_0000] * 13 + [0x2000_0000, back, back & ~1]
    many = [(0x2000_0000 + 4 * n, b"") for n in range(8_000)]
    for regions in ([(0x2000_0000, words)], [*many, (0x2000_0000, words[:1000])]):
        dump = CoreDump.parse(dump_of(registers, regions))
        for run in (lambda: crash_report(dump, kept), lambda: core_file(dump)):  # noqa: B023
            gc.collect()
            start = time.thread_time()
            run()
            assert time.thread_time() - start < SECONDS
            tracemalloc.start()
            run()
            assert tracemalloc.get_traced_memory()[1] < BYTES
            tracemalloc.stop()


def test_many_crashes_are_grouped_within_limits() -> None:
    groups = CrashGroups()
    start = time.thread_time()
    for number in range(500):
        groups.add(Occurrence("f", f"d{number}", f"1.{number}", float(number), f"c{number}"))
    assert time.thread_time() - start < 5 * SECONDS


@given(st.binary(max_size=200), st.integers(0, 1 << 32), st.data())
def test_what_is_kept_bears_damage(noise: bytes, address: int, data: st.DataObject) -> None:
    """With the checksum made right, as a disk would not."""
    kept = bytearray(import_image(program("-O2", "-g")))
    at = data.draw(st.integers(16, len(kept) - 1))
    kept[at : at + len(noise)] = noise
    kept[12:16] = struct.pack("=I", zlib.crc32(kept[20:]))
    try:
        found = CompactImage.load(bytes(kept))
    except CaptureError:
        return
    for place in (address, 0x0800_0040, 0x0800_0080):
        found.places(place)
        found.rule(place)
        found.rule_at_call(place)
        found.format_string(place)
    crash_report(CoreDump.parse(crash(program("-O2", "-g"))), found)


@given(st.integers(20, 4000), st.integers(1, 255))
def test_what_is_kept_notices_damage(at: int, change: int) -> None:
    kept = bytearray(import_image(program("-O2", "-g")))
    kept[at % (len(kept) - 20) + 20] ^= change
    with pytest.raises(InvalidImage) as refused:
        CompactImage.load(bytes(kept))
    assert refused.value.reason == "image_damaged"
