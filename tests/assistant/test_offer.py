"""Who is offered an account's tools, and what they are told of them."""

from typing import Any

import pytest
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import Unauthorized
from homeassistant.helpers import llm
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockUser
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.assistant.api import PROMPT, api_id
from custom_components.ulogger.assistant.tools import TOOLS
from custom_components.ulogger.coordinator import DeviceCoordinator
from tests.support.account import load

from .conftest import Assistant

NAMES = [tool.name for tool in TOOLS]
ACTING = {"set_log_level"}


def asked_by(user: MockUser | None) -> llm.LLMContext:
    """Return what a conversation agent passes on."""
    context = None if user is None else Context(user_id=user.id)
    return llm.LLMContext("openai", context, "en", "conversation", None)


def offers(hass: HomeAssistant) -> set[str]:
    return {api.id for api in llm.async_get_apis(hass) if api.id.startswith("ulogger")}


async def test_nothing_is_offered_before_an_administrator_allows_it(
    hass: HomeAssistant,
    account: MockConfigEntry,
    mcp_server: MockConfigEntry,
    hass_client: ClientSessionGenerator,
) -> None:
    assert offers(hass) == set()
    client = await hass_client()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = await client.post(
        f"/api/mcp/{api_id(account)}", json=body, headers={"accept": "application/json"}
    )
    assert answer.status == 404
    everything = await Assistant(client, "/api/mcp").request("tools/list")
    assert not {tool["name"] for tool in everything["tools"]} & set(NAMES)


async def test_the_offer_lasts_while_the_account_is_loaded_and_allows_it(
    hass: HomeAssistant, offered: MockConfigEntry
) -> None:
    assert offers(hass) == {api_id(offered)}
    await hass.config_entries.async_unload(offered.entry_id)
    assert offers(hass) == set()
    await hass.config_entries.async_setup(offered.entry_id)
    assert offers(hass) == {api_id(offered)}
    options = {**offered.options, "offer_to_assistants": False}
    hass.config_entries.async_update_entry(offered, options=options)
    await hass.config_entries.async_reload(offered.entry_id)
    assert offers(hass) == set()


async def test_every_tool_is_described_and_only_one_acts(assistant: Assistant) -> None:
    tools = (await assistant.request("tools/list"))["tools"]
    assert [tool["name"] for tool in tools] == NAMES
    for tool in tools:
        acts = tool["name"] in ACTING
        assert tool["annotations"]["readOnlyHint"] is not acts
        assert tool["annotations"]["openWorldHint"] is acts
        assert tool["annotations"]["destructiveHint"] is False
        assert tool["title"]
        assert tool["description"].endswith(".")
        for name, about in tool["inputSchema"]["properties"].items():
            assert about["description"].endswith("."), (tool["name"], name)
    (prompt,) = (await assistant.request("prompts/list"))["prompts"]
    said = await assistant.request("prompts/get", name=prompt["name"])
    assert said["messages"][0]["content"]["text"] == PROMPT


async def test_an_assistant_with_everything_that_is_offered_has_them_too(
    hass: HomeAssistant,
    assistant: Assistant,
    sensor: DeviceCoordinator,
) -> None:
    everything = Assistant(assistant.client, "/api/mcp")
    tools = [tool["name"] for tool in (await everything.request("tools/list"))["tools"]]
    (name,) = [name for name in tools if name.endswith("list_devices")]
    (device,) = (await everything.call(name))["devices"]
    assert device["serial"] == sensor.identity.serial


async def test_each_account_answers_for_its_own_devices(
    hass: HomeAssistant, assistant: Assistant, sensor: DeviceCoordinator
) -> None:
    other = await load(hass, customer_id=43, options={"offer_to_assistants": True})
    assert offers(hass) == {api_id(sensor.account.entry), api_id(other)}
    theirs = Assistant(assistant.client, f"/api/mcp/{api_id(other)}")
    assert await theirs.call("list_devices") == {"devices": []}


@pytest.mark.parametrize("tool", NAMES)
async def test_a_user_who_is_no_administrator_is_refused(
    hass: HomeAssistant,
    offered: MockConfigEntry,
    sensor: DeviceCoordinator,
    hass_read_only_user: MockUser,
    tool: str,
) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "explain_crash": {"crash": "0123456789abcdef"},
        "compare_versions": {"version": "1", "other": "2"},
        "set_log_level": {"device": sensor.identity.serial, "level": "debug"},
    }
    api = await llm.async_get_api(hass, api_id(offered), asked_by(hass_read_only_user))
    with pytest.raises(Unauthorized):
        await api.async_call_tool(llm.ToolInput(tool, arguments.get(tool, {})))
    assert sensor.log_level is None


async def test_a_conversation_without_a_user_is_what_the_administrator_set_up(
    hass: HomeAssistant, offered: MockConfigEntry, sensor: DeviceCoordinator
) -> None:
    api = await llm.async_get_api(hass, api_id(offered), asked_by(None))
    result = await api.async_call_tool(llm.ToolInput("list_devices", {}))
    assert isinstance(result, llm.ToolResult)
    assert not result.error


async def test_the_mcp_server_lets_only_administrators_ask_for_an_account(
    hass: HomeAssistant,
    assistant: Assistant,
    offered: MockConfigEntry,
    mcp_server: MockConfigEntry,
    hass_client: ClientSessionGenerator,
    hass_read_only_access_token: str,
) -> None:
    client = await hass_client(hass_read_only_access_token)
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = await client.post(assistant.path, json=body, headers={"accept": "application/json"})
    # 2026.11 says that it is forbidden, to whom it knows.
    assert answer.status in {401, 403}
    # Chosen alone: among everything 2026.11 has tools that only administrators may list.
    chosen = {"all_llm_apis": False, "llm_hass_api": [api_id(offered)]}
    hass.config_entries.async_update_entry(mcp_server, data={**mcp_server.data, **chosen})
    await hass.async_block_till_done()
    open_to_all = Assistant(client, "/api/mcp")
    tools = (await open_to_all.request("tools/list"))["tools"]
    (name,) = [tool["name"] for tool in tools if tool["name"].endswith("list_devices")]
    assert await open_to_all.mistake(name) == "Error calling tool: Unauthorized"
