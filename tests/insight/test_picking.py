"""Which frames people are told about."""

from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.insight.picking import pick_events
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

from ..support import made_captures as made


def of(levels: list[int]) -> Reading:
    frames = [(1, made.payload(level=level)) for level in levels]
    return read(Capture(CaptureKind.LOG, DeviceIdentity(1, "S"), made.log(*frames), 1e9))


def test_frames_at_or_above_a_level_are_picked_and_metrics_are_not() -> None:
    picked = pick_events(of([0, 3, 5, 4, 2, 6, 7]))
    assert [frame.number for frame in picked.frames] == [1, 3]
    assert not picked.left_out
    picked = pick_events(of([0, 3, 5, 4, 2]), Level.WARNING)
    assert [frame.number for frame in picked.frames] == [1, 3, 4]


def test_of_too_many_the_most_severe_and_then_the_first_are_picked() -> None:
    picked = pick_events(of([3] * 30 + [4] + [3] * 5 + [4]))
    assert [frame.number for frame in picked.frames] == [*range(18), 30, 36]
    assert picked.left_out == {Level.ERROR: 17}
    assert picked.left_out_total == 17


@given(st.lists(st.integers(0, 7), max_size=60), st.sampled_from(list(Level)[:5]))
def test_picked_and_left_out_are_all_there_are(levels: list[int], level: Level) -> None:
    picked = pick_events(of(levels), level)
    wanted = [each for each in levels if level <= each <= 4]
    assert len(picked.frames) == min(20, len(wanted))
    assert len(picked.frames) + picked.left_out_total == len(wanted)
    numbers = [frame.number for frame in picked.frames]
    assert numbers == sorted(numbers)
    assert all(frame.level >= left for frame in picked.frames for left in picked.left_out)
