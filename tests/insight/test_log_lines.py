"""Frames as lines for people, and as fields for programs."""

import json
from datetime import datetime

import pytest

from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.insight.log_lines import as_fields, as_line, as_lines
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

from ..support import encoder
from ..support import made_captures as made
from ..support.fixtures import real_log

REAL = real_log("v4-crash")
IMAGE = CompactImage.load(import_image(REAL.image))
ARRIVED = datetime.fromisoformat("2026-11-21T01:41:32+00:00").timestamp()


def reading(
    data: bytes = REAL.data, image: CompactImage | None = IMAGE, arrived: float = ARRIVED
) -> Reading:
    return read(Capture(CaptureKind.LOG, DeviceIdentity(42, "A"), data, arrived), image)


def test_a_line_tells_time_level_module_and_message() -> None:
    frames = reading().frames
    assert as_line(frames[0]) == (
        "2026-11-21T01:41:30.972+00:00 INFO MAIN: System initialized, reset cause 2"
    )
    unsure = frames[0]._replace(uncertainty=4.6)
    assert as_line(unsure).startswith("2026-11-21T01:41:30.972+00:00 ±5 s INFO ")
    undated = frames[0]._replace(at=None)
    assert as_line(undated).startswith("0.010 INFO ")
    assert as_line(undated._replace(seconds=None, module_name=None)).startswith("- INFO module 0: ")


def test_fields_are_those_of_the_independent_decoder() -> None:
    expected = REAL.expected["frames"]
    found = [as_fields(frame) for frame in reading().frames]
    assert [each["level"].upper() for each in found] == [each["level"] for each in expected]
    assert [each["module_number"] for each in found] == [each["module_bit"] for each in expected]
    assert [int(each["address"], 16) for each in found] == [
        each["format_address"] for each in expected
    ]
    assert [each["arguments"] for each in found] == [
        [value for _, value in each["args"]] for each in expected
    ]
    assert found[0]["module"] == "MAIN"
    assert datetime.fromisoformat(found[0]["time"]).timestamp() == pytest.approx(ARRIVED, abs=5)


def test_what_is_no_number_in_json_is_written_out() -> None:
    said = encoder.Said(1, Level.INFO, 1, 0x400, (("double", float("inf")), ("double", 0.5)))
    (frame,) = reading(encoder.Log((said,)).encoded()).frames
    fields = as_fields(frame)
    assert fields["arguments"] == ["inf", 0.5]
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields


def test_damage_is_the_last_line() -> None:
    cut = as_lines(reading(REAL.data[:1000]), 5000)
    assert cut[-1].startswith("the rest can't be read: ")
    assert len(cut) > 30
    assert as_lines(reading(b"\xff\xff"), 5000)[0].startswith("can't be read: ")
    assert len(as_lines(reading(), 3)) == 3
    assert as_lines(reading(made.log()), 5000) == []


def test_without_an_image_a_line_has_the_address_and_the_arguments() -> None:
    lines = as_lines(reading(real_log("v3-crash").data, None, 0.0), 5000)
    assert lines[1] == "0.020 WARNING module 1: 0x00000430 'net.cfg' 60"


def test_metrics_and_heartbeats_need_no_image() -> None:
    frames = reading(real_log("v4-formats").data, None).frames
    said = [frame.message for frame in frames[-4:]]
    assert said == ["f1 = 1.25", "i1 = -70000", "u1 = 4000000000", "heartbeat"]


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
    (frame,) = reading(buffer, None, 0.0).frames
    assert frame.at is None
    assert as_line(frame).endswith(" INFO module 0: 0x00000400")


def test_a_frame_that_can_not_be_read_is_named_so() -> None:
    assert reading(made.log((1, b"?")), None).frames[0].message == "unreadable frame"


def test_a_device_can_not_write_control_sequences() -> None:
    body = made.payload((0x80, b""), (0x11, b"\1"), strings=(b"a\x1b[2J\nb",), level=5)
    assert as_lines(reading(made.log((1, body))), 5000)[0].endswith(" a [2J b = 1")
