"""Where a line is logged: held to texts that name their own line, and to a debugger."""

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.firmware.log_calls import MOST_CALLS, log_calls
from custom_components.ulogger.firmware.symbols import CodePlace

from ..support.arm_programs import debugger, program
from ..support.fixtures import RealCapture, real_logs

FLAGS = [
    ("-O0", "-g"),
    ("-Og", "-g"),
    ("-O2", "-g"),
    ("-Os", "-g"),
    ("-O2", "-g", "-mslow-flash-data"),
    ("-Os", "-g", "-mpure-code"),
    ("-O2", "-g", "-mcpu=cortex-m0"),
]


def strings(image: CompactImage, pattern: bytes) -> dict[str, int]:
    """Return texts of an image with their addresses."""
    found = {}
    for start, end in image.code:
        data = image.read(start, end - start) or b""
        for match in re.finditer(pattern, data):
            found[match[0].decode()] = start + match.start()
    return found


def memory_of(image: CompactImage) -> list[tuple[int, memoryview]]:
    return [(start, memoryview(image.read(start, end - start) or b"")) for start, end in image.code]


def end_of(image: CompactImage) -> Callable[[int], int | None]:
    def end(address: int) -> int | None:
        function = image.function_at(address)
        return function and function.end

    return end


def load(elf: bytes) -> CompactImage:
    return CompactImage.load(import_image(elf))


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_each_line_is_logged_where_it_says(flags: tuple[str, ...]) -> None:
    image = load(program(*flags, name="logs"))
    texts = strings(image, rb"line \d+ of %d")
    assert len(texts) == 5
    for text, address in texts.items():
        locations = {place.location for place in image.log_places(address)}
        assert locations == {f"logs.c:{text.split()[1]}"}, text
    functions = {image.log_places(address)[0].function for address in texts.values()}
    assert functions >= {"first", "far_away"}


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_a_text_that_is_said_twice_has_both_places(flags: tuple[str, ...]) -> None:
    image = load(program(*flags, name="logs"))
    [address] = strings(image, b"said twice").values()
    places = image.log_places(address)
    assert {place.function for place in places} == {"twice"}
    locations = {place.location for place in places}
    # A compiler may load the address once for both.
    assert locations
    assert locations <= {f"logs.c:{line}" for line in range(29, 34)}


def test_what_nobody_logs_has_no_place() -> None:
    image = load(program("-O2", "-g", name="logs"))
    for address in (1, 0x0800_0001, 0x0800_0003, 0xFFFF_FFFE):
        assert image.log_places(address) == ()


@pytest.mark.parametrize("capture", real_logs(), ids=str)
def test_every_line_of_a_real_log_has_places_at_calls_that_a_debugger_confirms(
    capture: RealCapture,
) -> None:
    image = load(capture.image)
    frames = [frame for frame in capture.expected["frames"] if frame["text"] is not None]
    addresses = {frame["format_address"] for frame in frames}
    assert addresses
    several = 0
    for address in addresses:
        places = image.log_places(address)
        calls = list(log_calls(memory_of(image), end_of(image), address))
        assert places
        several += len(places) > 1
        for at in calls:
            said = debugger(capture.image, None, f"info line *{at:#x}", f"x/i {at:#x}")
            line = re.search(r'Line (\d+) of "(?:.*/)?([^"/]+)"', said)
            assert line is not None
            assert f"{line[2]}:{line[1]}" in {place.location for place in places}
            assert re.search(r"<(\w+)\+?", said)[1] in {place.function for place in places}  # type: ignore[index]
            assert re.search(r"\tbl\t", said), said
    assert several < len(addresses) / 4


def test_places_are_found_once_and_remembered_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = load(program("-O2", "-g", name="logs"))
    [address] = strings(image, b"said twice").values()
    first = image.log_places(address)
    monkeypatch.setattr(CompactImage, "place", lambda *_: CodePlace("another", None))
    assert image.log_places(address) is first
    for number in range(10_000):
        image.log_places(number)
    assert len(image._log_places) <= 4096


LDR_R1 = b"\x00\x49"
MOVW_R1 = bytes.fromhex("40f20101")


@pytest.mark.parametrize(
    "memory",
    [
        (0x404).to_bytes(4, "little") * 1_000_000,
        LDR_R1 * 1_000_000,
        (LDR_R1 * 1022 + (0x404).to_bytes(4, "little")) * 500,
        MOVW_R1 * 500_000,
        bytes.fromhex("40f20441c0f20001") * 250_000,
        bytes(4_000_000),
        b"\xff" * 4_000_000,
    ],
    ids=["literals", "loads", "pools", "halves", "pairs", "zeros", "ones"],
)
def test_memory_of_a_hostile_maker_costs_little(memory: bytes) -> None:
    for address in (0, 0x101, 0x404, 0x1010101, 0xFFFFFFFF):
        began = time.process_time()
        calls = log_calls([(0x100, memoryview(memory))], lambda _: 0x1_0000_0000, address)
        assert time.process_time() - began < 0.1
        assert len(calls) <= MOST_CALLS


@given(st.binary(max_size=2048), st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF))
def test_any_memory_is_borne(memory: bytes, start: int, address: int) -> None:
    end = start + len(memory)
    for at in log_calls([(start, memoryview(memory))], lambda _: end, address):
        assert start <= at < end
