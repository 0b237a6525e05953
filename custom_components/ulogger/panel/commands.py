"""All that the panel asks of Home Assistant; docs/panel.md describes it."""

from homeassistant.core import HomeAssistant, callback

from .crashes import async_register_crash_commands
from .devices import async_register_device_commands
from .images import async_register_image_command
from .logs import async_register_log_commands
from .timelines import async_register_timeline_command


@callback
def async_register_commands(hass: HomeAssistant) -> None:
    """Offer the commands; each asks for an administrator by itself."""
    async_register_log_commands(hass)
    async_register_crash_commands(hass)
    async_register_device_commands(hass)
    async_register_timeline_command(hass)
    async_register_image_command(hass)
