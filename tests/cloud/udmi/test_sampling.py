"""When values go up, under any rate, limit and order of changes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.sampling import Sampling


@given(
    rate=st.integers(1, 60),
    limit=st.integers(0, 80),
    changes=st.lists(st.integers(0, 300), max_size=60),
)
def test_events_keep_their_distance_and_full_ones_come_in_time(
    rate: int, limit: int, changes: list[int]
) -> None:
    sampling = Sampling(0.0)
    sampling.set(rate, limit, 0.0)
    sent: list[tuple[float, bool]] = []
    waiting = False
    for now in range(301):
        waiting = waiting or now in changes
        due = sampling.due(now, changes=waiting)
        if due is not None and due <= now:
            full = sampling.is_full(now)
            sampling.sent(now, full=full)
            sent.append((now, full))
            waiting = False
    times = [at for at, _full in sent]
    full_times = [at for at, full in sent if full]
    assert all(later - earlier >= limit for earlier, later in pairwise(times))
    assert full_times[0] == 0
    longest = max(rate, limit, 1)
    gaps = [b - a for a, b in zip(full_times, [*full_times[1:], 301], strict=True)]
    assert all(gap <= longest for gap in gaps[:-1])
    assert gaps[-1] <= longest + 1
    if changes:
        last = max(changes)
        assert any(at >= last for at in times) or last + limit > 300


def test_nothing_goes_by_itself_without_a_rate() -> None:
    sampling = Sampling(0.0)
    sampling.set(None, 0, 0.0)
    sampling.ask(1.0)
    assert sampling.due(10.0, changes=True) is None


def test_asking_twice_sends_once_and_no_sooner_than_the_limit_allows() -> None:
    sampling = Sampling(0.0)
    sampling.set(100, 10, 0.0)
    sampling.sent(0.0, full=True)
    sampling.ask(3.0)
    sampling.ask(4.0)
    assert sampling.due(4.0, changes=False) == 10.0
    sampling.sent(10.0, full=True)
    assert sampling.due(11.0, changes=False) == 110.0
