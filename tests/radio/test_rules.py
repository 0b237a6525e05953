"""Intervals, the cap on a session, and what silence means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.radio.interval import LONGEST, PATIENT_VISITS, next_interval
from custom_components.ulogger.radio.presence import PATIENCE, is_quiet
from custom_components.ulogger.radio.session_cap import FIRST, SessionCap
from custom_components.ulogger.radio.session_cap import LONGEST as LONGEST_SESSION

QUARTER = 900.0


def test_an_interval_that_does_not_adapt_is_what_it_is_set_to():
    assert next_interval(QUARTER, empty_visits=99, troubled=True, adaptive=False) == QUARTER


@pytest.mark.parametrize(
    ("empty", "seconds"),
    [(0, 900), (PATIENT_VISITS, 900), (PATIENT_VISITS + 1, 1800), (PATIENT_VISITS + 3, 7200)],
)
def test_who_had_nothing_for_long_is_asked_less_often(empty, seconds):
    assert next_interval(QUARTER, empty_visits=empty, troubled=False, adaptive=True) == seconds


@given(st.floats(60, 7 * 86400), st.integers(0, 10**9), st.booleans())
def test_an_interval_stays_between_a_minute_and_six_hours_or_what_is_set(usual, empty, troubled):
    seconds = next_interval(usual, empty_visits=empty, troubled=troubled, adaptive=True)
    assert 60.0 <= seconds <= max(usual, LONGEST)
    assert seconds <= usual if troubled else seconds >= usual


def test_who_has_errors_is_asked_more_often_also_when_it_was_silent_before():
    assert next_interval(QUARTER, empty_visits=50, troubled=True, adaptive=True) == 300.0


def test_a_session_that_brings_nothing_ends_early_and_one_that_brings_much_goes_on():
    cap = SessionCap(began=1000.0)
    assert cap.ends_at == 1000.0 + FIRST
    cap.brought(16_000)
    assert cap.ends_at == 1000.0 + FIRST + 80
    cap.brought(400)
    assert cap.ends_at == 1000.0 + FIRST + 82
    cap.brought(10**9)
    assert cap.ends_at == 1000.0 + LONGEST_SESSION


@pytest.mark.parametrize(
    ("silence", "interval", "scanner", "quiet"),
    [
        (1.0, 0.1, 0.0, False),
        (6.0, 0.1, 0.0, True),
        (6.0, 0.1, 30.0, False),
        (6.0, 5.0, 0.0, False),
        (26.0, 5.0, 0.0, True),
        (6.0, None, 0.0, True),
        (PATIENCE + 1, 0.1, 0.0, False),
    ],
)
def test_silence_of_one_that_advertised_often_means_that_it_is_connected(
    silence, interval, scanner, quiet
):
    assert is_quiet(silence, interval, scanner) is quiet
