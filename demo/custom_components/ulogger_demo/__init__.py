"""A Bluetooth proxy for Home Assistant whose radio is another process of the demo."""

import probatio as vol
from homeassistant.components import bluetooth
from homeassistant.const import CONF_HOST, CONF_PORT, EVENT_HOMEASSISTANT_STOP
from homeassistant.core import Event, HomeAssistant
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.typing import ConfigType

from .lateness import async_watch
from .scanner import RemoteScanner

DOMAIN = "ulogger_demo"

CONFIG_SCHEMA = vol.Schema(
    {
        DOMAIN: vol.Schema(
            {
                vol.Optional(CONF_HOST, default="127.0.0.1"): cv.string,
                vol.Required(CONF_PORT): cv.port,
                vol.Optional("slots", default=3): cv.positive_int,
            }
        )
    },
    extra=vol.ALLOW_EXTRA,
)


async def async_setup(hass: HomeAssistant, config: ConfigType) -> bool:
    """Register the scanner and listen for what the proxy hears until Home Assistant stops."""
    proxy = config[DOMAIN]
    scanner = RemoteScanner(proxy[CONF_HOST], proxy[CONF_PORT], proxy["slots"])
    unregister = bluetooth.async_register_scanner(hass, scanner, source_domain=DOMAIN)
    unsetup = scanner.async_setup()
    async_watch(hass)
    listening = hass.async_create_background_task(scanner.listen(), "ulogger_demo scanner")

    async def stop(_: Event) -> None:
        listening.cancel()
        unregister()
        unsetup()

    hass.bus.async_listen_once(EVENT_HOMEASSISTANT_STOP, stop)
    return True
