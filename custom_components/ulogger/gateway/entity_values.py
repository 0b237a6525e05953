"""Values of Home Assistant's entities, for clouds that take what a person chose."""

from collections.abc import Callable, Mapping
from typing import Any

from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import CALLBACK_TYPE, Event, HomeAssistant, State, callback
from homeassistant.exceptions import TemplateError
from homeassistant.helpers.event import EventStateChangedData, async_track_state_change_event
from homeassistant.helpers.template import Template

UNTOLD = frozenset({STATE_UNKNOWN, STATE_UNAVAILABLE})


@callback
def async_track_value(
    hass: HomeAssistant, entity_id: str, changed: Callable[[State], None]
) -> CALLBACK_TYPE:
    """Call *changed* with an entity's state now and whenever it has another value."""

    @callback
    def state_changed(event: Event[EventStateChangedData]) -> None:
        before, now = event.data["old_state"], event.data["new_state"]
        if now is not None and (before is None or before.state != now.state):
            tell(now)

    @callback
    def tell(state: State | None) -> None:
        if state is not None and state.state not in UNTOLD:
            changed(state)

    tell(hass.states.get(entity_id))
    return async_track_state_change_event(hass, entity_id, state_changed)


@callback
def rendered(hass: HomeAssistant, template: str, variables: Mapping[str, Any]) -> str:
    """Return what a person's template makes of values; raises TemplateError.

    Without a template it is the variable ``value``.
    """
    if not template:
        return str(variables["value"])
    try:
        return str(Template(template, hass).async_render(variables, parse_result=False))
    except RecursionError as err:
        raise TemplateError(err) from err
