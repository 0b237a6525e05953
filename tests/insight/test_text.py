"""Core dumps as people read them."""

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.text import core_dump_lines

from ..support import made_captures as made
from ..support.fixtures import real_core_dumps


def test_a_core_dump_tells_device_place_and_cause() -> None:
    capture = real_core_dumps()[1]
    lines = core_dump_lines(CoreDump.parse(capture.data), FirmwareImage.load(capture.image))
    assert lines[0] == "core dump of 600 bytes, version 1"
    assert lines[1] == (
        "device A87DE76F0011 (DoorSenseV2), application 42, firmware 4.24.2 (bc53443)"
    )
    assert "pc 0x0000007a in read_register (session.c:3)" in lines
    assert "lr 0x00000119 in sample_sensor (session.c:8)" in lines
    assert "cfsr 0x00008200 precise data bus error, BFAR holds the address" in lines
    assert "hfsr 0x40000000 escalated to hard fault" in lines
    assert "memory 0xe000ed28..0xe000ed3c" in lines
    assert any(line.startswith("fpscr ") for line in lines)


def test_a_core_dump_without_an_image_has_addresses_only() -> None:
    lines = core_dump_lines(CoreDump.parse(real_core_dumps()[0].data))
    assert "pc 0x00000066" in lines
    assert not any("session.c" in line for line in lines)


def test_an_opaque_core_dump_says_that_it_is() -> None:
    lines = core_dump_lines(CoreDump.parse(made.core_dump(b"other", version=9)))
    assert lines == [
        "core dump of 269 bytes, version 9",
        "the format of its contents is unknown",
    ]
