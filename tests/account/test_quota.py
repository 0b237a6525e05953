"""The daily quota, by the days of the calendar in UTC."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.account.quota import DAY, DailyQuota, DaysInARow

from ..support.outbox_world import Clock

LAMP, CLOCK = (7, "LAMP"), (7, "CLOCK")
MIDNIGHT = 20_000.0 * DAY


def test_a_device_that_has_sent_its_quota_waits_for_the_next_day() -> None:
    clock = Clock(MIDNIGHT)
    quota = DailyQuota(100, clock)
    quota.counted(LAMP, 60)
    assert quota.exhausted() == set()
    clock.now += 1
    quota.counted(LAMP, 40)
    quota.counted(CLOCK, 99)
    clock.now = MIDNIGHT + DAY - 1
    assert quota.exhausted() == {LAMP}
    clock.now = MIDNIGHT + DAY
    assert quota.exhausted() == set()


def test_without_a_limit_nobody_waits() -> None:
    quota = DailyQuota(0, Clock(MIDNIGHT))
    quota.counted(LAMP, 10**9)
    assert quota.exhausted() == set()


def test_what_was_counted_at_once_is_not_lost_to_an_older_reading() -> None:
    quota = DailyQuota(100, Clock(MIDNIGHT))
    quota.counted(LAMP, 100)
    quota.read({LAMP: 40, CLOCK: 100})
    assert quota.exhausted() == {LAMP, CLOCK}


@given(st.lists(st.tuples(st.integers(0, 3 * DAY), st.integers(1, 50)), max_size=60))
def test_it_is_the_sum_of_the_day(sent: list[tuple[int, int]]) -> None:
    clock = Clock(MIDNIGHT)
    quota = DailyQuota(100, clock)
    days: Counter[int] = Counter()
    for at, size in sorted(sent):
        clock.now = MIDNIGHT + at
        quota.counted(LAMP, size)
        days[at // DAY] += size
        assert (quota.exhausted() == {LAMP}) == (days[at // DAY] >= 100)


def test_days_count_in_a_row_and_begin_anew_after_a_gap() -> None:
    days = DaysInARow().reached(MIDNIGHT).reached(MIDNIGHT + 5).reached(MIDNIGHT + DAY)
    assert (days.days, days.lasting(MIDNIGHT + DAY)) == (2, 2)
    assert days.lasting(MIDNIGHT + 2 * DAY) == 2
    assert days.lasting(MIDNIGHT + 3 * DAY) == 0
    assert days.reached(MIDNIGHT + 3 * DAY).days == 1
