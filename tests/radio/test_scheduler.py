"""Who begins next, over which scanner."""

import pytest

from custom_components.ulogger.radio.scheduler import (
    LOOK_AGAIN,
    YIELD_AFTER,
    Candidate,
    Scheduler,
    State,
)
from custom_components.ulogger.radio.slots import Path, Scanner
from custom_components.ulogger.radio.urgency import Urgency


class Scene:
    """Candidates by name, what began, and who was asked to yield."""

    def __init__(self, **slots: int) -> None:
        self.scheduler = Scheduler()
        self.slots = slots
        self.taken: dict[str, set[str]] = {source: set() for source in slots}
        self.begun: list[tuple[str, str]] = []
        self.yielded: list[str] = []
        self.heard: dict[str, dict[str, float]] = {}

    def candidate(self, name: str, *, address: str | None = None, **hears: float) -> Candidate:
        self.heard[name] = hears or dict.fromkeys(self.slots, -50.0)
        return Candidate(
            address=lambda: address or name,
            paths=lambda: [Path(source, rssi) for source, rssi in self.heard[name].items()],
            begin=lambda path: self.begun.append((name, path.source)),
            yield_slot=lambda: self.yielded.append(name),
        )

    def due(self, name: str, since: float = 0.0, urgency=Urgency.USUAL, **kwargs) -> Candidate:
        candidate = self.candidate(name, **kwargs)
        candidate.live = urgency is Urgency.LIVE
        self.scheduler.plan(candidate, urgency, not_before=since)
        return candidate

    def look(self, now: float) -> list[tuple[str, str]]:
        self.begun.clear()
        scanners = [Scanner(s, n, frozenset(self.taken[s])) for s, n in self.slots.items()]
        self.scheduler.begin_what_may(now, scanners)
        return list(self.begun)


def test_who_has_waited_longest_comes_first():
    scene = Scene(a=1)
    scene.due("later", 50.0)
    scene.due("first", 10.0)
    assert scene.look(100.0) == [("first", "a")]


@pytest.mark.parametrize("urgency", [u for u in Urgency if u.value > 0])
def test_urgency_is_a_head_start_and_no_more(urgency):
    scene = Scene(a=1)
    scene.due("usual", 0.0)
    scene.due("urgent", urgency.value - 1, urgency)
    assert scene.look(1000.0) == [("urgent", "a")]
    scene = Scene(a=1)
    scene.due("usual", 0.0)
    scene.due("urgent", urgency.value + 1, urgency)
    assert scene.look(1000.0) == [("usual", "a")]


def test_a_stranger_takes_what_is_left():
    scene = Scene(a=1)
    scene.due("stranger", 0.0, Urgency.IDENTIFY)
    scene.due("known", 200.0)
    assert scene.look(250.0) == [("known", "a")]


def test_of_two_that_are_due_together_the_one_heard_better_comes_first():
    scene = Scene(a=1)
    for name, signal in (("faint", -90.0), ("near", -45.0)):
        scene.scheduler.heard(scene.due(name), signal)
    assert scene.look(2.0) == [("near", "a")]


def test_the_best_path_with_a_free_slot_is_taken():
    scene = Scene(near=1, far=1)
    for name in ("one", "two", "three"):
        scene.due(name, near=-40.0, far=-80.0)
    assert sorted(source for _, source in scene.look(1.0)) == ["far", "near"]
    assert scene.scheduler.waiting == 1


@pytest.mark.parametrize(
    ("slots", "reserve", "others", "begin"),
    [
        (3, 0, 0, 3),
        (3, 1, 0, 2),
        (3, 1, 1, 2),
        (3, 1, 2, 1),
        (3, 0, 3, 0),
        (1, 2, 0, 1),
        (2, 9, 1, 1),
    ],
)
def test_the_reserve_is_left_to_others_but_one_slot_is_ours(slots, reserve, others, begin):
    scene = Scene(a=slots)
    scene.scheduler.reserve = reserve
    scene.taken["a"] = {f"other{n}" for n in range(others)}
    for number in range(5):
        scene.due(f"device{number}")
    assert len(scene.look(1.0)) == begin


def test_a_session_that_the_scanner_does_not_report_yet_takes_its_slot():
    scene = Scene(a=1)
    scene.due("one")
    scene.due("two")
    assert len(scene.look(1.0)) == 1
    assert scene.look(2.0) == []


def test_a_session_over_another_path_than_chosen_counts_where_it_is():
    scene = Scene(a=1, b=1)
    scene.due("one", a=-40.0, b=-80.0)
    assert scene.look(1.0) == [("one", "a")]
    scene.taken["b"] = {"one"}
    scene.due("two")
    assert scene.look(2.0) == [("two", "a")]


def test_there_is_one_session_to_an_address_whoever_wants_it():
    scene = Scene(a=3)
    ours = scene.due("ours", address="C0:01")
    scene.due("theirs", 0.5, address="C0:01")
    assert scene.look(1.0) == [("ours", "a")]
    assert scene.look(2.0) == []
    scene.scheduler.ended(ours)
    assert scene.look(3.0) == [("theirs", "a")]


def test_who_is_not_heard_is_looked_for_again_and_begins_when_heard():
    scene = Scene(a=1)
    device = scene.due("device")
    scene.heard["device"] = {}
    assert scene.look(1.0) == []
    assert device.state is State.AWAY
    assert scene.scheduler.wake_at(1.0) == 1.0 + LOOK_AGAIN
    scene.heard["device"] = {"a": -60.0}
    assert scene.look(5.0) == []
    assert scene.scheduler.heard(device)
    assert scene.look(6.0) == [("device", "a")]


def test_who_is_heard_before_its_time_is_not_due():
    scene = Scene(a=1)
    device = scene.due("device", 100.0)
    assert not scene.scheduler.heard(device)
    assert scene.look(50.0) == []
    assert scene.scheduler.wake_at(50.0) == 100.0
    assert scene.look(100.0) == [("device", "a")]


def test_who_wants_nothing_any_more_is_forgotten():
    scene = Scene(a=1)
    device = scene.due("device", 100.0)
    scene.scheduler.drop(device)
    assert scene.scheduler.wake_at(0.0) is None
    assert scene.look(200.0) == []


def test_planning_again_and_again_does_not_pile_up():
    scene = Scene(a=1)
    device = scene.candidate("device")
    for moment in range(10_000):
        scene.scheduler.plan(device, Urgency.USUAL, not_before=1e6 + moment)
    assert len(scene.scheduler._later) < 200


def test_a_live_session_yields_when_somebody_has_waited_too_long():
    scene = Scene(a=1, b=1)
    live = scene.due("live", 0.0, Urgency.LIVE, a=-50.0)
    assert scene.look(0.0) == [("live", "a")]
    scene.due("waits", 10.0, a=-50.0)
    scene.look(20.0)
    assert scene.scheduler.wake_at(20.0) == 10.0 + YIELD_AFTER
    scene.look(10.0 + YIELD_AFTER)
    assert scene.yielded == ["live"]
    # Back in the line, the live one comes behind the one that it made room for.
    scene.scheduler.ended(live)
    scene.scheduler.plan(live, Urgency.LIVE, not_before=10.0 + YIELD_AFTER)
    assert scene.look(11.0 + YIELD_AFTER) == [("waits", "a")]


def test_a_live_session_over_another_scanner_need_not_yield():
    scene = Scene(a=1, b=1)
    scene.due("live", 0.0, Urgency.LIVE, a=-50.0)
    scene.due("busy", 0.0, b=-50.0)
    scene.look(0.0)
    scene.due("waits", 10.0, b=-50.0)
    scene.look(500.0)
    assert scene.yielded == []


def test_strangers_do_not_end_a_live_session():
    scene = Scene(a=1)
    scene.due("live", 0.0, Urgency.LIVE)
    scene.look(0.0)
    scene.due("stranger", 0.0, Urgency.IDENTIFY)
    scene.look(5000.0)
    assert scene.yielded == []


def test_a_stranger_that_waits_keeps_nobody_from_the_slot_of_a_live_session():
    scene = Scene(a=1)
    scene.due("live", 0.0, Urgency.LIVE)
    scene.look(0.0)
    scene.due("stranger", 0.0, Urgency.IDENTIFY)
    scene.due("known", 500.0)
    scene.look(500.0 + YIELD_AFTER)
    assert scene.yielded == ["live"]
