"""The points of a device: which count, when they go up, and what is said of them."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.points import NAME, Point, moved, point_name, same

from .device_world import START, Building

POINTS = (
    Point("temperature", "°C", reference="sensor.temperature"),
    Point("running", reference="binary_sensor.running"),
    Point("mode", reference="select.mode", writable=True),
)
VALUES: dict[str, Any] = {"temperature": 20.5, "running": True, "mode": "auto"}


@pytest.fixture
def building() -> Building:
    return Building(POINTS, VALUES)


async def test_all_points_go_up_after_the_first_config_and_then_at_the_rate(
    building: Building,
) -> None:
    building.configure(sample_rate_sec=8)
    await building.pass_(20)
    assert [at for at, _values, _partial in building.sent] == [0, 8, 16]
    assert building.sent[0] == (0, VALUES, False)


async def test_without_a_config_all_points_go_up_every_five_minutes(building: Building) -> None:
    await building.pass_(700)
    assert [at for at, *_ in building.sent] == [300, 600]


@pytest.mark.parametrize(("rate", "times"), [(0, [0, 300]), (-1, []), ("often", [0, 300])])
async def test_an_odd_rate_never_floods(building: Building, rate: object, times: list[int]) -> None:
    building.configure(sample_rate_sec=rate)
    await building.pass_(400)
    assert [at for at, *_ in building.sent] == times
    assert ("status" in building.pointset.state()) == (rate == "often")


async def test_a_change_goes_up_at_once_if_it_is_large_enough(building: Building) -> None:
    building.configure(
        sample_rate_sec=100, points={"temperature": {"cov_increment": 0.5}, "mode": {}}
    )
    await building.pass_(10)
    building.show("temperature", 20.9)
    building.show("mode", "eco")
    await building.pass_(10)
    assert len(building.sent) == 1
    building.show("temperature", 21.0)
    await building.pass_(10)
    assert building.sent[1:] == [(20, {"temperature": 21.0}, True)]


async def test_a_change_back_within_the_limit_does_not_go_up(building: Building) -> None:
    building.configure(
        sample_rate_sec=100, sample_limit_sec=10, points={"temperature": {"cov_increment": 1}}
    )
    await building.pass_(1)
    building.show("temperature", 25)
    await building.pass_(1)
    building.show("temperature", 20.5)
    await building.pass_(50)
    assert len(building.sent) == 1


async def test_the_points_of_a_config_are_those_that_count(building: Building) -> None:
    building.configure(points={"temperature": {}, "pressure": {}})
    await building.pass_(1)
    assert building.sent == [(0, {"temperature": 20.5}, False)]
    points = building.pointset.state()["points"]
    assert set(points) == {"temperature", "pressure"}
    status = points["pressure"]["status"]
    assert (status["category"], status["level"]) == ("pointset.point.invalid", 500)
    building.configure(points={"temperature": {}})
    assert set(building.pointset.state()["points"]) == {"temperature"}
    building.configure(points={})
    assert building.pointset.state()["points"] == {}
    building.configure()
    assert set(building.pointset.state()["points"]) == set(VALUES)


async def test_a_site_may_call_a_point_by_its_own_name(building: Building) -> None:
    building.configure(
        points={"zone_temp": {"ref": "sensor.temperature", "units": "°C", "cov_increment": 1}}
    )
    await building.pass_(1)
    building.show("temperature", 30)
    await building.pass_(1)
    assert [values for _at, values, _partial in building.sent] == [
        {"zone_temp": 20.5},
        {"zone_temp": 30},
    ]
    assert building.state_of("zone_temp") == {}


async def test_a_reference_to_something_else_is_reported(building: Building) -> None:
    building.configure(points={"temperature": {"ref": "AI:1"}, "again": {"ref": "select.mode"}})
    assert building.state_of("temperature")["status"]["category"] == "pointset.point.failure"
    assert "status" not in building.state_of("again")
    building.configure(points={"mode": {}, "again": {"ref": "select.mode"}})
    assert building.state_of("again")["status"]["category"] == "pointset.point.invalid"


async def test_units_are_told_where_they_are_not_those_that_are_wanted(building: Building) -> None:
    building.configure(points={"temperature": {"units": "°F"}})
    assert building.state_of("temperature") == {"units": "°C"}
    building.configure(points={"temperature": {"units": "°C"}})
    assert building.state_of("temperature") == {}


async def test_a_point_that_shows_nothing_makes_an_event_partial(building: Building) -> None:
    building.show("temperature", None)
    building.configure()
    await building.pass_(1)
    assert building.sent == [(0, {"running": True, "mode": "auto"}, True)]


async def test_a_device_of_which_nothing_is_known_sends_nothing() -> None:
    building = Building(POINTS, {})
    building.configure(sample_rate_sec=1)
    await building.pass_(10)
    assert building.events == []


async def test_a_metric_is_a_point_once_it_has_come(building: Building) -> None:
    building.configure(points={"battery": {}, "temperature": {}})
    assert "status" in building.state_of("battery")
    building.pointset.report("battery", 3.1, units="V")
    assert building.state_of("battery") == {"units": "V"}
    building.pointset.report("Not A Name", 1)
    assert "Not A Name" not in building.pointset.points
    await building.pass_(1)
    assert building.sent[-1][1] == {"battery": 3.1, "temperature": 20.5}


async def test_what_went_up_already_does_not_go_again_for_its_change(building: Building) -> None:
    building.configure(points={"battery": {"cov_increment": 0}})
    building.pointset.report("battery", 3.1, published=True)
    await building.pass_(1)
    sent = len(building.sent)
    building.pointset.report("battery", 3.0, published=True)
    await building.pass_(1)
    building.pointset.report("battery", 2.9)
    await building.pass_(1)
    assert [values for _at, values, _partial in building.sent[sent:]] == [{"battery": 2.9}]


async def test_whoever_asks_gets_all_points(building: Building) -> None:
    building.configure(sample_rate_sec=100)
    await building.pass_(10)
    building.show("temperature", 7)
    building.pointset.poll()
    await building.pass_(10)
    assert building.sent[1] == (10, {**VALUES, "temperature": 7}, False)


async def test_infinity_and_other_things_never_go_up(building: Building) -> None:
    building.configure(points={"battery": {}})
    for odd in (float("inf"), float("nan"), None, {}, 10**400):
        building.pointset.report("battery", 1)
        building.pointset.report("battery", odd)
        assert building.pointset.present("battery") is None


def test_known_points_are_enumerated(building: Building) -> None:
    assert building.pointset.enumeration["mode"] == {"writable": True, "ref": "select.mode"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=8,
)
POINT_CONFIG = JSON | st.fixed_dictionaries(
    {},
    optional={
        "ref": JSON | st.sampled_from(["sensor.temperature", "select.mode"]),
        "units": JSON,
        "set_value": JSON,
        "cov_increment": JSON,
    },
)
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "state_etag": JSON,
        "set_value_expiry": JSON | st.just("2026-03-01T13:00:00Z"),
        "sample_rate_sec": JSON,
        "sample_limit_sec": JSON,
        "points": JSON
        | st.dictionaries(
            st.sampled_from(["temperature", "mode", "other", "Bad", ""]), POINT_CONFIG, max_size=4
        ),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CONFIG, min_size=1, max_size=3))
def test_any_config_leaves_a_state_that_can_be_sent(configs: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        building = Building(POINTS, VALUES)
        for config in configs:
            building.pointset.configure(config, START)
            await building.pass_(5)
            state = building.pointset.state()
            assert len(state["state_etag"]) <= 32
            for name, point in state["points"].items():
                assert NAME.fullmatch(name)
                assert None not in point.values()
                if point.get("value_state") in ("invalid", "failure", "overridden"):
                    assert point["status"]["level"] >= 400
        assert len(building.events) < 100

    asyncio.run(scenario())


@given(st.text(max_size=30))
def test_any_text_makes_a_name_or_none(text: str) -> None:
    name = point_name(text)
    assert name == "" or NAME.fullmatch(name)
    assert point_name(name) == name


def test_numbers_are_compared_as_near_as_they_can_be_set() -> None:
    assert same(37.3, 37.5, 0.5)
    assert not same(37.3, 38.0, 0.5)
    assert same(1, 1.0)
    assert not same(1, True)
    assert same("on", "on")
    assert not same(0.0, None)
    assert moved(None, 1, 5)
    assert not moved(1.0, 1.4, 0.5)
    assert moved(1.0, 1.5, 0.5)
    assert moved("a", "b", 5)
    assert moved(0, False, 5)
    assert not moved(1, 1, 0)
