"""Several logs as one: every frame is there once, in order, at the time it had in its own log."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.capture.frames import iter_raw_frames
from custom_components.ulogger.capture.joining import CLOCKS_APART, LOGS_APART, Joined, join
from custom_components.ulogger.capture.log_buffer import check_log, with_session_token
from custom_components.ulogger.capture.timestamps import dated
from custom_components.ulogger.insight.dating import Anchor, timeline
from custom_components.ulogger.model.capture import Capture, CaptureFault, CaptureKind

from ..support.made_captures import log
from ..support.outbox_world import CLOCK, LAMP, NOW
from ..support.visits import Visit, given_off

RATE = 1000
LARGEST = 16_384
U16, U32 = 0xFFFF, 0xFFFF_FFFF


type Told = tuple[bytes, int, float]


def told(before: Capture, captures: Sequence[Capture]) -> list[Told]:
    """Read logs one after another: payload, tick since boot and Unix time of every frame."""
    found = []
    base = check_log(before.data).anchor_tick
    for capture in captures:
        data = dated(capture)
        header = check_log(data)
        frames = list(iter_raw_frames(data))
        for tick, frame in zip(
            accumulate((frame.ticks for frame in frames), initial=base),
            [None, *frames],
            strict=True,
        ):
            if frame is not None:
                ago = (header.anchor_tick - tick) / header.tick_rate_hz
                found.append((frame.payload, tick, header.epoch_us / 1e6 - ago))
        base = header.anchor_tick
    return found


def anchor_of(capture: Capture) -> Anchor:
    header = check_log(dated(capture))
    return Anchor(header.anchor_tick, header.tick_rate_hz, header.epoch_us / 1e6, 0.0)


def as_the_panel_dates(before: Capture, capture: Capture) -> list[float]:
    """Date the frames of a log as the panel does."""
    data = dated(capture)
    frames = list(iter_raw_frames(data))
    found = timeline(
        check_log(data), sum(f.ticks for f in frames), capture.captured_at, anchor_of(before)
    )
    assert found is not None
    return [found.at(ticks)[0] for ticks in accumulate(frame.ticks for frame in frames)]


@st.composite
def visits(draw: st.DrawFn, rate: int) -> list[Visit]:
    longest = round(LOGS_APART * rate)
    found = []
    for _ in range(draw(st.integers(2, 6))):
        after = draw(st.integers(1, longest))
        lines = draw(
            st.lists(
                st.tuples(st.integers(0, after), st.binary(max_size=12)), min_size=1, max_size=4
            )
        )
        late = draw(st.integers(0, int(CLOCKS_APART * rate * 0.9)))
        found.append(Visit(after, tuple(lines), late))
    return found


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_read_of_joined_logs_is_what_is_read_of_each(data: st.DataObject) -> None:
    rate = data.draw(st.sampled_from([1, 10, 1000, 32768]))
    logs = data.draw(visits(rate))
    start = data.draw(st.integers(rate, U32 - sum(visit.after for visit in logs)))
    clock = data.draw(st.booleans())
    trailer = data.draw(st.sampled_from([b"", b"seal"]))
    before, *rest = given_off(logs, start=start, rate=rate, clock=clock, trailer=trailer)
    joined = join(before, rest, LARGEST)
    if len(rest) < 2:
        assert joined is None
        return
    assert joined is not None
    assert joined.count == len(rest)
    assert joined.capture.device == CLOCK
    check_log(joined.capture.data)
    assert joined.capture.data.endswith(trailer)
    one_by_one, at_once = told(before, rest), told(before, [joined.capture])
    assert [each[:2] for each in at_once] == [each[:2] for each in one_by_one]
    off = 2e-6 if clock else CLOCKS_APART + 2e-6
    for alone, together in zip(one_by_one, at_once, strict=True):
        assert abs(alone[2] - together[2]) <= off
    dated_alone = [
        at
        for earlier, later in zip([before, *rest], rest, strict=False)
        for at in as_the_panel_dates(earlier, later)
    ]
    dated_together = as_the_panel_dates(before, joined.capture)
    assert dated_together == pytest.approx(dated_alone, abs=off, rel=0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda anchor, epoch, lines, version, token, rate, trailer: log(
                *lines,
                anchor=anchor,
                epoch_us=epoch,
                version=version,
                token=token,
                rate=rate,
                trailer=trailer,
            ),
            st.integers(0, 20_000) | st.integers(0, U32),
            st.integers(1, 20_000_000) | st.just(0),
            st.lists(
                st.tuples(st.integers(0, 3000) | st.integers(0, U32), st.binary(max_size=8)),
                max_size=3,
            ),
            st.sampled_from([4, 4, 4, 3, 2]),
            st.sampled_from([0, 0, 7]),
            st.sampled_from([RATE, RATE, 0]),
            st.sampled_from([b"", b"", b"seal"]),
        )
        | st.binary(max_size=60),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_the_logs_are_joining_changes_nothing_that_is_read(contents: list[bytes]) -> None:
    before, *rest = [Capture(CaptureKind.LOG, CLOCK, data, 0.0) for data in contents]
    if (joined := join(before, rest, LARGEST)) is None:
        return
    alone, together = told(before, rest[: joined.count]), told(before, [joined.capture])
    assert [each[:2] for each in together] == [each[:2] for each in alone]
    for one, other in zip(alone, together, strict=True):
        assert abs(one[2] - other[2]) <= CLOCKS_APART + 2e-6


def three(*, clock: bool = True, after: int = 2000, **details: bytes) -> list[Capture]:
    visit = Visit(after, ((100, b"one"), (200, b"two")))
    return given_off([visit] * 3, start=60_000, rate=RATE, clock=clock, **details)


def joined_of(captures: Sequence[Capture], largest: int = LARGEST) -> Joined | None:
    before, *rest = captures
    return join(before, rest, largest)


def changed(capture: Capture, **fields: int) -> Capture:
    header = replace(check_log(capture.data), **fields)
    return replace(capture, data=header.pack() + capture.data[header.size :])


def test_what_a_device_gave_a_moment_apart_is_joined() -> None:
    found = joined_of(three())
    assert found is not None
    assert found.count == 2
    frames = list(iter_raw_frames(found.capture.data))
    assert [frame.ticks for frame in frames] == [100, 100, 1900, 100]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "fields",
    [
        {"session_token": 5},
        {"tick_rate_hz": 999},
        {"tick_rate_hz": 0},
        {"anchor_tick": 0},
        {"version": 5},
        {"epoch_us": round(NOW * 1e6)},
        {"used_bytes": 3},
    ],
)
def test_what_does_not_fit_is_not_joined(place: int, fields: dict[str, int]) -> None:
    captures = three()
    captures[place] = changed(captures[place], **fields)
    assert joined_of(captures) is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_whole_log_of_the_same_device_is_not_joined(place: int) -> None:
    for change in (
        {"device": LAMP},
        {"device": replace(CLOCK, git_hash="other")},
        {"kind": CaptureKind.CORE_DUMP},
        {"fault": CaptureFault.CHECKSUM},
        {"data": b""},
        {"data": three()[place].data[:-1]},
        {"data": log(anchor=62_000 + place * 2000, rate=RATE, epoch_us=1)},
    ):
        captures = three()
        captures[place] = replace(captures[place], **change)
        assert joined_of(captures) is None, change


def test_a_trailer_that_differs_is_not_dropped() -> None:
    captures = three(trailer=b"seal")
    captures[2] = replace(captures[2], data=captures[2].data[:-4] + b"SEAL")
    assert joined_of(captures) is None


def test_logs_too_far_apart_are_not_joined() -> None:
    at_most = round(LOGS_APART * RATE)
    assert joined_of(three(after=at_most)) is not None
    assert joined_of(three(after=at_most + 1)) is None


def test_logs_with_a_reset_between_them_are_not_joined() -> None:
    first = three()
    second = three()
    later = [
        replace(
            changed(
                capture,
                anchor_tick=check_log(capture.data).anchor_tick - 60_000 + number,
            ),
        )
        for number, capture in enumerate(second)
    ]
    assert joined_of([first[0], *later[1:]]) is None
    assert joined_of([first[0], first[1], later[2]]) is None


def test_arrivals_that_drift_are_joined_as_far_as_they_fit() -> None:
    visit = Visit(2000, ((5, b"line"),))
    steps = [replace(visit, late=40 * number) for number in range(6)]
    before, *rest = given_off(steps, start=60_000, rate=RATE, clock=False)
    found = join(before, rest, LARGEST)
    assert found is not None
    assert found.count == 3


def test_no_more_is_joined_than_goes_into_one() -> None:
    visit = Visit(1000, ((5, b"x" * 100),))
    before, *rest = given_off([visit] * 9, start=60_000, rate=RATE, clock=True)
    found = join(before, rest, 25 + 3 * 106)
    assert found is not None
    assert found.count == 3
    assert len(found.capture.data) == 25 + 3 * 106


def test_what_is_joined_takes_a_token() -> None:
    found = joined_of(three())
    assert found is not None
    assert check_log(with_session_token(found.capture.data, 9)).session_token == 9


def test_nothing_is_made_of_nothing() -> None:
    before, *_ = three()
    assert join(before, [], LARGEST) is None
