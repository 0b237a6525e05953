"""The panel is an administrator's, in his sidebar as long as an account wants that."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from homeassistant.components.frontend import DATA_PANELS
from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import (
    ClientSessionGenerator,
    WebSocketGenerator,
)

from custom_components.ulogger.collecting.device_state import Phase
from custom_components.ulogger.panel import sidebar
from custom_components.ulogger.panel.messages import PhaseName
from tests.support.account import APPROVED, ToldTransport, load

TEXTS = Path(sidebar.__file__).parent / "texts"


def shown(hass: HomeAssistant) -> Any:
    return hass.data.get(DATA_PANELS, {}).get(sidebar.PANEL)


async def test_the_panel_is_shown_to_administrators_and_served_for_good(
    hass: HomeAssistant, account: MockConfigEntry, hass_client: ClientSessionGenerator
) -> None:
    panel = shown(hass)
    assert (panel.sidebar_title, panel.require_admin) == ("Device logs", True)
    custom = panel.config["_panel_custom"]
    assert (custom["name"], custom["embed_iframe"]) == ("ulogger-panel", False)
    client = await hass_client()
    module = await client.get(custom["module_url"])
    assert module.status == 200
    assert "javascript" in module.headers["Content-Type"]
    assert "max-age=2678400" in module.headers["Cache-Control"]
    assert b"ulogger-panel" in await module.read()
    base = custom["module_url"].rpartition("/")[0]
    text = await client.get(f"{base}/texts/de.json")
    assert (await text.json())["title"] == "Geräteprotokolle"
    for hidden in ("messages.py", "../__init__.py", "texts/../logs.py"):
        assert (await client.get(f"{base}/{hidden}")).status == 404


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("de", "Geräteprotokolle"),
        ("de-CH", "Geräteprotokolle"),
        ("zh-Hant", "设备日志"),
        ("tlh", "Device logs"),
    ],
)
async def test_its_name_is_in_the_language_of_the_house(
    hass: HomeAssistant, transport: ToldTransport, language: str, title: str
) -> None:
    hass.config.language = language
    await load(hass)
    assert shown(hass).sidebar_title == title


async def test_it_is_hidden_when_no_account_shows_it(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    hide = {**APPROVED, "show_panel": False}
    other = await load(hass, customer_id=43, options={**hide, "applications": {}})
    assert shown(hass)
    hass.config_entries.async_update_entry(account, options=hide)
    await hass.async_block_till_done()
    assert not shown(hass)
    hass.config_entries.async_update_entry(other, options={"show_panel": True})
    await hass.async_block_till_done()
    assert shown(hass)


async def test_it_stays_while_the_account_is_loaded_anew_and_goes_with_it(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    before = shown(hass)
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert shown(hass) is before
    await hass.config_entries.async_set_disabled_by(account.entry_id, ConfigEntryDisabler.USER)
    await hass.async_block_till_done()
    assert not shown(hass)
    await hass.config_entries.async_set_disabled_by(account.entry_id, None)
    await hass.async_block_till_done()
    assert shown(hass)
    await hass.config_entries.async_remove(account.entry_id)
    await hass.async_block_till_done()
    assert not shown(hass)


COMMANDS: list[dict[str, Any]] = [
    {"type": "logs/search", "filter": {}},
    {"type": "logs/subscribe", "filter": {}},
    {"type": "logs/frame", "key": "a:1:1"},
    {"type": "crashes/subscribe"},
    {"type": "crashes/occurrences", "account": "a", "fingerprint": "f"},
    {"type": "crashes/get", "account": "a", "capture": 1},
    {"type": "crashes/set_state", "account": "a", "fingerprint": "f", "state": "open"},
    {"type": "devices/subscribe"},
    {"type": "devices/set_live", "devices": ["d"], "live": True},
    {"type": "devices/timeline", "device": "d", "since": 0},
    {"type": "images/add", "account": "a", "file_id": "f"},
]


async def test_nobody_else_gets_an_answer(
    hass: HomeAssistant,
    account: MockConfigEntry,
    hass_ws_client: WebSocketGenerator,
    hass_read_only_access_token: str,
) -> None:
    known = {name for name in hass.data["websocket_api"] if name.startswith("ulogger/")}
    assert known == {f"ulogger/{command['type']}" for command in COMMANDS}
    client = await hass_ws_client(hass, hass_read_only_access_token)
    for command in COMMANDS:
        await client.send_json_auto_id({**command, "type": f"ulogger/{command['type']}"})
        answer = await client.receive_json()
        assert answer["error"]["code"] == "unauthorized", command


def test_every_state_of_a_device_has_a_text() -> None:
    english = json.loads((TEXTS / "en.json").read_text(encoding="utf-8"))
    assert {f"is_{phase}" for phase in Phase} <= english.keys()
    assert set(get_args(PhaseName.__value__)) == set(Phase)


@pytest.mark.parametrize("language", ["de", "es", "fr", "zh-Hans"])
def test_every_language_says_everything(language: str) -> None:
    english = json.loads((TEXTS / "en.json").read_text(encoding="utf-8"))
    said = json.loads((TEXTS / f"{language}.json").read_text(encoding="utf-8"))
    assert said.keys() == english.keys()
    for key, text in english.items():
        assert text.count("{") == said[key].count("{"), key
