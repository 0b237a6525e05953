"""Repairs as the frontend opens them, over HTTP."""

from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.const import DOMAIN
from tests.support.flows import ENGLISH


class Card:
    """One repair, as the frontend opens it."""

    def __init__(self, client: Any, issue: ir.IssueEntry) -> None:
        self.client = client
        self.issue = issue
        self.texts = ENGLISH["issues"][issue.translation_key]["fix_flow"]

    async def open(self) -> dict[str, Any]:
        """Press the card."""
        return await self._post(
            "/api/repairs/issues/fix",
            {"handler": self.issue.domain, "issue_id": self.issue.issue_id},
        )

    async def answer(self, step: dict[str, Any], **given: Any) -> dict[str, Any]:
        """Choose from the menu, or press submit."""
        return await self._post(f"/api/repairs/issues/fix/{step['flow_id']}", given)

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self.client.post(url, json=body)
        assert response.status == 200, await response.text()
        step: dict[str, Any] = await response.json()
        self._expect_texts(step)
        return step

    def _expect_texts(self, step: dict[str, Any]) -> None:
        placeholders = step.get("description_placeholders") or {}
        if step["type"] == "abort":
            self.texts["abort"][step["reason"]].format(**placeholders)
        elif step["type"] in {"form", "menu"}:
            texts = self.texts["step"][step["step_id"]]
            texts["title"].format(**placeholders)
            texts["description"].format(**placeholders)
            assert list(texts.get("menu_options", {})) == step.get("menu_options", [])


@pytest.fixture
async def client(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Any:
    for component in (DOMAIN, "repairs"):
        assert await async_setup_component(hass, component, {})
    return await hass_client()


def card(hass: HomeAssistant, client: Any, kind: str) -> Card:
    """Find the card of the only issue of a kind."""
    (found,) = (i for i in ir.async_get(hass).issues.values() if i.translation_key == kind)
    return Card(client, found)


def kinds(hass: HomeAssistant) -> list[str | None]:
    """Name the issues there are."""
    issues = ir.async_get(hass).issues.values()
    return [i.translation_key for i in issues if i.domain == DOMAIN]
