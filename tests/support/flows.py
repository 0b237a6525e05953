"""What tests of flows share: uploads as a browser makes them, forms that must be translated."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import FormData
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import DOMAIN as HOMEASSISTANT_DOMAIN
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, section
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

import custom_components.ulogger
from custom_components.ulogger.const import DOMAIN

type Upload = Callable[[bytes | str], Awaitable[str]]

ENGLISH = json.loads(
    (Path(custom_components.ulogger.__file__).parent / "translations" / "en.json").read_text()
)


async def make_upload(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Upload:
    """Return what uploads a file over HTTP, the way the frontend does, and returns its ID."""
    assert await async_setup_component(hass, "file_upload", {})
    # As Home Assistant's own server does: integrations that come later bring views of their own.
    hass.http.app._router.freeze = lambda: None
    client = await hass_client()

    async def upload(content: bytes | str) -> str:
        data = content.encode() if isinstance(content, str) else content
        form = FormData()
        form.add_field("file", data, filename="upload", content_type="application/octet-stream")
        response = await client.post("/api/file_upload", data=form)
        return str((await response.json())["file_id"])

    return upload


def expect_form(
    result: Any,
    step_id: str,
    errors: dict[str, str] | None = None,
    *,
    destination: str | None = None,
) -> None:
    """Check which form is shown with which errors, and that all of it can be read.

    It is one of the flow that makes accounts, or of the one that adds a *destination*.
    """
    flow = ENGLISH["config"] if destination is None else ENGLISH["config_subentries"][destination]
    assert result["type"] is FlowResultType.FORM, result
    assert result["step_id"] == step_id
    assert (result["errors"] or {}) == (errors or {})
    texts = flow["step"][step_id]
    for key, value in result["data_schema"].schema.items():
        if isinstance(value, section):
            named = texts["sections"][str(key)]
            for field in value.schema.schema:
                assert str(field) in named["data"]
                assert str(field) in named["data_description"]
        else:
            assert str(key) in texts["data"]
            assert str(key) in texts["data_description"]
    for reason in (errors or {}).values():
        assert reason in flow["error"]


def expect_abort(
    result: Any, reason: str, *, own: bool = True, destination: str | None = None
) -> None:
    """Check that the flow ended, and that the reason can be read (Home Assistant has some)."""
    flow = ENGLISH["config"] if destination is None else ENGLISH["config_subentries"][destination]
    assert result["type"] is FlowResultType.ABORT, result
    assert result["reason"] == reason
    assert (reason in flow["abort"]) is own
    assert (result.get("translation_domain") == HOMEASSISTANT_DOMAIN) is not own


def expect_menu(result: Any, step_id: str) -> None:
    """Check that the ways of connecting are offered."""
    assert result["type"] is FlowResultType.MENU, result
    assert result["step_id"] == step_id
    assert list(ENGLISH["config"]["step"][step_id]["menu_options"]) == result["menu_options"]


def suggestions(result: Any) -> dict[str, Any]:
    """Return what the fields of a form are filled with, sections within."""
    shown: dict[str, Any] = {}
    for key, value in result["data_schema"].schema.items():
        if isinstance(value, section):
            shown[str(key)] = suggestions({"data_schema": value.schema})
        elif key.description is not None:
            shown[str(key)] = key.description["suggested_value"]
    return shown


async def open_form(hass: HomeAssistant, connection: str = "certificate") -> str:
    """Begin to add an account and choose how it connects; return the flow."""
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    expect_menu(menu, "user")
    form = await hass.config_entries.flow.async_configure(
        menu["flow_id"], {"next_step_id": connection}
    )
    expect_form(form, connection)
    return str(form["flow_id"])


async def add_destination(hass: HomeAssistant, entry_id: str, destination: str) -> Any:
    """Begin to add a destination to an account, and return what is shown first."""
    return await hass.config_entries.subentries.async_init(
        (entry_id, destination), context={"source": SOURCE_USER}
    )


async def answer(hass: HomeAssistant, shown: Any, **typed: Any) -> Any:
    """Submit a form of a flow that adds or changes a destination."""
    result = await hass.config_entries.subentries.async_configure(shown["flow_id"], typed)
    await hass.async_block_till_done()
    return result


async def submit(hass: HomeAssistant, flow_id: str, **typed: Any) -> Any:
    """Submit a form of a flow."""
    result = await hass.config_entries.flow.async_configure(flow_id, typed)
    await hass.async_block_till_done()
    return result
