"""Values that a site sets: written, read back, and taken back in the end."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.points import Point

from .device_world import Building, settle

POINTS = (
    Point("setpoint", "°C", writable=True, step=0.5),
    Point("fan", writable=True),
    Point("temperature", "°C"),
)
VALUES: dict[str, Any] = {"setpoint": 20.0, "fan": False, "temperature": 19.5}


@pytest.fixture
def building() -> Building:
    building = Building(POINTS, VALUES)
    building.configure()
    return building


def standing(building: Building, name: str = "setpoint") -> tuple[str | None, str | None]:
    """How a point's set value stands, and the category of its status."""
    state = building.state_of(name)
    status = state.get("status")
    return state.get("value_state"), status and status["category"]


async def test_a_value_is_written_once_and_applied(building: Building) -> None:
    building.set("setpoint", 22.3)
    await building.pass_(10)
    assert building.writes == [("setpoint", 22.3)]
    assert standing(building) == ("applied", None)
    building.set("setpoint", 22.3, 590)
    await building.pass_(10)
    assert len(building.writes) == 1


async def test_what_is_read_back_counts_not_that_it_was_called(building: Building) -> None:
    building.configure(points={"setpoint": {}})
    await building.pass_(1)
    building.ignores = True
    building.set("setpoint", 25)
    await building.pass_(1)
    assert standing(building) == (None, None)
    await building.pass_(2)
    assert standing(building) == ("updating", None)
    building.show("setpoint", 24.9)
    assert standing(building) == ("applied", None)


async def test_what_is_not_there_when_values_go_up_is_being_updated(building: Building) -> None:
    await building.pass_(1)
    building.ignores = True
    building.set("setpoint", 25)
    await settle()
    building.pointset.poll()
    await building.pass_(0)
    assert standing(building, "setpoint")[0] == "updating"


async def test_after_a_minute_it_has_failed_and_is_tried_again(building: Building) -> None:
    building.ignores = True
    building.set("setpoint", 25)
    await building.pass_(61)
    assert standing(building) == ("failure", "pointset.point.failure")
    tried = len(building.writes)
    assert tried > 1
    building.ignores = False
    await building.pass_(61)
    assert len(building.writes) > tried
    assert standing(building) == ("applied", None)


async def test_a_write_that_fails_says_why_and_is_tried_again(building: Building) -> None:
    building.fails = "the bus is down"
    building.set("setpoint", 25)
    await building.pass_(1)
    assert standing(building)[0] == "failure"
    assert "the bus is down" in building.state_of("setpoint")["status"]["message"]
    building.fails = ""
    await building.pass_(20)
    assert standing(building) == ("applied", None)


async def test_a_value_that_is_refused_is_invalid_and_not_tried_again(building: Building) -> None:
    building.refuses = "35 is too hot"
    building.set("setpoint", 35)
    await building.pass_(120)
    assert standing(building) == ("invalid", "pointset.point.invalid")
    assert "35 is too hot" in building.state_of("setpoint")["status"]["message"]
    assert building.writes == [("setpoint", 35)]


async def test_nothing_is_written_that_nobody_marked_writable(building: Building) -> None:
    building.set("temperature", 25)
    await building.pass_(10)
    assert building.writes == []
    assert standing(building, "temperature") == ("invalid", "pointset.point.invalid")


@pytest.mark.parametrize("ends", [None, "soon", 5, "2020-01-01T00:00:00Z"])
async def test_a_value_without_an_end_to_come_is_invalid(building: Building, ends: object) -> None:
    building.configure(set_value_expiry=ends, points={"setpoint": {"set_value": 25}})
    await building.pass_(10)
    assert building.writes == []
    assert standing(building)[0] == "invalid"


async def test_a_value_whose_end_has_passed_changes_nothing(building: Building) -> None:
    await building.pass_(100)
    building.configure(
        -50, set_value_expiry=building.stamp(-10), points={"setpoint": {"set_value": 25}}
    )
    await building.pass_(10)
    assert building.writes == []
    assert standing(building) == (None, None)


@pytest.mark.parametrize("stop", ["soon", 5, {}])
async def test_a_value_that_stops_at_no_moment_is_invalid(building: Building, stop: object) -> None:
    point = {"set_value": 25, "stop_time": stop}
    building.configure(set_value_expiry=building.stamp(600), points={"setpoint": point})
    await building.pass_(10)
    assert building.writes == []
    assert standing(building)[0] == "invalid"


async def test_a_point_stops_before_the_others_where_the_site_says_so(building: Building) -> None:
    point = {"set_value": 25, "stop_time": building.stamp(50)}
    building.configure(set_value_expiry=building.stamp(600), points={"setpoint": point})
    await building.pass_(49)
    assert building.values["setpoint"] == 25
    await building.pass_(2)
    assert building.values["setpoint"] == 20
    later = {"set_value": 25, "stop_time": building.stamp(600)}
    building.configure(set_value_expiry=building.stamp(50), points={"setpoint": later})
    await building.pass_(51)
    assert building.values["setpoint"] == 20


async def test_when_its_end_comes_the_point_goes_back(building: Building) -> None:
    building.set("setpoint", 25, 100)
    await building.pass_(99)
    assert building.values["setpoint"] == 25
    before = building.pointset.etag
    await building.pass_(2)
    assert building.values["setpoint"] == 20.0
    assert standing(building) == (None, None)
    assert building.pointset.etag != before
    assert building.pointset.memory == {}


async def test_a_later_value_ends_where_the_first_one_began(building: Building) -> None:
    building.set("setpoint", 25, 100)
    await building.pass_(10)
    building.set("setpoint", 23, 100)
    await building.pass_(101)
    assert building.values["setpoint"] == 20.0


async def test_another_end_takes_the_place_of_the_first(building: Building) -> None:
    building.set("setpoint", 25, 100)
    await building.pass_(50)
    building.set("setpoint", 25, 100)
    await building.pass_(75)
    assert building.values["setpoint"] == 25
    assert len(building.writes) == 1
    await building.pass_(30)
    assert building.values["setpoint"] == 20.0


@pytest.mark.parametrize("config", [{"points": {"setpoint": {}}}, {"points": {}}, {}])
async def test_a_value_that_is_no_longer_wanted_is_taken_back(
    building: Building, config: dict[str, Any]
) -> None:
    building.set("setpoint", 25)
    await building.pass_(10)
    building.configure(**config)
    await building.pass_(10)
    assert building.values["setpoint"] == 20.0


async def test_whoever_sets_it_meanwhile_keeps_what_he_set(building: Building) -> None:
    building.set("setpoint", 25, 100)
    await building.pass_(10)
    building.show("setpoint", 18)
    assert standing(building)[0] == "applied"
    await building.pass_(5)
    assert standing(building) == ("overridden", "pointset.point.overridden")
    await building.pass_(100)
    assert building.values["setpoint"] == 18
    assert building.writes == [("setpoint", 25)]
    assert standing(building) == (None, None)


async def test_a_moment_of_something_else_is_nobodys_doing(building: Building) -> None:
    building.set("setpoint", 25)
    await building.pass_(10)
    building.show("setpoint", 20)
    await building.pass_(1)
    building.show("setpoint", 25)
    await building.pass_(20)
    assert standing(building) == ("applied", None)


async def test_asking_anew_for_what_was_overridden_writes_it_anew(building: Building) -> None:
    building.set("setpoint", 25)
    await building.pass_(10)
    building.show("setpoint", 18)
    await building.pass_(10)
    building.set("setpoint", 25)
    await building.pass_(10)
    assert building.values["setpoint"] == 25
    building.configure()
    await building.pass_(10)
    assert building.values["setpoint"] == 18


async def test_a_config_for_another_state_writes_nothing(building: Building) -> None:
    building.set("setpoint", 25, state_etag="0123")
    await building.pass_(10)
    assert building.writes == []
    assert standing(building)[0] == "invalid"
    building.set("setpoint", 25, state_etag=building.pointset.etag)
    await building.pass_(10)
    assert standing(building) == ("applied", None)
    held = building.pointset.etag
    building.set("setpoint", 21, 300, state_etag="0123")
    await building.pass_(10)
    assert building.values["setpoint"] == 25
    assert standing(building)[0] == "invalid"
    assert building.pointset.etag != held
    await building.pass_(600)
    assert building.values["setpoint"] == 20.0


async def test_the_same_config_again_is_not_stale(building: Building) -> None:
    etag = building.pointset.etag
    ends = building.stamp(600)
    for _ in range(2):
        building.configure(
            state_etag=etag, set_value_expiry=ends, points={"setpoint": {"set_value": 25}}
        )
        await building.pass_(10)
        assert standing(building) == ("applied", None)


async def test_a_new_value_waits_for_the_write_that_is_under_way(building: Building) -> None:
    building.holds = asyncio.Event()
    building.set("setpoint", 25)
    await settle()
    building.set("setpoint", 23)
    await settle()
    assert building.writes == [("setpoint", 25)]
    building.holds.set()
    await building.pass_(5)
    assert building.writes == [("setpoint", 25), ("setpoint", 23)]
    assert standing(building) == ("applied", None)


async def test_it_goes_back_after_a_restart_too(building: Building) -> None:
    building.set("setpoint", 25, 100)
    await building.pass_(10)
    building.restart()
    assert standing(building) == ("applied", None)
    await building.pass_(100)
    assert building.values["setpoint"] == 20.0
    assert len(building.writes) == 2


async def test_a_restart_writes_nothing_again(building: Building) -> None:
    ends = building.stamp(600)
    config = {"set_value_expiry": ends, "points": {"setpoint": {"set_value": 25}}}
    building.configure(**config)
    await building.pass_(10)
    building.restart()
    building.configure(**config)
    await building.pass_(60)
    assert len(building.writes) == 1
    assert standing(building) == ("applied", None)


async def test_whoever_set_it_during_a_restart_keeps_it(building: Building) -> None:
    building.set("setpoint", 25, 100)
    await building.pass_(10)
    building.values["setpoint"] = 18
    building.restart()
    await building.pass_(10)
    assert standing(building)[0] == "overridden"
    await building.pass_(100)
    assert building.values["setpoint"] == 18


@pytest.mark.parametrize(
    "memory",
    [
        {"setpoint": 1},
        {"setpoint": {"point": "gone"}},
        {"temperature": {"point": "temperature", "asked": 1, "target": 1}},
        {"setpoint": {"point": "setpoint", "asked": [], "target": 1, "ends": "x", "state": "?"}},
    ],
)
async def test_a_memory_that_makes_no_sense_is_left_out(
    building: Building, memory: dict[str, Any]
) -> None:
    building.pointset.restore(memory)
    assert building.pointset.memory == {}


async def test_an_end_comes_also_when_the_clock_is_set(building: Building) -> None:
    building.set("setpoint", 25, 3600)
    await building.pass_(10)
    moment = building.pointset.writeback.wake_at()
    # Nobody is told that the clock is set: it has to be looked at from time to time.
    assert moment is not None
    assert moment <= building.time + 60
    building.ahead = timedelta(hours=2)
    await building.pass_(60)
    assert building.values["setpoint"] == 20.0


async def test_somebody_who_holds_on_is_not_fought_for_ever(building: Building) -> None:
    building.set("setpoint", 25, 50)
    await building.pass_(10)
    building.ignores = True
    await building.pass_(3600)
    assert len(building.writes) == 1 + 5
    assert building.state_of("setpoint")["status"]["category"] == "pointset.point.failure"


async def test_what_was_given_up_goes_back_once_a_site_lets_go_of_it_again(
    building: Building,
) -> None:
    building.set("setpoint", 25, 50)
    await building.pass_(10)
    building.ignores = True
    await building.pass_(3600)
    building.ignores = False
    await building.pass_(3600)
    assert building.values["setpoint"] == 25.0
    building.configure()
    await building.pass_(10)
    assert building.values["setpoint"] == 20.0
    assert "status" not in building.state_of("setpoint")


async def test_a_point_that_is_away_goes_back_when_it_is_there_again(building: Building) -> None:
    building.set("setpoint", 25, 50)
    await building.pass_(10)
    building.fails = "away"
    await building.pass_(7200)
    building.fails = ""
    await building.pass_(70)
    assert building.values["setpoint"] == 20.0
    assert building.pointset.memory == {}


async def test_a_point_that_was_away_goes_back_to_what_it_shows_first(building: Building) -> None:
    building.values["setpoint"] = None
    building.set("setpoint", 25, 100)
    await building.pass_(5)
    assert standing(building)[0] == "failure"
    building.show("setpoint", 19.0)
    await building.pass_(20)
    assert building.values["setpoint"] == 25
    assert standing(building) == ("applied", None)
    await building.pass_(100)
    assert building.values["setpoint"] == 19.0


SECONDS = st.sampled_from([0, 0.5, 1, 3, 5, 20, 70, 130])
STEPS = st.one_of(
    st.tuples(
        st.just("set"),
        st.sampled_from([21.0, 23.5, 25.0]),
        st.sampled_from([-5, 1, 30, 100, 1000]),
        st.sampled_from(["", "fits", "stale"]),
    ),
    st.tuples(st.just("clear")),
    st.tuples(st.just("fail"), st.sampled_from(["", "down"])),
    st.tuples(st.just("ignore"), st.booleans()),
    st.tuples(st.just("refuse"), st.sampled_from(["", "no"])),
    st.tuples(st.just("hold")),
    st.tuples(st.just("release")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("away"), st.booleans()),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(STEPS, SECONDS), max_size=12))
def test_whatever_happens_it_goes_back_in_the_end(steps: list[tuple[Any, float]]) -> None:
    async def scenario() -> None:
        building = Building(POINTS, VALUES)
        building.configure()
        for step, seconds in steps:
            await take(building, step)
            await building.pass_(seconds)
            value_state, category = standing(building)
            assert value_state in (None, "updating", "applied", "overridden", "invalid", "failure")
            if value_state == "applied":
                assert building.values["setpoint"] in (21.0, 23.5, 25.0, None)
            if value_state in ("overridden", "invalid", "failure"):
                assert category == f"pointset.point.{value_state}"
        await take(building, ("release",))
        building.fails = building.refuses = ""
        building.ignores = False
        if building.values["setpoint"] is None:
            building.show("setpoint", 20.0)
        await building.pass_(2000)
        assert building.values["setpoint"] == 20.0
        assert building.pointset.memory == {}
        assert all(name == "setpoint" for name, _value in building.writes)

    asyncio.run(scenario())


async def take(building: Building, step: tuple[Any, ...]) -> None:
    match step:
        case ("set", value, seconds, etag):
            more = {}
            if etag:
                more = {"state_etag": building.pointset.etag if etag == "fits" else "stale"}
            building.configure(
                -10,
                set_value_expiry=building.stamp(seconds),
                points={"setpoint": {"set_value": value}},
                **more,
            )
        case ("clear",):
            building.configure(points={"setpoint": {}})
        case ("fail", text):
            building.fails = text
        case ("ignore", ignores):
            building.ignores = ignores
        case ("refuse", text):
            building.refuses = text
        case ("hold",):
            building.holds = building.holds or asyncio.Event()
        case ("release",):
            if building.holds is not None:
                building.holds.set()
                building.holds = None
            await settle()
        case ("restart",):
            await take(building, ("release",))
            await settle()
            building.restart()
        case ("away", True):
            building.values["setpoint"] = None
            building.pointset.report("setpoint", None)
        case ("away", False) if building.values["setpoint"] is None:
            building.show("setpoint", 20.0)
