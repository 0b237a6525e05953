"""Repair issues of an account, and time that passes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.ulogger.const import DOMAIN

from .flows import ENGLISH

type Pass = Callable[[timedelta], Any]


@pytest.fixture
def time_passes(hass: HomeAssistant, freezer: FrozenDateTimeFactory) -> Pass:
    """Return what lets time pass, with a look at the issues at its end."""

    async def let_pass(span: timedelta) -> None:
        freezer.tick(span)
        async_fire_time_changed(hass)
        await hass.async_block_till_done()

    return let_pass


def shown(hass: HomeAssistant) -> dict[str, ir.IssueEntry]:
    """Return the issues that are shown, by their kind; each must have texts."""
    found = {}
    for issue in ir.async_get(hass).issues.values():
        if issue.domain == DOMAIN and issue.active:
            texts = ENGLISH["issues"][issue.translation_key]
            texts["title"].format(**issue.translation_placeholders or {})
            assert ("fix_flow" in texts) is bool(issue.is_fixable)
            if "description" in texts:
                texts["description"].format(**issue.translation_placeholders or {})
            found[str(issue.translation_key)] = issue
    return found
