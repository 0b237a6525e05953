"""What a capture says, frame by frame, and where that ends."""

import gc
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.core_dump import CoreDumpHeader
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.reading import LONGEST_TEXT, MetricReading, Reading, read
from custom_components.ulogger.insight.text import printable
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

from ..support import encoder
from ..support import made_captures as made
from ..support.fixtures import RealCapture, real_captures, real_core_dumps, real_log, real_logs

DEVICE = DeviceIdentity(42, "A87DE76F0011")
ARRIVED = 1_795_225_293.5


def log_of(data: bytes, arrived: float = ARRIVED) -> Capture:
    return Capture(CaptureKind.LOG, DEVICE, data, arrived)


def of_image(text: bytes, address: int = 0x400) -> FirmwareImage:
    return FirmwareImage.load(made.elf([(".rodata", 1, 2, address, text)]))


@pytest.mark.parametrize("capture", real_logs(), ids=str)
def test_a_real_log_is_read_as_expected(capture: RealCapture) -> None:
    reading = read(log_of(capture.data), FirmwareImage.load(capture.image))
    assert reading.damage is None
    expected = capture.expected["frames"]
    assert [
        (
            frame.number,
            frame.level.name,
            frame.module,
            frame.address,
            list(map(list, frame.arguments)),
        )
        for frame in reading.frames
    ] == [
        (n, each["level"], each["module_bit"], each["format_address"], each["args"])
        for n, each in enumerate(expected)
    ]
    assert [frame.text for frame in reading.frames] == [
        None if each["text"] is None else printable(each["text"]) for each in expected
    ]
    assert reading.levels == Counter(Level[each["level"]] for each in expected)


def test_modules_have_names_where_the_image_knows_them() -> None:
    capture = real_log("v4-crash")
    frames = read(log_of(capture.data), FirmwareImage.load(capture.image)).frames
    assert (frames[0].module_name, frames[0].module) == ("MAIN", 0)
    assert {frame.module_name for frame in read(log_of(capture.data)).frames} == {None}


def test_metrics_have_name_value_and_time() -> None:
    reading = read(log_of(real_log("v4-crash").data))
    first, *_ = reading.metrics
    assert first[:2] == ("battery_mv", 3012.5)
    assert first.at == pytest.approx(1_795_225_292 - (34008 - 5 * 327) / 32768)
    assert first.uncertainty == pytest.approx(34008 / 32768 - 102 * 327 / 32768, abs=0.002)


def test_without_an_image_a_frame_is_shown_by_its_address_and_arguments() -> None:
    frames = read(log_of(real_log("v4-crash").data)).frames
    assert frames[1].text is None
    assert frames[1].message == "0x00000448 'net.cfg' 60"
    messages = {frame.message for frame in frames if frame.level is Level.METRIC}
    assert {"battery_mv = 3012.5", "heartbeat"} <= messages


@given(encoder.logs)
def test_what_any_firmware_said_is_read(log: encoder.Log) -> None:
    reading = read(log_of(log.encoded()))
    assert reading.damage is None
    assert [
        encoder.Said(
            frame.frame.ticks,
            frame.level,
            frame.module,
            frame.address,
            tuple((kind.value, value) for kind, value in frame.arguments),
        )
        for frame in reading.frames
    ] == list(log.said)
    if log.version >= 3 and log.rate:
        ticks = 0
        for frame, said in zip(reading.frames, log.said, strict=True):
            ticks += said.ticks
            assert frame.seconds == ticks / log.rate
    else:
        assert all(frame.seconds is frame.at is None for frame in reading.frames)


@given(encoder.logs, st.data())
def test_a_log_without_its_end_is_read_up_to_there(log: encoder.Log, data: st.DataObject) -> None:
    whole = log.encoded()
    frames_end = len(whole) - len(log.trailer)
    cut = data.draw(st.integers(0, max(frames_end - 1, 0)))
    reading = read(log_of(whole[:cut]))
    assert reading.damage is not None
    assert reading.damage.reason == "truncated_capture"
    assert reading.damage.message
    there = [n for n in range(len(log.said) + 1) if frames_end - len_after(log, n) <= cut]
    assert len(reading.frames) == (there[-1] if there else 0)


def len_after(log: encoder.Log, frames: int) -> int:
    """Bytes of the frames after the first so many."""
    return sum(len(encoder.frame(said, wide=log.wide)) for said in log.said[frames:])


@given(encoder.logs, st.binary(max_size=64), st.sampled_from(list(CaptureKind)), st.data())
def test_no_bytes_make_reading_fail(
    log: encoder.Log, noise: bytes, kind: CaptureKind, data: st.DataObject
) -> None:
    changed = bytearray(log.encoded())
    at = data.draw(st.integers(0, len(changed)))
    changed[at : at + data.draw(st.integers(0, 64))] = noise
    image = of_image(b"%s %d %f %c\0" * 20)
    reading = read(Capture(kind, DEVICE, bytes(changed), data.draw(st.floats())), image)
    for frame in reading.frames:
        assert isinstance(frame.message, str)
        assert frame.at is None or frame.uncertainty is not None
    list(reading.metrics)


@pytest.mark.parametrize("capture", real_captures(), ids=str)
def test_a_real_capture_cut_anywhere_is_read(capture: RealCapture) -> None:
    kind = CaptureKind.CORE_DUMP if capture.name == "core_dump.bin" else CaptureKind.LOG
    for cut in (*range(40), 100, 263, 264, 300, len(capture.data) - 1):
        reading = read(Capture(kind, DEVICE, capture.data[:cut], ARRIVED))
        assert reading.damage is not None


def test_a_flipped_bit_is_told_after_the_frames_and_nothing_is_dated() -> None:
    data = bytearray(real_log("v4-crash").data)
    data[-1] ^= 1
    reading = read(log_of(bytes(data)))
    assert len(reading.frames) == 102
    assert reading.damage is not None
    assert reading.damage.reason == "checksum_mismatch"
    assert {frame.at for frame in reading.frames} == {None}
    assert reading.anchor is None


def test_a_core_dump_has_no_frames() -> None:
    capture = real_core_dumps()[0]
    reading = read(Capture(CaptureKind.CORE_DUMP, DEVICE, capture.data, ARRIVED))
    assert (reading.frames, reading.damage) == ((), None)
    assert isinstance(reading.header, CoreDumpHeader)
    assert reading.header.device.serial == DEVICE.serial


def test_a_damaged_core_dump_says_so_and_still_whose_it_is() -> None:
    data = real_core_dumps()[0].data
    changed = Capture(CaptureKind.CORE_DUMP, DEVICE, data[:-1] + b"\x55", ARRIVED)
    reading = read(changed)
    assert reading.damage is not None
    assert reading.damage.reason == "checksum_mismatch"
    assert isinstance(reading.header, CoreDumpHeader)


def test_a_metric_without_a_name_is_none() -> None:
    body = made.payload((0x80, b""), (0x11, b"\1"), strings=(b" \n",), level=5)
    assert not list(read(log_of(made.log((1, body)))).metrics)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_measures_nothing(value: float) -> None:
    said = encoder.Said(1, 5, 31, 0, (("string", "t"), ("double", value)))
    (frame,) = read(log_of(encoder.Log((said,)).encoded())).frames
    assert frame.metric is None
    assert frame.message == f"t = {value}"


def test_text_is_on_one_line_and_without_control_characters() -> None:
    body = made.payload((0x80, b""), strings=(b"a\x1b[2J\nb\n",))
    (frame,) = read(log_of(made.log((1, body))), of_image(b"got %s\0")).frames
    assert frame.text == "got a [2J b"
    assert frame.arguments[0].value == "a\x1b[2J\nb\n"


def test_metric_names_are_without_control_characters_too() -> None:
    body = made.payload((0x80, b""), (0x11, b"\1"), strings=(b"a\x1bb\n",), level=5)
    (metric,) = read(log_of(made.log((1, body), rate=0))).metrics
    assert metric == MetricReading("a b", 1, None, None)


def test_a_very_long_text_is_cut() -> None:
    body = made.payload((0x80, b""), strings=(b"x" * 5000,))
    (frame,) = read(log_of(made.log((1, body))), of_image(b"%s\0")).frames
    assert frame.text == "x" * LONGEST_TEXT


def test_a_hostile_image_can_not_make_a_reading_huge() -> None:
    image = of_image(b"x" * 60_000)
    bodies = [(1, made.payload(address=0x400 + number)) for number in range(4_000)]
    reading = read(log_of(made.log(*bodies)), image)
    assert len(reading.frames) == 4_000
    assert sum(len(frame.text or "") for frame in reading.frames) < 600_000
    assert reading.frames[-1].message == f"{0x400 + 3_999:#010x}"


def test_a_full_log_is_read_fast() -> None:
    capture = real_log("v3-long")
    image = FirmwareImage.load(capture.image)

    def best(image: FirmwareImage | None) -> tuple[float, Reading]:
        times = []
        for _ in range(10):
            gc.collect()
            start = time.thread_time()
            reading = read(log_of(capture.data), image)
            [frame.message for frame in reading.frames]
            times.append(time.thread_time() - start)
        return min(times), reading

    (bare, reading), (as_text, _) = best(None), best(image)
    assert len(reading.frames) == 735
    assert bare < 0.010
    assert as_text < 0.015
