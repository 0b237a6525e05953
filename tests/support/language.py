"""The language of Home Assistant."""

from homeassistant.core import HomeAssistant
from homeassistant.helpers.translation import async_get_translations

from custom_components.ulogger.const import DOMAIN


async def speak(hass: HomeAssistant, language: str) -> None:
    """Choose a language; Home Assistant reads the texts of what is loaded then."""
    await hass.config.async_update(language=language)
    await async_get_translations(hass, language, "common", {DOMAIN})
