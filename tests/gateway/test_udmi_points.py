"""Entities as points: what they show, how a site sets them, and what it may not set."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.climate.const import HVACMode
from homeassistant.components.demo import lock as demo_lock
from homeassistant.components.demo.climate import DemoClimate
from homeassistant.components.demo.cover import DemoCover
from homeassistant.components.demo.fan import DemoPercentageFan
from homeassistant.components.demo.humidifier import DemoHumidifier
from homeassistant.components.demo.light import DemoLight
from homeassistant.components.demo.lock import DemoLock
from homeassistant.components.demo.number import DemoNumber
from homeassistant.components.demo.select import DemoSelect
from homeassistant.components.demo.switch import DemoSwitch
from homeassistant.components.demo.text import DemoText
from homeassistant.components.demo.water_heater import DemoWaterHeater
from homeassistant.components.fan.const import FanEntityFeature
from homeassistant.components.light.const import ColorMode
from homeassistant.core import HomeAssistant, State
from homeassistant.exceptions import (
    HomeAssistantError,
    ServiceNotFound,
    ServiceValidationError,
)
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.entity import Entity
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    MockEntityPlatform,
    async_fire_time_changed,
    async_mock_service,
)

from custom_components.ulogger.cloud.udmi.points import InvalidValue, Value
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway.settable_entities import SETTABLE, setting_of, shown
from custom_components.ulogger.gateway.udmi_points import (
    DevicePoints,
    EntityPoints,
    NotThere,
    chosen_of,
)
from custom_components.ulogger.model.heard import MetricValue

pytestmark = pytest.mark.as_installed


@pytest.mark.parametrize(
    ("entity_id", "state", "attributes", "value"),
    [
        ("sensor.a", "21.5", {}, 21.5),
        ("sensor.a", "-4", {}, -4),
        ("sensor.a", "1e3", {}, 1000.0),
        ("sensor.a", "1_000", {}, "1_000"),
        ("sensor.a", "inf", {}, "inf"),
        ("sensor.a", "99999999999999999999", {}, "99999999999999999999"),
        ("sensor.a", "sunny", {}, "sunny"),
        ("sensor.a", "unknown", {}, None),
        ("sensor.a", "unavailable", {}, None),
        ("binary_sensor.a", "on", {}, True),
        ("person.a", "home", {}, "home"),
        ("select.a", "on", {}, "on"),
        ("select.a", "3", {}, "3"),
        ("input_text.a", "5", {}, "5"),
        ("number.a", "7.5", {}, 7.5),
        ("switch.a", "off", {}, False),
        ("light.a", "on", {"supported_color_modes": ["onoff"]}, True),
        ("light.a", "on", {"supported_color_modes": ["hs"], "brightness": 128}, 50),
        ("light.a", "off", {"supported_color_modes": ["hs"], "brightness": None}, 0),
        ("climate.a", "heat", {"supported_features": 1, "temperature": 21.5}, 21.5),
        ("climate.a", "heat_cool", {"supported_features": 1, "temperature": None}, None),
        ("climate.a", "off", {}, "off"),
        ("water_heater.a", "eco", {}, "eco"),
        ("cover.a", "open", {"supported_features": 4, "current_position": 30}, 30),
        ("cover.a", "opening", {"supported_features": 3}, "opening"),
        ("fan.a", "off", {"supported_features": 1, "percentage": 33}, 0),
        ("fan.a", "on", {}, True),
        ("lock.a", "locked", {}, "locked"),
    ],
)
def test_every_entity_shows_one_value(
    entity_id: str, state: str, attributes: Mapping[str, Any], value: Value | None
) -> None:
    found = shown(State(entity_id, state, attributes))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("entity_id", "attributes", "values"),
    [
        ("number.a", {"min": 5, "max": 10}, [4, 11, "7", True]),
        ("climate.a", {"supported_features": 1, "min_temp": 7, "max_temp": 35}, [6.9, "heat"]),
        ("climate.a", {"hvac_modes": ["off", "heat"]}, ["cool", 5]),
        ("switch.a", {}, [1, "on"]),
        ("light.a", {"supported_color_modes": ["hs"]}, [-1, 101, True]),
        ("cover.a", {"supported_features": 4}, ["open", 101]),
        ("cover.a", {}, ["ajar", 50]),
        ("lock.a", {}, ["open", True]),
        ("select.a", {"options": ["a", "b"]}, ["c", 1]),
        ("input_text.a", {}, [5, True]),
    ],
)
def test_what_an_entity_can_never_show_is_invalid(
    entity_id: str, attributes: Mapping[str, Any], values: list[Value]
) -> None:
    setting = setting_of(State(entity_id, "x", attributes))
    assert setting is not None
    for value in values:
        with pytest.raises(InvalidValue):
            setting.call(value)


def test_sensors_are_not_set() -> None:
    assert setting_of(State("sensor.a", "1")) is None
    assert "sensor" not in SETTABLE


# Entities of Home Assistant


def climate() -> Entity:
    return DemoClimate(
        "climate",
        "a",
        21.0,
        "°C",
        None,
        20.0,
        None,
        None,
        None,
        None,
        None,
        HVACMode.HEAT,
        None,
        None,
        None,
        [HVACMode.HEAT, HVACMode.OFF],
    )


def light() -> Entity:
    modes = {ColorMode.COLOR_TEMP}
    return DemoLight("light", "a", True, brightness=255, ct=3000, supported_color_modes=modes)


ENTITIES: dict[str, tuple[Callable[[HomeAssistant], Entity], list[Value]]] = {
    "climate": (lambda _: climate(), [23.5, 19]),
    "cover": (lambda hass: DemoCover(hass, "cover", "a"), ["closed", "open"]),
    "fan": (
        lambda hass: DemoPercentageFan(
            hass, "fan", "a", FanEntityFeature.SET_SPEED | FanEntityFeature.TURN_OFF, None
        ),
        [33, 0, 100],
    ),
    "humidifier": (lambda _: DemoHumidifier("a", None, 50), [60]),
    "light": (lambda _: light(), [37, 0, 100]),
    "lock": (lambda _: DemoLock("a", "locked"), ["unlocked", "locked"]),
    "number": (
        lambda _: DemoNumber(
            "number", "a", 40.0, None, False, native_min_value=0, native_max_value=100
        ),
        [42.0, 7],
    ),
    "select": (lambda _: DemoSelect("select", "a", "eco", ["eco", "boost"], "a"), ["boost"]),
    "switch": (lambda _: DemoSwitch("switch", "a", False, False), [True, False]),
    "text": (lambda _: DemoText("text", "a", "before"), ["after", ""]),
    "water_heater": (
        lambda _: DemoWaterHeater("heater", "a", 50, "°C", False, "eco", 1.0),
        [55],
    ),
}
HELPERS: dict[str, tuple[dict[str, Any], list[Value]]] = {
    "input_boolean": ({}, [True, False]),
    "input_number": ({"min": 0, "max": 100, "step": 0.5}, [37.3, 5]),
    "input_select": ({"options": ["a", "b"]}, ["b"]),
    "input_text": ({"initial": "x"}, ["y"]),
}


async def add_entity(hass: HomeAssistant, domain: str) -> str:
    """Have one entity of a domain, and return its ID."""
    if domain in HELPERS:
        assert await async_setup_component(hass, domain, {domain: {"a": HELPERS[domain][0]}})
        await hass.async_block_till_done()
        return f"{domain}.a"
    assert await async_setup_component(hass, domain, {})
    entity = ENTITIES[domain][0](hass)
    platform = MockEntityPlatform(hass, domain=domain, platform_name="test")
    await platform.async_add_entities([entity])
    await hass.async_block_till_done()
    return entity.entity_id


@pytest.mark.parametrize("domain", [*ENTITIES, *HELPERS])
async def test_an_entity_of_every_kind_shows_what_it_was_set_to(
    hass: HomeAssistant, domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_lock, "LOCK_UNLOCK_DELAY", 0)
    entity_id = await add_entity(hass, domain)
    points = EntityPoints(hass, [{"point": "a", "entity": entity_id, "writable": True}])
    point = points.points[0]
    for value in (HELPERS.get(domain) or ENTITIES[domain])[1]:
        assert points.check("a", value) == value
        await points.write("a", value)
        await hass.async_block_till_done()
        for _ in range(20):
            if points.shows(point, value, points.read("a")):
                break
            async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=1))
            await hass.async_block_till_done()
        assert points.shows(point, value, points.read("a")), (value, points.read("a"))


def one_number(hass: HomeAssistant, value: str = "20.0") -> None:
    hass.states.async_set(
        "number.setpoint",
        value,
        {"min": 10, "max": 30, "step": 0.5, "unit_of_measurement": "°C"},
    )


CHOSEN = {"point": "setpoint", "entity": "number.setpoint", "writable": True}


async def test_an_entity_that_nobody_marked_is_never_set(hass: HomeAssistant) -> None:
    one_number(hass)
    calls = async_mock_service(hass, "number", "set_value")
    points = EntityPoints(hass, [{**CHOSEN, "writable": False}])
    with pytest.raises(InvalidValue, match="marked it writable"):
        points.check("setpoint", 25)
    with pytest.raises(InvalidValue, match="marked it writable"):
        await points.write("setpoint", 25)
    assert not points.points[0].writable
    assert calls == []


async def test_an_entity_that_is_away_is_not_set_and_may_be_later(hass: HomeAssistant) -> None:
    one_number(hass, "unavailable")
    calls = async_mock_service(hass, "number", "set_value")
    points = EntityPoints(hass, [CHOSEN])
    assert points.check("setpoint", 25) == 25
    with pytest.raises(NotThere):
        await points.write("setpoint", 25)
    hass.states.async_remove("number.setpoint")
    with pytest.raises(NotThere):
        await points.write("setpoint", 25)
    assert calls == []


async def test_a_point_that_can_not_be_set_is_refused(hass: HomeAssistant) -> None:
    hass.states.async_set("sensor.a", "5")
    points = EntityPoints(hass, [{"point": "a", "entity": "sensor.a", "writable": True}])
    with pytest.raises(InvalidValue, match="sensor"):
        points.check("a", 5)
    with pytest.raises(InvalidValue, match="sensor"):
        await points.write("a", 5)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ServiceValidationError("out of range"), InvalidValue),
        (HomeAssistantError("no answer"), HomeAssistantError),
    ],
)
async def test_what_an_action_raises_is_final_only_if_the_value_is_wrong(
    hass: HomeAssistant, raised: Exception, expected: type[Exception]
) -> None:
    one_number(hass)
    async_mock_service(hass, "number", "set_value", raise_exception=raised)
    with pytest.raises(expected, match=str(raised)):
        await EntityPoints(hass, [CHOSEN]).write("setpoint", 25)


async def test_a_value_is_compared_as_near_as_the_entity_can_be_set(hass: HomeAssistant) -> None:
    one_number(hass)
    points = EntityPoints(hass, [CHOSEN])
    assert points.shows(points.points[0], 25.3, 25.5)
    assert not points.shows(points.points[0], 25.3, 26.0)
    hass.states.async_remove("number.setpoint")
    assert not points.shows(points.points[0], 25.3, 25.5)


async def test_an_action_that_is_not_there_may_be_later(hass: HomeAssistant) -> None:
    one_number(hass)
    with pytest.raises(ServiceNotFound):
        await EntityPoints(hass, [CHOSEN]).write("setpoint", 25)


async def test_units_come_from_the_form_or_the_entity(hass: HomeAssistant) -> None:
    one_number(hass)
    assert EntityPoints(hass, [CHOSEN]).points[0].units == "°C"
    named = EntityPoints(hass, [{**CHOSEN, "units": "Degrees-Celsius"}])
    assert named.points[0].units == "Degrees-Celsius"
    assert EntityPoints(hass, [{"point": "b", "entity": "sensor.b"}]).points[0].units == ""


# The points of a device


class Proxy:
    """The points of a device, and what they publish."""

    def __init__(
        self,
        device: DeviceCoordinator,
        *chosen: Mapping[str, Any],
        memory: Mapping[str, Any] | None = None,
    ) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.memory: Mapping[str, Any] = memory or {}
        self._device = device
        self._chosen = chosen
        self.make()

    def make(self) -> None:
        self.points = DevicePoints(
            self._device,
            self._chosen,
            changed=lambda: None,
            publish=lambda _subfolder, event: self.events.append(event),
            keep=self._keep,
            memory=self.memory,
        )
        self.points.start()

    def _keep(self) -> None:
        self.memory = self.points.block.memory

    def set(self, value: Value, seconds: float = 600) -> None:
        ends = dt_util.utcnow() + timedelta(seconds=seconds)
        self.points.block.configure(
            {
                "set_value_expiry": ends.isoformat(),
                "points": {"setpoint": {"set_value": value}},
            },
            dt_util.utcnow(),
        )

    async def settled(self) -> None:
        await self.points.block.writeback.async_wait()
        await self._device.hass.async_block_till_done()

    @property
    def standing(self) -> str | None:
        state = self.points.block.state()["points"]["setpoint"]
        value_state: str | None = state.get("value_state")
        return value_state


async def test_a_site_sets_an_entity_and_gives_it_back(
    hass: HomeAssistant, device: DeviceCoordinator, freezer: FrozenDateTimeFactory
) -> None:
    entity_id = await add_entity(hass, "input_number")
    proxy = Proxy(device, {"point": "setpoint", "entity": entity_id, "writable": True})
    await hass.services.async_call(
        "input_number", "set_value", {"entity_id": entity_id, "value": 20}, blocking=True
    )
    proxy.set(25, 60)
    await proxy.settled()
    assert hass.states.get(entity_id).state == "25.0"
    assert proxy.standing == "applied"
    freezer.tick(61)
    proxy.points.block.wake()
    await proxy.settled()
    assert hass.states.get(entity_id).state == "20.0"
    assert proxy.standing is None
    assert proxy.memory == {}
    proxy.points.stop()


async def test_a_value_that_was_set_outlives_a_restart(
    hass: HomeAssistant, device: DeviceCoordinator, freezer: FrozenDateTimeFactory
) -> None:
    entity_id = await add_entity(hass, "input_number")
    proxy = Proxy(device, {"point": "setpoint", "entity": entity_id, "writable": True})
    before = hass.states.get(entity_id).state
    proxy.set(25, 60)
    await proxy.settled()
    proxy.points.stop()
    proxy.make()
    assert proxy.standing == "applied"
    freezer.tick(61)
    proxy.points.block.wake()
    await proxy.settled()
    assert hass.states.get(entity_id).state == before
    proxy.points.stop()


async def test_what_a_site_lets_go_of_goes_back(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    entity_id = await add_entity(hass, "input_number")
    proxy = Proxy(device, {"point": "setpoint", "entity": entity_id, "writable": True})
    before = hass.states.get(entity_id).state
    proxy.set(25)
    await proxy.settled()
    proxy.points.release()
    await proxy.settled()
    assert hass.states.get(entity_id).state == before
    assert proxy.memory == {}


async def test_what_had_gone_back_before_a_restart_is_done(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    one_number(hass)
    held = {
        "point": "setpoint",
        "asked": 25,
        "target": 20.0,
        "ends": "2026-01-01T00:00:00Z",
        "baseline": 20.0,
        "state": "",
        "reverting": True,
    }
    proxy = Proxy(device, CHOSEN, memory={"setpoint": held})
    assert proxy.memory == {}
    proxy.points.stop()


async def test_somebody_at_the_thermostat_overrides_a_site(
    hass: HomeAssistant, device: DeviceCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity_id = await add_entity(hass, "input_number")
    proxy = Proxy(device, {"point": "setpoint", "entity": entity_id, "writable": True})
    proxy.set(25)
    await proxy.settled()
    await hass.services.async_call(
        "input_number", "set_value", {"entity_id": entity_id, "value": 18}, blocking=True
    )
    moment = proxy.points.block.wake_at()
    assert moment is not None
    monkeypatch.setattr(proxy.points.block.writeback, "_clock", lambda: moment + 10)
    proxy.points.block.wake()
    assert proxy.standing == "overridden"
    proxy.points.stop()


async def test_metrics_and_counters_of_a_device_are_points(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    device.heard.metrics["Battery_mv"] = MetricValue(3100)
    device.heard.errors = 3
    proxy = Proxy(device)
    assert {name: proxy.points.block.present(name) for name in proxy.points.block.points} == {
        "battery_mv": 3100,
        "error_count": 3,
        "warning_count": 0,
        "crash_count": 0,
    }
    assert proxy.points.block.points["battery_mv"].units == "mV"
    device.heard.metrics["uptime"] = MetricValue(7)
    device.heard.errors = 4
    device.async_update_listeners()
    assert proxy.points.block.present("uptime") == 7
    assert proxy.points.block.present("error_count") == 4
    proxy.points.stop()
    device.heard.errors = 5
    device.async_update_listeners()
    assert proxy.points.block.present("error_count") == 4


async def test_an_entity_goes_before_a_metric_of_its_name(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    hass.states.async_set("sensor.level", "5")
    device.heard.metrics["level"] = MetricValue(7)
    proxy = Proxy(device, {"point": "level", "entity": "sensor.level"})
    assert proxy.points.block.present("level") == 5
    hass.states.async_set("sensor.level", "unavailable")
    await hass.async_block_till_done()
    device.async_update_listeners()
    assert proxy.points.block.present("level") is None
    proxy.points.stop()


async def test_a_change_of_an_entity_goes_up(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    hass.states.async_set("light.a", "on", {"supported_color_modes": ["hs"], "brightness": 255})
    proxy = Proxy(device, {"point": "light", "entity": "light.a"})
    block = proxy.points.block
    block.configure({"points": {"light": {"cov_increment": 10}}}, dt_util.utcnow())
    block.wake()
    for brightness in (250, 128):
        hass.states.async_set(
            "light.a", "on", {"supported_color_modes": ["hs"], "brightness": brightness}
        )
        await asyncio.sleep(0)
        await hass.async_block_till_done()
        block.wake()
    assert [event["points"]["light"]["present_value"] for event in proxy.events] == [100, 50]
    proxy.points.stop()


async def test_entities_are_points_of_the_device_they_belong_to(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    registered = dr.async_get(hass).async_get_or_create(
        config_entry_id=account.entry_id, identifiers={device.identifier}
    )
    own = er.async_get(hass).async_get_or_create(
        "sensor", "ulogger", "x", device_id=registered.id, config_entry=account
    )
    data = {
        "points": [
            {"point": "own", "entity": own.entity_id},
            {"point": "chosen", "entity": "sensor.elsewhere", "device": registered.id},
            {"point": "gone", "entity": "sensor.elsewhere", "device": "gone"},
            {"point": "nobodys", "entity": "sensor.elsewhere"},
        ]
    }
    assert [each["point"] for each in chosen_of(hass, data, device)] == ["own", "chosen"]
    assert chosen_of(hass, {}, device) == []
