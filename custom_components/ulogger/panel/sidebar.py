"""The panel in Home Assistant's sidebar, for administrators."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from homeassistant.components.frontend import async_panel_exists, async_remove_panel
from homeassistant.components.http.server import StaticPathConfig
from homeassistant.components.panel_custom import async_register_panel
from homeassistant.config_entries import (
    SIGNAL_CONFIG_ENTRY_CHANGED,
    ConfigEntry,
    ConfigEntryChange,
)
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.dispatcher import async_dispatcher_connect

from ..const import CONF_SHOW_PANEL, DEFAULT_SHOW_PANEL, DOMAIN

PANEL: Final = "ulogger"
"""The panel's path in the browser."""
ELEMENT: Final = "ulogger-panel"
ICON: Final = "mdi:text-box-search-outline"
ENGLISH: Final = "en"
_DIRECTORY: Final = Path(__file__).parent
_MODULE: Final = "device-logs.js"
_TEXTS: Final = "texts"


class _Files(NamedTuple):
    """What the browser loads: named by its content, so that it may keep it for good."""

    content: str
    titles: dict[str, str]
    """The panel's name by language."""


async def async_offer_panel(hass: HomeAssistant) -> None:
    """Serve the panel's files, and show it in the sidebar as long as an account wants that."""
    files = await hass.async_add_executor_job(_read)
    base = f"/{DOMAIN}_panel/{files.content}"
    await hass.http.async_register_static_paths(
        [
            StaticPathConfig(f"{base}/{_MODULE}", str(_DIRECTORY / _MODULE), cache_headers=True),
            StaticPathConfig(f"{base}/{_TEXTS}", str(_DIRECTORY / _TEXTS), cache_headers=True),
        ]
    )

    async def look() -> None:
        shown, wanted = async_panel_exists(hass, PANEL), is_wanted(hass)
        if wanted and not shown:
            await async_register_panel(
                hass,
                PANEL,
                ELEMENT,
                sidebar_title=_title(files.titles, hass.config.language),
                sidebar_icon=ICON,
                module_url=f"{base}/{_MODULE}",
                require_admin=True,
            )
        elif shown and not wanted:
            async_remove_panel(hass, PANEL)

    @callback
    def changed(_change: ConfigEntryChange, entry: ConfigEntry[Any]) -> None:
        if entry.domain == DOMAIN:
            hass.async_create_task(look(), "Show the panel or hide it")

    async_dispatcher_connect(hass, SIGNAL_CONFIG_ENTRY_CHANGED, changed)
    await look()


def is_wanted(hass: HomeAssistant) -> bool:
    """Whether an account wants the panel; one that is being loaded anew still does."""
    entries = hass.config_entries.async_entries(
        DOMAIN, include_ignore=False, include_disabled=False
    )
    return any(entry.options.get(CONF_SHOW_PANEL, DEFAULT_SHOW_PANEL) for entry in entries)


def _title(titles: dict[str, str], language: str) -> str:
    """Return the panel's name in a language, or in the nearest one that there is."""
    for code in (language, language.partition("-")[0]):
        if code in titles:
            return titles[code]
    known = (titles[code] for code in titles if code.partition("-")[0] == language[:2])
    return next(known, titles[ENGLISH])


def _read() -> _Files:
    """Read what is served; blocks."""
    digest = sha256((_DIRECTORY / _MODULE).read_bytes())
    titles = {}
    for path in sorted((_DIRECTORY / _TEXTS).glob("*.json")):
        content = path.read_bytes()
        digest.update(content)
        titles[path.stem] = str(json.loads(content)["title"])
    return _Files(digest.hexdigest()[:16], titles)
