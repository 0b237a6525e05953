"""A developer's assistant, connected through Home Assistant's own MCP server."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.assistant.api import WARNING, api_id
from custom_components.ulogger.coordinator import DeviceCoordinator
from tests.support.account import APPROVED, ToldTransport, load, meet


@dataclass
class Assistant:
    """Asks as an assistant does: JSON-RPC over HTTP, for one account or for all that is offered."""

    client: TestClient[Any, Any]
    path: str

    async def request(self, method: str, **params: Any) -> Any:
        """Make a request and return its result."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.client.post(
            self.path, json=body, headers={"accept": "application/json"}
        ) as response:
            assert response.status == 200, await response.text()
            return (await response.json())["result"]

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool that answers, and return what it says of devices."""
        result = await self.request("tools/call", name=tool, arguments=arguments)
        assert not result["isError"], result
        return self._marked(result)

    async def mistake(self, tool: str, **arguments: Any) -> str:
        """Call a tool that refuses, and return why."""
        result = await self.request("tools/call", name=tool, arguments=arguments)
        assert result["isError"], result
        (content,) = result["content"]
        text: str = content["text"]
        return self._marked(result)["error"] if text.startswith("{") else text

    @staticmethod
    def _marked(result: Any) -> Any:
        """Return what is marked as untrusted; there is nothing besides."""
        (content,) = result["content"]
        said = json.loads(content["text"])
        assert said.keys() == {"warning", "untrusted_device_data"}
        assert said["warning"] == WARNING
        return said["untrusted_device_data"]


@pytest.fixture
async def mcp_server(hass: HomeAssistant) -> MockConfigEntry:
    """Return the MCP server, set up as its own form does it, but open to every user."""
    pytest.importorskip("mcp", reason="script/setup installs it")
    assert await async_setup_component(hass, "homeassistant", {})
    entry = MockConfigEntry(
        domain="mcp_server",
        version=1,
        minor_version=3,
        data={"all_llm_apis": True, "llm_hass_api": [], "require_admin": False},
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    return entry


@pytest.fixture
async def offered(hass: HomeAssistant, transport: ToldTransport) -> MockConfigEntry:
    """Return an account whose tools an administrator offers to assistants."""
    return await load(hass, options={**APPROVED, "offer_to_assistants": True})


@pytest.fixture
async def sensor(hass: HomeAssistant, offered: MockConfigEntry) -> DeviceCoordinator:
    """Return a device of that account."""
    device = meet(offered)
    await hass.async_block_till_done()
    return device


@pytest.fixture
async def assistant(
    mcp_server: MockConfigEntry,
    offered: MockConfigEntry,
    hass_client: ClientSessionGenerator,
) -> Assistant:
    """Return an administrator's assistant for that account."""
    return Assistant(await hass_client(), f"/api/mcp/{api_id(offered)}")
