"""What entities show as one value, and which action sets each of them to another."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeassistant.components.climate.const import ClimateEntityFeature
from homeassistant.components.cover.const import CoverEntityFeature
from homeassistant.components.fan.const import FanEntityFeature
from homeassistant.components.valve.const import ValveEntityFeature
from homeassistant.components.water_heater.const import WaterHeaterEntityFeature
from homeassistant.const import (
    ATTR_SUPPORTED_FEATURES,
    SERVICE_TURN_OFF,
    SERVICE_TURN_ON,
    STATE_OFF,
    STATE_ON,
)
from homeassistant.core import State

from ..cloud.udmi.points import InvalidValue, Value
from .entity_values import UNTOLD

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_WORDS: Final = frozenset(
    {"climate", "input_select", "input_text", "select", "text", "water_heater", "event"}
)
"""Domains whose states are words, whatever they look like."""
FULL: Final = 255


@dataclass(frozen=True, slots=True)
class Call:
    """An action of an entity's own domain, with what else it is told."""

    service: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """How an entity is set: ``call`` raises InvalidValue, ``step`` is how near it can be."""

    call: Callable[[Value], Call]
    shows: Callable[[], Value | None]
    step: float = 0.0


def shown(state: State | None) -> Value | None:
    """Return what an entity shows as one value, None while that is not known."""
    if state is None or state.state in UNTOLD:
        return None
    setting = setting_of(state)
    return _plain(state) if setting is None else setting.shows()


def setting_of(state: State) -> Setting | None:
    """Return how an entity is set, None where it can't be."""
    made = _SETTINGS.get(state.domain)
    return None if made is None else made(state)


def _plain(state: State) -> Value:
    """Return a state as a truth value or a number wherever it is one."""
    text = state.state
    if state.domain in _WORDS:
        return text
    if text in (STATE_ON, STATE_OFF):
        return text == STATE_ON
    return text if (number := _number(text)) is None else number


def _number(value: Any) -> int | float | None:
    text = str(value)
    if isinstance(value, bool) or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    if abs(number) > 2**53:
        return None
    return int(number) if text.lstrip("+-").isdigit() else number


# Numbers


def _numeric(
    state: State,
    value: Any,
    service: str,
    field: str,
    *,
    low: Any = None,
    high: Any = None,
    step: Any = None,
) -> Setting:
    least, most = _number(low), _number(high)

    def call(wanted: Value) -> Call:
        if isinstance(wanted, bool | str):
            raise InvalidValue(f"{wanted!r} is no number")
        if (least is not None and wanted < least) or (most is not None and wanted > most):
            raise InvalidValue(f"{wanted} is not from {least} to {most}")
        return Call(service, {field: wanted})

    return Setting(call, lambda: _number(value), _number(step) or 0.0)


def _slider(state: State) -> Setting:
    of = state.attributes.get
    low, high, step = of("min"), of("max"), of("step")
    return _numeric(state, state.state, "set_value", "value", low=low, high=high, step=step)


def _climate(state: State) -> Setting:
    of = state.attributes.get
    if not _has(state, ClimateEntityFeature.TARGET_TEMPERATURE):
        return _chosen(state, of("hvac_modes"), "set_hvac_mode", "hvac_mode")
    low, high, step = of("min_temp"), of("max_temp"), of("target_temp_step")
    return _temperature(state, low, high, step)


def _water_heater(state: State) -> Setting:
    of = state.attributes.get
    if not _has(state, WaterHeaterEntityFeature.TARGET_TEMPERATURE):
        return _chosen(state, of("operation_list"), "set_operation_mode", "operation_mode")
    return _temperature(state, of("min_temp"), of("max_temp"), of("target_temp_step"))


def _temperature(state: State, low: Any, high: Any, step: Any) -> Setting:
    name = "temperature"
    # A thermostat shows what it was set to with a digit less than it was told.
    return _numeric(
        state,
        state.attributes.get(name),
        "set_temperature",
        name,
        low=low,
        high=high,
        step=step or 0.1,
    )


def _humidifier(state: State) -> Setting:
    of, name = state.attributes.get, "humidity"
    low, high = of("min_humidity"), of("max_humidity")
    return _numeric(state, of(name), "set_humidity", name, low=low, high=high, step=1)


def _position(attribute: str, service: str, feature: int, words: Mapping[str, str]) -> Any:
    def made(state: State) -> Setting:
        if not _has(state, feature):
            return _worded(state, words)
        position = state.attributes.get(attribute)
        return _numeric(state, position, service, "position", low=0, high=100, step=2)

    return made


def _fan(state: State) -> Setting:
    if not _has(state, FanEntityFeature.SET_SPEED):
        return _switched(state)
    speed = 0 if state.state == STATE_OFF else state.attributes.get("percentage")
    step = state.attributes.get("percentage_step")
    return _numeric(state, speed, "set_percentage", "percentage", low=0, high=100, step=step)


def _light(state: State) -> Setting:
    modes = state.attributes.get("supported_color_modes") or ()
    if not set(modes) - {"onoff", "unknown"}:
        return _switched(state)
    brightness = 0 if state.state == STATE_OFF else state.attributes.get("brightness")
    percent = None if brightness is None else round(brightness * 100 / FULL)
    numeric = _numeric(state, percent, SERVICE_TURN_ON, "brightness_pct", low=0, high=100, step=2)

    def call(wanted: Value) -> Call:
        made = numeric.call(wanted)
        return Call(SERVICE_TURN_OFF, {}) if wanted == 0 else made

    return Setting(call, numeric.shows, numeric.step)


# The rest


def _switched(state: State) -> Setting:
    def call(wanted: Value) -> Call:
        if not isinstance(wanted, bool):
            raise InvalidValue(f"{wanted!r} is neither true nor false")
        return Call(SERVICE_TURN_ON if wanted else SERVICE_TURN_OFF, {})

    shows = {STATE_ON: True, STATE_OFF: False}.get(state.state)
    return Setting(call, lambda: shows)


def _worded(state: State, services: Mapping[str, str]) -> Setting:
    def call(wanted: Value) -> Call:
        if not isinstance(wanted, str) or wanted not in services:
            raise InvalidValue(f"{wanted!r} is none of {', '.join(services)}")
        return Call(services[wanted], {})

    return Setting(call, lambda: state.state)


def _lock(state: State) -> Setting:
    return _worded(state, {"locked": "lock", "unlocked": "unlock"})


def _chosen(state: State, options: Sequence[str] | None, service: str, field: str) -> Setting:
    def call(wanted: Value) -> Call:
        if not isinstance(wanted, str) or (options is not None and wanted not in options):
            raise InvalidValue(f"{wanted!r} is none of {', '.join(map(str, options or ()))}")
        return Call(service, {field: wanted})

    return Setting(call, lambda: state.state)


def _select(state: State) -> Setting:
    return _chosen(state, state.attributes.get("options"), "select_option", "option")


def _text(state: State) -> Setting:
    def call(wanted: Value) -> Call:
        if not isinstance(wanted, str):
            raise InvalidValue(f"{wanted!r} is no text")
        return Call("set_value", {"value": wanted})

    return Setting(call, lambda: state.state)


def _has(state: State, feature: int) -> bool:
    return bool(int(state.attributes.get(ATTR_SUPPORTED_FEATURES) or 0) & feature)


_SETTINGS: Final[Mapping[str, Callable[[State], Setting]]] = {
    "climate": _climate,
    "cover": _position(
        "current_position",
        "set_cover_position",
        CoverEntityFeature.SET_POSITION,
        {"open": "open_cover", "closed": "close_cover"},
    ),
    "fan": _fan,
    "humidifier": _humidifier,
    "input_boolean": _switched,
    "input_number": _slider,
    "input_select": _select,
    "input_text": _text,
    "light": _light,
    "lock": _lock,
    "number": _slider,
    "select": _select,
    "siren": _switched,
    "switch": _switched,
    "text": _text,
    "valve": _position(
        "current_position",
        "set_valve_position",
        ValveEntityFeature.SET_POSITION,
        {"open": "open_valve", "closed": "close_valve"},
    ),
    "water_heater": _water_heater,
}
SETTABLE: Final = frozenset(_SETTINGS)
"""The domains whose entities can be set."""
