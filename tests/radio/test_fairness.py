"""Whatever the mix, every device that is heard gets its turn within the bound that is stated."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.radio_world import Habit, RadioWorld, SimulatedDevice
from custom_components.ulogger.radio.scheduler import Scheduler, longest_wait
from custom_components.ulogger.radio.urgency import Urgency

SESSION = 60.0
"""Seconds that the longest session takes in here."""
HOURS = 3 * 3600.0
SOURCES = ("a", "b", "c")


def steady(seconds: float, fails: float) -> Habit:
    def session(random: Random) -> tuple[float, bool]:
        return seconds, random.random() >= fails

    return Habit(session)


@st.composite
def habits(draw: st.DrawFn) -> Habit:
    seconds = draw(st.floats(0.1, SESSION))
    fails = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    urgency = draw(st.sampled_from(Urgency))
    return Habit(
        steady(seconds, fails).session,
        interval=draw(st.sampled_from([60.0, 900.0, 6 * 3600.0])),
        first_due=draw(st.floats(0, 1800)),
        urgency=urgency,
        live=urgency is Urgency.LIVE,
        asked_every=draw(st.sampled_from([None, None, None, 1.0, 45.0])),
    )


signals = st.dictionaries(st.sampled_from(SOURCES), st.floats(-100, -30), min_size=1)
fleets = st.lists(st.tuples(signals, habits()), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(
    fleets,
    st.fixed_dictionaries({source: st.integers(1, 3) for source in SOURCES}),
    st.integers(0, 3),
    st.integers(0, 1000),
)
def test_every_device_that_is_heard_begins_within_the_bound(fleet, slots, reserve, seed):
    devices = [SimulatedDevice(n, hears, habit) for n, (hears, habit) in enumerate(fleet)]
    scheduler = Scheduler()
    scheduler.reserve = reserve
    world = RadioWorld(scheduler, slots, devices, seed=seed)
    world.run(HOURS)

    usable = {source: max(1, count - reserve) for source, count in slots.items()}
    assert all(world.most_at_once[source] <= usable[source] for source in SOURCES)
    watched = {source for each in devices if each.habit.live for source in each.hears}
    for device in devices:
        if device.habit.urgency is Urgency.IDENTIFY and watched & device.hears.keys():
            # What is left: a stranger ends nobody's live session.
            continue
        least = min(usable[source] for source in device.hears)
        identifies = 300.0 if device.habit.urgency is Urgency.IDENTIFY else 0.0
        bound = longest_wait(len(devices), least, SESSION) + identifies
        waits = device.begin_waits
        if device.due <= world.now and device in world._waiting:
            waits = [*waits, world.now - device.due]
        assert max(waits, default=0.0) <= bound


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 50))
def test_one_that_is_asked_for_all_the_time_does_not_starve_the_others(seed):
    chatty = Habit(steady(20.0, 0.0).session, interval=60.0, asked_every=1.0)
    hears = {"a": -50.0}
    devices = [SimulatedDevice(n, hears, chatty) for n in range(3)]
    quiet = SimulatedDevice(9, hears, steady(5.0, 0.0))
    world = RadioWorld(Scheduler(), {"a": 1}, [*devices, quiet], seed=seed)
    world.run(HOURS)
    assert quiet.collected >= 6
    assert max(quiet.begin_waits) <= longest_wait(4, 1, 20.0)


@settings(max_examples=20, deadline=None)
@given(fleets, st.integers(0, 100))
def test_nobody_waits_beside_a_free_slot(fleet, seed):
    devices = [SimulatedDevice(n, hears, habit) for n, (hears, habit) in enumerate(fleet)]
    world = RadioWorld(Scheduler(), dict.fromkeys(SOURCES, 1), devices, seed=seed)
    world.run(3600.0)
    assert world.slot_use > 0.999
