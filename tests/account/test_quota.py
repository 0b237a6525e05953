"""The daily quota, by the days of the calendar in UTC."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.account.quota import DAY, DailyQuota, DaysInARow

LAMP, CLOCK = (7, "LAMP"), (7, "CLOCK")
MIDNIGHT = 20_000.0 * DAY


def test_a_device_that_has_sent_its_quota_waits_for_the_next_day() -> None:
    quota = DailyQuota(100)
    quota.counted(LAMP, 60, MIDNIGHT)
    assert quota.exhausted(MIDNIGHT) == set()
    quota.counted(LAMP, 40, MIDNIGHT + 1)
    quota.counted(CLOCK, 99, MIDNIGHT + 2)
    assert quota.exhausted(MIDNIGHT + DAY - 1) == {LAMP}
    assert quota.exhausted(MIDNIGHT + DAY) == set()


def test_without_a_limit_nobody_waits() -> None:
    quota = DailyQuota(0)
    quota.counted(LAMP, 10**9, MIDNIGHT)
    assert quota.exhausted(MIDNIGHT) == set()


def test_what_was_counted_at_once_is_not_lost_to_an_older_reading() -> None:
    quota = DailyQuota(100)
    quota.counted(LAMP, 100, MIDNIGHT)
    quota.read({LAMP: 40, CLOCK: 100}, MIDNIGHT)
    assert quota.exhausted(MIDNIGHT) == {LAMP, CLOCK}


@given(st.lists(st.tuples(st.integers(0, 3 * DAY), st.integers(1, 50)), max_size=60))
def test_it_is_the_sum_of_the_day(sent: list[tuple[int, int]]) -> None:
    quota = DailyQuota(100)
    days: Counter[int] = Counter()
    for at, size in sorted(sent):
        quota.counted(LAMP, size, MIDNIGHT + at)
        days[at // DAY] += size
        assert (quota.exhausted(MIDNIGHT + at) == {LAMP}) == (days[at // DAY] >= 100)


def test_days_count_in_a_row_and_begin_anew_after_a_gap() -> None:
    days = DaysInARow().reached(MIDNIGHT).reached(MIDNIGHT + 5).reached(MIDNIGHT + DAY)
    assert (days.days, days.lasting(MIDNIGHT + DAY)) == (2, 2)
    assert days.lasting(MIDNIGHT + 2 * DAY) == 2
    assert days.lasting(MIDNIGHT + 3 * DAY) == 0
    assert days.reached(MIDNIGHT + 3 * DAY).days == 1
