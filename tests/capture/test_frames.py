"""The frames of a log buffer."""

import struct
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.errors import TruncatedCapture
from custom_components.ulogger.capture.frames import (
    Argument,
    ArgumentKind,
    Frame,
    iter_frames,
    iter_frames_as_far_as_they_go,
    iter_raw_frames,
)
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.model.level import Level
from custom_components.ulogger.model.telemetry import Metric

from ..support import made_captures as made
from ..support.fixtures import RealCapture, real_log, real_logs

INTEGERS = [(1, "int", True), (2, "uint", False), (3, "int64", True), (4, "uint64", False)]


def only_frame(body: bytes) -> Frame:
    (frame,) = iter_frames(made.log((5, body)))
    return frame


@pytest.mark.parametrize("capture", real_logs(), ids=str)
def test_frames_of_a_real_log_are_read_as_expected(capture: RealCapture) -> None:
    found = [
        {
            "tick_delta": frame.ticks,
            "level": frame.level.name,
            "module_bit": frame.module_bit,
            "format_address": frame.address,
            "args": [[argument.kind.value, argument.value] for argument in frame.arguments],
        }
        for frame in iter_frames(capture.data)
    ]
    expected = [
        {key: value for key, value in frame.items() if key not in {"format", "text"}}
        for frame in capture.expected["frames"]
    ]
    assert found == expected
    assert not any(frame.malformed for frame in iter_frames(capture.data))


@pytest.mark.parametrize(("number", "kind", "signed"), INTEGERS)
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_an_integer_of_any_width_keeps_its_sign(
    number: int, kind: str, signed: bool, width: int
) -> None:
    value = -2 if signed else (1 << 8 * width) - 2
    stored = value.to_bytes(width, "little", signed=signed)
    frame = only_frame(made.payload((number << 4 | width, stored)))
    assert frame.arguments == (Argument(ArgumentKind(kind), value),)


def test_values_and_strings_come_in_argument_order() -> None:
    values = ((0x80, b""), (0x61, b"Z"), (0x80, b""), (0x78, struct.pack("<d", 0.5)))
    frame = only_frame(made.payload(*values, strings=("grün".encode(), b"")))
    assert [argument.value for argument in frame.arguments] == ["grün", "Z", "", 0.5]


def test_a_string_that_is_no_utf8_is_still_read() -> None:
    frame = only_frame(made.payload((0x80, b""), strings=(b"a\xffb",)))
    assert frame.arguments[0].value == "a\ufffdb"


def test_metrics_are_read_without_an_image() -> None:
    frames = list(iter_frames(real_log("v4-formats").data))
    metrics = [frame.metric for frame in frames if frame.metric]
    assert metrics == [Metric("f1", 1.25), Metric("i1", -70000), Metric("u1", 4_000_000_000)]


def test_the_heartbeat_is_the_metric_without_arguments() -> None:
    frames = list(iter_frames(real_log("v4-formats").data))
    assert [frame.level for frame in frames if frame.is_heartbeat] == [Level.METRIC]


@pytest.mark.parametrize(
    "body",
    [
        made.payload((0x80, b""), (0x11, b"\1"), strings=(b"n",), level=1),
        made.payload((0x11, b"\1"), (0x80, b""), strings=(b"n",), level=5),
        made.payload((0x80, b""), (0x61, b"A"), strings=(b"n",), level=5),
        made.payload((0x80, b""), (0x80, b""), strings=(b"n", b"v"), level=5),
        made.payload((0x80, b""), strings=(b"n",), level=5),
        made.payload((0x80, b""), (0x54, bytes(4)), strings=(b"n",), level=5),
    ],
    ids=["another level", "number first", "a character", "two strings", "no number", "a pointer"],
)
def test_what_only_looks_like_a_metric_is_none(body: bytes) -> None:
    assert only_frame(body).metric is None
    assert not only_frame(body).is_heartbeat


@pytest.mark.parametrize(
    "body",
    [
        b"",
        made.payload()[:-1],
        made.payload((0x11, b"")),
        made.payload((0x13, b"\0\0\0")),
        made.payload((0x91, b"\0")),
        made.payload((0x01, b"\0")),
        made.payload((0x80, b"")),
        made.payload((0x80, b""), strings=(b"a", b"b")),
        made.payload((0x80, b""), strings=(b"ab",))[:-1],
        made.payload((0x80, b"")) + struct.pack("<HHH", 1, 2, 9),
        made.payload((0x80, b"")) + struct.pack("<HHB", 1, 1, 0),
        struct.pack("<BIB", 5 << 5, 0, 9) + b"\x11",
        struct.pack("<BIB", 5 << 5, 0, 9),
    ],
    ids=[
        "empty",
        "no count",
        "no value",
        "width 3",
        "kind 9",
        "kind 0",
        "no strings",
        "too many strings",
        "cut string",
        "string over the end",
        "half a string length",
        "too few descriptors",
        "no descriptors",
    ],
)
def test_a_payload_that_can_not_be_read_does_not_hide_the_frames_after_it(body: bytes) -> None:
    damaged, good = iter_frames(made.log((1, body), (2, made.payload((0x11, b"\x07")))))
    assert damaged.malformed
    assert damaged.arguments == ()
    assert not damaged.is_heartbeat
    assert good.arguments == (Argument(ArgumentKind.INT, 7),)


def test_a_frame_that_runs_over_the_used_bytes_is_an_error_after_the_good_ones() -> None:
    cut = made.log((1, made.payload()), (2, made.payload()))
    used = LogHeader.parse(cut).used_bytes
    for missing in (1, 7):
        shorter = bytearray(cut)
        shorter[21:23] = (used - missing).to_bytes(2, "little")
        frames = iter_frames(bytes(shorter))
        assert next(frames).ticks == 1
        with pytest.raises(TruncatedCapture):
            next(frames)


def test_bytes_too_few_for_a_frame_at_the_very_end_are_an_error() -> None:
    whole = bytearray(made.log((1, made.payload()), trailer=b"\0\0\0\0\0"))
    whole[21] += 5
    frames = iter_frames(bytes(whole))
    assert next(frames).ticks == 1
    with pytest.raises(TruncatedCapture):
        next(frames)


def test_a_buffer_that_is_not_all_there_is_refused_at_once() -> None:
    with pytest.raises(TruncatedCapture):
        iter_frames(real_log("v4-formats").data[:-1])


@given(made.frames, st.data())
def test_of_a_buffer_without_its_end_the_frames_that_are_there_are_read(
    frames: list[made.RawFrame], data: st.DataObject
) -> None:
    buffer = made.log(*frames)
    cut = data.draw(st.integers(25, len(buffer)))
    found = []
    frames_there = iter_frames_as_far_as_they_go(buffer[:cut])
    with pytest.raises(TruncatedCapture) if cut < len(buffer) else nullcontext():
        for frame in frames_there:
            found.append(frame)  # noqa: PERF402 - what came before the error counts
    ends = [frame.offset + 6 + len(frame.payload) for frame in iter_raw_frames(buffer)]
    assert len(found) == sum(end <= cut for end in ends)


def test_a_row_of_characters_numbers_and_strings_is_read_in_argument_order() -> None:
    values = ((0x61, b"Q"), (0x22, b"\x01\x02"), (0x80, b""), (0x61, b"\xe9"))
    for _ in range(2):
        frame = only_frame(made.payload(*values, strings=(b"x",)))
        assert [argument.value for argument in frame.arguments] == ["Q", 0x201, "x", "é"]


@given(made.frames)
def test_any_payloads_are_cut_where_they_were_joined(frames: list[made.RawFrame]) -> None:
    buffer = made.log(*frames, trailer=b"trailer")
    assert [(ticks, body) for _, ticks, body in iter_raw_frames(buffer)] == frames
    assert [frame.ticks for frame in iter_frames(buffer)] == [ticks for ticks, _ in frames]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_any_strings_come_back(texts: list[str]) -> None:
    encoded = tuple(text.encode() for text in texts)
    frame = only_frame(made.payload(*[(0x80, b"")] * len(texts), strings=encoded))
    assert [argument.value for argument in frame.arguments] == texts
