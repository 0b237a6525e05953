"""When states go: latched, gathered, apart, and never lost, on a virtual clock."""

from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.config_state import (
    APART,
    CONFIG_WITHIN,
    GATHER,
    StateTimer,
)

LATCH = 10.0
STEP = 0.125


class World:
    def __init__(self, latch: float = LATCH) -> None:
        self.now = 1000.0
        self.timer = StateTimer(lambda: self.now, latch)
        self.sent: list[float] = []

    def run(self, seconds: float) -> None:
        """Let time pass, and send what is due."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            self.look()

    def look(self) -> None:
        due = self.timer.due_at()
        if due is not None and due <= self.now:
            self.timer.sending()
            self.sent.append(self.now)


def test_nothing_goes_before_the_first_connection() -> None:
    world = World()
    world.timer.changed()
    world.run(60)
    assert not world.sent


def test_the_first_state_waits_for_the_first_config() -> None:
    world = World()
    world.timer.connected()
    world.run(LATCH - 1)
    assert not world.sent
    world.timer.configured()
    world.run(1)
    assert len(world.sent) == 1


def test_the_first_state_waits_for_a_config_no_longer_than_it_may() -> None:
    world = World()
    world.timer.connected()
    world.run(LATCH + 1)
    assert len(world.sent) == 1
    assert world.timer.open


def test_only_the_first_connection_waits() -> None:
    world = World()
    world.timer.connected()
    world.timer.configured()
    world.run(5)
    world.timer.connected()
    world.run(1)
    assert len(world.sent) == 2


def test_changes_are_gathered() -> None:
    world = World()
    world.timer.connected()
    world.timer.configured()
    world.run(5)
    before = len(world.sent)
    for _ in range(100):
        world.timer.changed()
    world.run(5)
    assert len(world.sent) == before + 1


def test_a_state_that_did_not_arrive_goes_again() -> None:
    world = World()
    world.timer.connected()
    world.timer.configured()
    world.run(1)
    world.timer.failed()
    world.run(3)
    assert len(world.sent) == 2


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["changed", "configured", "failed"]))))
def test_states_are_apart_and_every_config_is_acknowledged_in_time(
    events: list[tuple[float, str]],
) -> None:
    world = World()
    world.timer.connected()
    configs: list[float] = []
    for wait, what in events:
        world.run(wait)
        getattr(world.timer, what)()
        if what == "configured":
            configs.append(world.now)
    world.run(LATCH + 5)
    apart = [later - before for before, later in zip(world.sent, world.sent[1:], strict=False)]
    assert all(each >= APART for each in apart)
    for at in configs:
        assert any(at <= sent <= at + CONFIG_WITHIN for sent in world.sent)
        assert min(sent for sent in world.sent if sent >= at) <= at + APART + GATHER + 2 * STEP
