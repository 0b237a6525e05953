"""Captures as people read them."""

import pytest

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.capture.errors import TruncatedCapture
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.text import core_dump_lines, log_lines
from custom_components.ulogger.model.level import Level

from ..support import made_captures as made
from ..support.fixtures import real_core_dumps, real_log

LAST = 1_795_225_292.0
"""The wall clock in the headers of sets whose device has one."""


def test_a_line_has_time_level_module_and_text() -> None:
    capture = real_log("v4-crash")
    first = next(log_lines(capture.data, FirmwareImage.load(capture.image)))
    assert first.seconds == 327 / 32768
    assert first.at == pytest.approx(LAST - (34008 - 327) / 32768)
    assert (first.level, first.module) == (Level.INFO, "MAIN")
    assert first.text == "System initialized, reset cause 2"
    assert str(first) == (
        "2026-11-21T01:41:30.972+00:00 INFO MAIN: System initialized, reset cause 2"
    )


def test_without_an_image_a_line_has_the_address_and_the_arguments() -> None:
    lines = list(log_lines(real_log("v3-crash").data))
    assert (lines[1].module, lines[1].text) == ("module 1", "0x00000430 'net.cfg' 60")
    assert str(lines[1]) == "0.020 WARNING module 1: 0x00000430 'net.cfg' 60"


def test_metrics_and_heartbeats_need_no_image() -> None:
    texts = [line.text for line in log_lines(real_log("v4-formats").data)]
    assert texts[-4:] == ["f1 = 1.25", "i1 = -70000", "u1 = 4000000000", "heartbeat"]


def test_frames_after_an_anchor_are_dated_from_that_anchor() -> None:
    buffer = made.log((32768, made.payload()), anchor=5 * 32768, epoch_us=1_000_000_000)
    after_boot = next(log_lines(buffer))
    after_anchor = next(log_lines(buffer, base_ticks=2 * 32768))
    assert (after_boot.at, after_anchor.at) == (996.0, 998.0)


@pytest.mark.parametrize(
    "buffer",
    [
        made.log((200, made.payload()), anchor=100, epoch_us=10**15),
        made.log((1, made.payload()), rate=0, epoch_us=10**15),
        made.log((1, made.payload()), epoch_us=2**64 - 1),
        made.log((1, made.payload()), epoch_us=1),
        made.log((1, made.payload()), epoch_us=0),
        made.log((1, made.payload()), version=2),
    ],
    ids=["ticks over anchor", "no rate", "far future", "before 1970", "no clock", "version 2"],
)
def test_no_time_of_day_is_shown_where_there_can_be_none(buffer: bytes) -> None:
    assert next(log_lines(buffer)).at is None
    assert str(next(log_lines(buffer)))


def test_an_anchor_that_contradicts_the_frames_gives_no_time_of_day() -> None:
    buffer = made.log((60, made.payload()), anchor=100, epoch_us=10**15)
    assert next(log_lines(buffer, base_ticks=40)).at is not None
    assert next(log_lines(buffer, base_ticks=41)).at is None
    assert next(log_lines(buffer, base_ticks=-1)).at is None


def test_a_buffer_damaged_midway_says_so_in_its_last_line() -> None:
    buffer = bytearray(made.log((1, made.payload()), (2, made.payload())))
    buffer[21] -= 1
    first, last = log_lines(bytes(buffer))
    assert first.level is Level.INFO
    assert last.level is Level.ERROR
    assert last.text.startswith("the rest can't be read")


def test_a_frame_that_can_not_be_read_is_named_so() -> None:
    assert next(log_lines(made.log((1, b"?")))).text == "unreadable frame"


def test_a_buffer_that_is_not_all_there_has_no_lines() -> None:
    with pytest.raises(TruncatedCapture):
        log_lines(real_log("v4-crash").data[:-1])


def test_a_device_can_not_write_control_sequences() -> None:
    body = made.payload((0x80, b""), (0x11, b"\1"), strings=(b"a\x1b[2J\nb",), level=5)
    assert next(log_lines(made.log((1, body)))).text == "a [2J b = 1"


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
