"""A local UDMI site for tests, and accounts that are a gateway there."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.gateway.udmi_site import ActiveUdmi
from demo.udmi.door import Way
from demo.udmi.gateways import register
from demo.udmi.site import LocalSite

from .flows import Upload, add_destination, answer

DEVICES: dict[str, Any] = {"prefix": "BLE", "proxies": [], "points": [], "approved_hosts": []}


@pytest.fixture
async def site(tmp_path: Path, socket_enabled: None) -> AsyncGenerator[LocalSite]:
    """A site that runs, and wants tokens."""
    pytest_socket.enable_socket()
    async with LocalSite(tmp_path / "site", way=Way.JWT) as local:
        yield local


async def typed_site(upload: Upload, local: LocalSite, **other: Any) -> dict[str, Any]:
    """Return what a person fills in; the key is generated where one is needed."""
    keyed = local.door.way in (Way.JWT, Way.MTLS)
    return {
        "endpoint": json.dumps(local.endpoint(config_sync_sec=1)),
        "broker": {},
        "keys": {"ca": await upload(local.ca), "generate": "es256" if keyed else "none"},
        "unencrypted": False,
        "include_kept": True,
        **other,
    }


async def add_gateway(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    local: LocalSite,
    **devices: Any,
) -> ConfigSubentry:
    """Add a gateway the way a person does."""
    form = await add_destination(hass, account.entry_id, "udmi")
    form = await answer(hass, form, **await typed_site(upload, local))
    if form.get("step_id") == "register":
        register(local, form["description_placeholders"]["public_key"])
        form = await answer(hass, form)
    done = await answer(hass, form, **{**DEVICES, **devices})
    assert done["type"] == "create_entry", done
    return list(account.subentries.values())[-1]


def gateway_of(account: MockConfigEntry, subentry: ConfigSubentry) -> ActiveUdmi:
    """Return the gateway at work."""
    active = account.runtime_data.destinations[subentry.subentry_id]
    assert isinstance(active, ActiveUdmi)
    return active
