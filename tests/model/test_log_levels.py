"""The arbiter of log levels, over schedules of wishes and of writes that may get lost."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from custom_components.ulogger.model.identity import ULOGGER
from custom_components.ulogger.model.log_config import ALL_MODULES, LONGEST, LogConfig
from custom_components.ulogger.model.log_levels import (
    PERSON,
    UNKNOWN,
    LogLevels,
    Wish,
    Written,
)

NOON = 1_790_000_000.0
SOURCES = st.sampled_from([PERSON, ULOGGER, "01ATTIC"])
CONFIGS = st.builds(
    LogConfig,
    st.integers(0, 4),
    st.sampled_from([1, 2, 3, 0x80000001, ALL_MODULES]),
    st.one_of(st.integers(1, 90), st.just(LONGEST)),
)
ROUNDING = 1.0
"""Seconds: a device is told whole ones, and one at least."""


def wish(source: str, level: int, seconds: float, flags: int = ALL_MODULES) -> Wish:
    return Wish(source, level, flags, NOON + seconds)


def test_the_most_verbose_wish_that_lasts_wins() -> None:
    levels = LogLevels().wished(wish(PERSON, 3, 60)).wished(wish(ULOGGER, 1, 30))
    assert levels.winner(NOON) == wish(ULOGGER, 1, 30)
    assert levels.winner(NOON + 30) == wish(PERSON, 3, 60)
    assert levels.winner(NOON + 60) is None
    assert levels.next_end == NOON + 30
    assert levels.without_ended(NOON + 30) == LogLevels().wished(wish(PERSON, 3, 60))


def test_of_one_level_more_modules_win_then_the_later_end() -> None:
    few = LogLevels().wished(wish(PERSON, 0, 60, flags=3))
    assert few.wished(wish(ULOGGER, 0, 30, flags=7)).winner(NOON) == wish(ULOGGER, 0, 30, flags=7)
    assert few.wished(wish(ULOGGER, 0, 90, flags=5)).winner(NOON) == wish(ULOGGER, 0, 90, flags=5)


def test_of_wishes_that_only_differ_in_their_modules_the_lower_modules_win() -> None:
    low, high = wish(ULOGGER, 0, 60, flags=1), wish(PERSON, 0, 60, flags=2)
    assert LogLevels().wished(low).wished(high).winner(NOON) == low
    low, high = wish(PERSON, 0, 60, flags=1), wish(ULOGGER, 0, 60, flags=2)
    assert LogLevels().wished(high).wished(low).winner(NOON) == low


def test_a_newer_wish_replaces_only_its_own_source_s() -> None:
    levels = LogLevels().wished(wish(PERSON, 0, 60)).wished(wish(ULOGGER, 2, 60))
    assert levels.wished(wish(PERSON, 4, 60)).winner(NOON) == wish(ULOGGER, 2, 60)
    assert levels.withdrawn(PERSON).winner(NOON) == wish(ULOGGER, 2, 60)


def test_a_wish_whose_source_was_not_stored_is_replaced_by_whoever_comes_next() -> None:
    levels = LogLevels().wished(wish(UNKNOWN, 0, 60))
    assert levels.winner(NOON) == wish(UNKNOWN, 0, 60)
    assert levels.wished(wish(ULOGGER, 4, 30)).winner(NOON) == wish(ULOGGER, 4, 30)


def test_the_way_back_to_the_defaults_is_a_second_of_what_the_device_holds() -> None:
    held = LogLevels({}, Written(0, 3, NOON + 60))
    assert held.due(NOON) == LogConfig(0, 3, 1)
    assert held.after_write(held, NOON).due(NOON) is None
    assert held.due(NOON + 60) is None


def test_what_came_while_something_was_written_is_due_afterwards() -> None:
    before = LogLevels().wished(wish(PERSON, 3, 60))
    meanwhile = before.wished(wish(ULOGGER, 0, 60))
    assert meanwhile.after_write(before, NOON).due(NOON) == LogConfig(0, ALL_MODULES, 60)


def test_after_a_lost_write_the_longer_of_both_is_taken_for_what_the_device_holds() -> None:
    held = LogLevels().wished(wish(PERSON, 3, 600))
    held = held.after_write(held, NOON).wished(wish(ULOGGER, 0, 60))
    lost = held.after_write(held, NOON, certain=False)
    assert lost.due(NOON) == LogConfig(0, ALL_MODULES, 60)
    assert lost.withdrawn(PERSON).due(NOON + 61) is not None


@given(CONFIGS, st.floats(0, 100))
def test_a_wish_counts_down_from_when_it_came(config: LogConfig, waited: float) -> None:
    made = Wish.of(PERSON, config, NOON)
    left = config.timeout_seconds - waited
    assert made.lasts(NOON + waited) == (left > 0)
    assert abs(made.remaining(NOON + waited) - max(left, 0)) <= ROUNDING


class Schedules(RuleBasedStateMachine):
    """Wishes of several sources, for a device that is met now and then over a bad link."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.levels = LogLevels()
        self.wishes: dict[str, Wish] = {}
        self.device: tuple[int, int, float] = (0, 0, 0.0)
        self.last_end = 0.0

    @rule(source=SOURCES, config=CONFIGS)
    def somebody_wishes(self, source: str, config: LogConfig) -> None:
        self.wishes[source] = Wish.of(source, config, self.now)
        self.last_end = max(self.last_end, self.wishes[source].expires_at)
        self.levels = self.levels.wished(self.wishes[source])

    @rule(source=SOURCES)
    def somebody_withdraws(self, source: str) -> None:
        self.wishes.pop(source, None)
        self.levels = self.levels.withdrawn(source)

    @rule()
    def a_person_chooses_the_defaults(self) -> None:
        self.wishes.clear()
        self.levels = self.levels.cleared()

    @rule(seconds=st.one_of(st.floats(0.1, 100), st.just(LONGEST + 1.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_account_is_tidied(self) -> None:
        self.levels = self.levels.without_ended(self.now)

    @rule(arrives=st.booleans())
    def the_link_breaks_while_it_is_written(self, arrives: bool) -> None:
        if (config := self.levels.due(self.now)) is not None:
            self.levels = self.levels.after_write(self.levels, self.now, certain=False)
            if arrives:
                self.device_takes(config)

    @rule()
    def the_device_is_met(self) -> None:
        while (config := self.levels.due(self.now)) is not None:
            before = self.levels
            self.levels = self.levels.after_write(before, self.now, certain=False)
            self.device_takes(config)
            self.levels = self.levels.after_write(before, self.now)
        assert self.device_is_right()

    def device_takes(self, config: LogConfig) -> None:
        assert config.fits_device
        until = self.now + config.timeout_seconds
        self.device = (config.level, config.module_flags, until)

    def expected(self) -> Wish | None:
        """The winner by the rule's own words."""
        lasting = [each for each in self.wishes.values() if each.expires_at > self.now]
        if not lasting:
            return None
        level = min(each.level for each in lasting)
        loudest = [each for each in lasting if each.level == level]
        most = max(each.module_flags.bit_count() for each in loudest)
        widest = [each for each in loudest if each.module_flags.bit_count() == most]
        last_end = max(each.expires_at for each in widest)
        longest = [each for each in widest if each.expires_at == last_end]
        return min(longest, key=lambda each: each.module_flags)

    def device_is_right(self) -> bool:
        level, flags, until = self.device
        if (wanted := self.expected()) is None:
            return until <= self.now + ROUNDING
        near = abs(until - wanted.expires_at) <= ROUNDING
        return near and (level, flags) == (wanted.level, wanted.module_flags)

    @invariant()
    def the_most_verbose_that_lasts_wins(self) -> None:
        winner, wanted = self.levels.winner(self.now), self.expected()
        assert (winner is None) == (wanted is None)
        if winner is not None and wanted is not None:
            assert replace(winner, source="") == replace(wanted, source="")

    @invariant()
    def a_device_that_does_something_else_is_written_to(self) -> None:
        wanted = self.expected()
        ending = wanted is not None and wanted.expires_at - self.now <= 2 * ROUNDING
        assert self.device_is_right() or ending or self.levels.due(self.now) is not None

    @invariant()
    def nothing_outlives_its_wish(self) -> None:
        assert self.device[2] <= max(self.last_end, self.now) + ROUNDING

    def teardown(self) -> None:
        self.now = max(self.last_end, self.now) + ROUNDING
        self.the_device_is_met()
        assert self.levels.winner(self.now) is None
        assert self.device[2] <= self.now + ROUNDING


TestSchedules: Any = Schedules.TestCase
TestSchedules.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
