"""Texts of the integration in the language of this Home Assistant, for what all users see alike."""

from typing import Final

from homeassistant.core import HomeAssistant
from homeassistant.helpers.translation import async_get_cached_translations

from ..const import DOMAIN

_ENGLISH: Final = "en"


def own_sentence(hass: HomeAssistant, key: str, **values: str) -> str:
    """Return what an error of the integration says, by its key among ``exceptions``."""
    return (own_text(hass, f"exceptions.{key}.message") or key).format(**values)


def own_reason(hass: HomeAssistant, reason: str) -> str:
    """Return what a `Reason` is called, as the sensor *Problem* shows it."""
    return own_text(hass, f"entity.sensor.last_error.state.{reason}") or reason


def own_text(hass: HomeAssistant, key: str) -> str | None:
    """Return the text that stands in ``translations/`` under a dotted key; None without one.

    It is English while the texts of a language that was just chosen are being read. From any
    thread.
    """
    category = key.partition(".")[0]
    for language in (hass.config.language, _ENGLISH):
        texts = async_get_cached_translations(hass, language, category, DOMAIN)
        if text := texts.get(f"component.{DOMAIN}.{key}"):
            return text
    return None
