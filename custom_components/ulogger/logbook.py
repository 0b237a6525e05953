"""What the activity says of lines that devices logged: one entry for a collection."""

from collections.abc import Callable, Mapping

from homeassistant.components.logbook.const import LOGBOOK_ENTRY_MESSAGE, LOGBOOK_ENTRY_NAME
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr

from .const import DOMAIN, ULOGGER_TITLE
from .gateway.activity import EVENT_LOGGED
from .gateway.own_texts import own_text


@callback
def async_describe_events(
    hass: HomeAssistant,
    async_describe_event: Callable[[str, str, Callable[[Event], dict[str, str]]], None],
) -> None:
    """Describe the events of the integration."""

    @callback
    def describe(event: Event) -> dict[str, str]:
        device = dr.async_get(hass).async_get(event.data["device_id"])
        name = device and (device.name_by_user or device.name)
        return {
            LOGBOOK_ENTRY_NAME: name or ULOGGER_TITLE,
            LOGBOOK_ENTRY_MESSAGE: describe_lines(
                hass, event.data["levels"], event.data["message"]
            ),
        }

    async_describe_event(DOMAIN, EVENT_LOGGED, describe)


def describe_lines(hass: HomeAssistant, levels: Mapping[str, int], message: str) -> str:
    """Say how many lines of which levels there were, the gravest level first, and show one.

    The activity is the same for all users, so this is in the language of Home Assistant.
    """
    counted = [
        _say(hass, f"one_{level}" if count == 1 else f"many_{level}", count=count)
        for level, count in levels.items()
    ]
    lines, *others = counted
    for number, each in enumerate(others, 1):
        key = "list_end" if number == len(others) else "list_middle"
        lines = _say(hass, key, first=lines, last=each)
    key = "logged" if sum(levels.values()) == 1 else "logged_among"
    return _say(hass, key, lines=lines, message=message)


def _say(hass: HomeAssistant, key: str, **values: str | int) -> str:
    return (own_text(hass, f"common.{key}") or key).format(**values)
