"""The same content again, and buffers that go on where another one ended."""

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from custom_components.ulogger.capture.duplicates import (
    ARRIVAL_ERROR,
    begins_with,
    content_key,
    continuation,
    holds,
    may_offer_again,
    same_boot,
    same_moment,
)
from custom_components.ulogger.capture.frames import iter_frames
from custom_components.ulogger.capture.log_buffer import (
    LogHeader,
    check_log,
    with_epoch,
    with_session_token,
)
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support import made_captures as made
from ..support.fixtures import real_core_dumps, real_log

DEVICE = DeviceIdentity(42, "A87DE76F0011")
OLD = ((10, made.payload(address=1)), (20, made.payload(address=2)))
NEW = ((30, made.payload(address=3)), (40, made.payload(address=4)))


def capture(data: bytes, **changes: object) -> Capture:
    made_capture = Capture(CaptureKind.LOG, DEVICE, data, 1.0)
    return replace(made_capture, **changes)  # type: ignore[arg-type]


def ticks_of(buffer: bytes) -> list[int]:
    """Every frame's tick, counted from where the buffer counts from."""
    return list(accumulate(frame.ticks for frame in iter_frames(buffer)))


def test_token_epoch_anchor_and_arrival_do_not_make_another_content() -> None:
    first = made.log(*OLD, anchor=100)
    again = with_epoch(with_session_token(made.log(*OLD, anchor=999), 7), 123)
    assert content_key(capture(first)) == content_key(capture(again, captured_at=99.0))


@pytest.mark.parametrize(
    "other",
    [
        made.log(*OLD, *NEW),
        made.log(OLD[0], (21, OLD[1][1])),
        made.log(*OLD, version=3),
        made.log(*OLD, rate=1000),
        made.log(*OLD, trailer=b"t"),
    ],
    ids=["more frames", "other ticks", "other version", "other rate", "a trailer"],
)
def test_anything_else_makes_another_content(other: bytes) -> None:
    assert content_key(capture(made.log(*OLD))) != content_key(capture(other))


def test_sequence_numbers_make_another_content() -> None:
    first, second = (made.log(*OLD, version=2, sequence=number) for number in (1, 2))
    assert content_key(capture(first)) != content_key(capture(second))


def test_the_same_bytes_of_another_device_or_kind_are_another_content() -> None:
    key = content_key(capture(made.log(*OLD)))
    for device in (DeviceIdentity(43, DEVICE.serial), DeviceIdentity(42, "B")):
        assert content_key(capture(made.log(*OLD), device=device)) != key
    assert content_key(capture(made.log(*OLD), kind=CaptureKind.CORE_DUMP)) != key


def test_serial_and_bytes_are_not_mixed_up() -> None:
    longer = capture(b"\x04", device=DeviceIdentity(42, "S1"))
    shorter = capture(b"1\x04", device=DeviceIdentity(42, "S"))
    assert content_key(longer) != content_key(shorter)


def test_a_firmware_update_between_two_offers_is_not_another_content() -> None:
    updated = replace(DEVICE, git_hash="new", git_version="5")
    key = content_key(capture(made.log(*OLD)))
    assert content_key(capture(made.log(*OLD), device=updated)) == key


def test_a_damaged_log_is_known_by_all_of_its_bytes() -> None:
    damaged = made.log(*OLD, anchor=1)[:-1]
    torn = made.log(*OLD, anchor=2)[:-1]
    assert content_key(capture(damaged)) == content_key(capture(damaged))
    assert content_key(capture(damaged)) != content_key(capture(torn))


def test_core_dumps_are_compared_as_they_are() -> None:
    first, second = (dump.data for dump in real_core_dumps())
    kind = CaptureKind.CORE_DUMP
    assert content_key(capture(first, kind=kind)) == content_key(capture(first, kind=kind))
    assert content_key(capture(first, kind=kind)) != content_key(capture(second, kind=kind))


@given(st.binary(max_size=64), st.sampled_from(CaptureKind))
def test_any_bytes_have_a_key(data: bytes, kind: CaptureKind) -> None:
    assert len(content_key(capture(data, kind=kind))) == 32


@pytest.mark.parametrize("set_name", ["v3-crash", "v4-crash"])
def test_the_real_log_after_the_crash_goes_on_where_the_one_before_ended(set_name: str) -> None:
    before = real_log(set_name).data
    after = real_log(set_name, "log_after_crash.bin").data
    shorter = continuation(before, after)
    assert shorter is not None
    (frame,) = iter_frames(shorter)
    *_, last = iter_frames(after)
    assert frame == replace(last, ticks=ticks_of(after)[-1])


def test_only_the_new_frames_are_left_and_lie_where_they_lay() -> None:
    before = made.log(*OLD, anchor=50)
    after = with_session_token(made.log(*OLD, *NEW, anchor=200, epoch_us=5, trailer=b"t"), 9)
    shorter = continuation(before, after)
    assert shorter is not None
    header, whole = check_log(shorter), LogHeader.parse(after)
    assert replace(header, used_bytes=0, checksum=0) == replace(whole, used_bytes=0, checksum=0)
    assert shorter[header.total :] == b"t"
    assert ticks_of(shorter) == ticks_of(after)[2:]
    assert [frame.address for frame in iter_frames(shorter)] == [3, 4]


@given(made.frames, made.frames, st.integers(0, 1000), st.sampled_from([3, 4, 5]))
def test_old_and_shorter_buffer_together_say_what_the_whole_one_says(
    old: list[made.RawFrame], new: list[made.RawFrame], waited: int, version: int
) -> None:
    old = [(ticks % 10_000, body) for ticks, body in old]
    new = [(ticks % 10_000, body) for ticks, body in new]
    old_end = sum(ticks for ticks, _ in old)
    anchor = max(old_end, 1)
    later = anchor + sum(ticks for ticks, _ in new) + waited
    before = made.log(*old, anchor=anchor, version=version)
    after = made.log(*old, *new, anchor=later, version=version)
    shorter = continuation(before, after)
    assert shorter is not None
    whole = list(zip(ticks_of(after), map(timeless, iter_frames(after)), strict=True))
    part = list(zip(ticks_of(shorter), map(timeless, iter_frames(shorter)), strict=True))
    assert part == whole[len(old) :]
    assert list(map(timeless, iter_frames(before))) == [frame for _, frame in whole[: len(old)]]


def timeless(frame: object) -> object:
    return replace(frame, ticks=0)  # type: ignore[type-var]


STILL = ((0, made.payload()), (0, made.payload(address=9)))
GOES_ON = made.log(*OLD, *NEW, anchor=200)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (made.log(*OLD, anchor=200), made.log(*OLD, anchor=200)),
        (made.log(*OLD, *NEW, anchor=100), made.log(*OLD, anchor=200)),
        (made.log(*OLD, anchor=50), made.log((11, OLD[0][1]), OLD[1], *NEW, anchor=200)),
        (made.log(*OLD, anchor=50), made.log(*OLD, *NEW, anchor=200, rate=1000)),
        (made.log(*OLD, anchor=50, version=3), GOES_ON),
        (made.log(STILL[0], version=2), made.log(*STILL, version=2)),
        (made.log(anchor=50), GOES_ON),
        (made.log(*OLD, anchor=50)[:-1], GOES_ON),
        (made.log(*OLD, anchor=50), GOES_ON[:-1]),
    ],
    ids=[
        "the same",
        "a part",
        "another beginning",
        "another rate",
        "another version",
        "no anchor",
        "nothing before",
        "damaged before",
        "damaged now",
    ],
)
def test_what_does_not_go_on_exactly_goes_up_whole(before: bytes, after: bytes) -> None:
    assert continuation(made.log(*OLD, anchor=50), GOES_ON) is not None
    assert continuation(before, after) is None


def test_ticks_that_do_not_fit_32_bits_can_not_be_exact() -> None:
    old = (0xFFFF_FFFF, made.payload())
    before = made.log(old, anchor=0xFFFF_FFFF)
    fits = made.log(old, (0, NEW[0][1]), anchor=0xFFFF_FFFF)
    over = made.log(old, (1, NEW[0][1]), anchor=0xFFFF_FFFF)
    assert continuation(before, fits) is not None
    assert continuation(before, over) is None


@pytest.mark.parametrize(
    ("before_anchor", "after_anchor"),
    [(300, 200), (50, 99), (29, 200), (170, 200)],
    ids=["anchor went back", "more ticks than now", "more ticks than then", "less time than ticks"],
)
def test_a_reset_between_old_and_new_frames_shows_in_the_anchors(
    before_anchor: int, after_anchor: int
) -> None:
    before = made.log(*OLD, anchor=before_anchor)
    after = made.log(*OLD, *NEW, anchor=after_anchor)
    assert continuation(before, after) is None
    steady = made.log(*OLD, *NEW, anchor=200)
    assert continuation(made.log(*OLD, anchor=50), steady) is not None


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_any_bytes_go_on_or_do_not(before: bytes, after: bytes) -> None:
    assert continuation(before, after) is None or check_log(after)


def header(anchor: int, *, rate: int = 32_768, epoch_us: int = 0) -> LogHeader:
    return LogHeader.parse(made.log(*OLD, anchor=anchor % 2**32, rate=rate, epoch_us=epoch_us))


@given(
    st.integers(1, 2**32 - 1),
    st.floats(0, 60_000),
    st.floats(-0.0005, 0.0005),
    st.sampled_from([1000, 32_768]),
)
def test_a_device_that_runs_on_is_in_the_same_boot_also_when_its_ticks_wrap(
    up: int, elapsed: float, drift: float, rate: int
) -> None:
    # As long as it ran for longer before than its clock, or its arrival, may be off.
    up = max(up, round(2 * rate * (1 + elapsed * 0.001)), round(2 * rate * ARRIVAL_ERROR))
    later = header(up + round(elapsed * rate * (1 + drift)), rate=rate)
    assert same_boot(header(up, rate=rate), later, elapsed)


@given(
    st.floats(0.01, 60_000),
    st.floats(0.01, 60_000),
    st.floats(0, 1),
    st.sampled_from([1000, 32_768]),
    st.floats(0, 0.99 * ARRIVAL_ERROR),
    st.floats(0, 0.99 * ARRIVAL_ERROR),
)
@example(2.0, 5.2, 5.0 / 5.2, 1000, 2.0, 0.0)
def test_no_reset_passes_for_the_same_boot(
    up: float, elapsed: float, part: float, rate: int, late: float, later_late: float
) -> None:
    """However soon after the first buffer, however early in its boot, however late they came."""
    later = header(round(elapsed * part * rate), rate=rate)
    between = elapsed - late + later_late
    assert not same_boot(header(round(up * rate), rate=rate), later, between)


@pytest.mark.parametrize("elapsed", [-1.0, 65_536.0, 1e9])
def test_a_clock_set_back_and_half_a_round_of_ticks_prove_nothing(elapsed: float) -> None:
    later = header(round((1000 + elapsed) * 32_768))
    assert not same_boot(header(1000 * 32_768), later, elapsed)


def test_only_a_clock_proves_the_same_instant() -> None:
    assert not same_moment(header(5000), header(5000))
    assert same_moment(header(5000, epoch_us=7), header(5000, epoch_us=7))
    assert not same_moment(header(5000, epoch_us=7), header(5000, epoch_us=8))
    assert not same_moment(header(5000, epoch_us=7), header(5001, epoch_us=7))


def test_agents_that_write_a_trailer_may_offer_again() -> None:
    assert may_offer_again(made.log(*OLD, trailer=b"t"))
    assert not may_offer_again(made.log(*OLD))
    assert not may_offer_again(made.log(*OLD, version=3, trailer=b"t"))
    assert not may_offer_again(b"")


@given(made.frames, made.frames, st.integers(0, 5), made.frames)
def test_a_buffer_holds_what_was_taken_and_the_end_of_what_it_begins_with(
    old: list[made.RawFrame], middle: list[made.RawFrame], gone: int, new: list[made.RawFrame]
) -> None:
    current = made.log(*old[gone:], *middle, *new, anchor=1)
    if middle:
        assert holds(made.log(*middle, anchor=1), current)
    if old[gone:]:
        assert holds(made.log(*old, anchor=1), current)
    if old:
        assert begins_with(made.log(*old), made.log(*old, *new))


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_any_bytes_hold_each_other_or_do_not(before: bytes, after: bytes) -> None:
    assert holds(before, after) in {True, False}
    assert begins_with(before, after) in {True, False}
