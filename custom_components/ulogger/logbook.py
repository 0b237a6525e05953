"""What the activity says of lines that devices logged: one entry for a capture."""

from collections.abc import Callable, Mapping

from homeassistant.components.logbook.const import LOGBOOK_ENTRY_MESSAGE, LOGBOOK_ENTRY_NAME
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr

from .const import DOMAIN, ULOGGER_TITLE
from .gateway.device_news import EVENT_LOGGED

WORDS: Mapping[str, tuple[str, str]] = {
    "critical": ("a critical error", "critical errors"),
    "error": ("an error", "errors"),
    "warning": ("a warning", "warnings"),
    "info": ("a line", "lines"),
    "debug": ("a debug line", "debug lines"),
}


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
            LOGBOOK_ENTRY_MESSAGE: describe_lines(event.data["levels"], event.data["message"]),
        }

    async_describe_event(DOMAIN, EVENT_LOGGED, describe)


def describe_lines(levels: Mapping[str, int], message: str) -> str:
    """Say how many lines of which levels there were, the gravest level first, and show one."""
    counted = [
        WORDS[level][0] if count == 1 else f"{count} {WORDS[level][1]}"
        for level, count in levels.items()
    ]
    *others, last = counted
    all_of_them = f"{', '.join(others)} and {last}" if others else last
    which = "" if sum(levels.values()) == 1 else ", among them"
    return f"logged {all_of_them}{which}: {message}"
