"""A local Pepeunit and an account that is one of its units."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.gateway.pepeunit import ActivePepeunit
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from tests.support.flows import add_destination, answer


@pytest.fixture
def unit() -> Unit:
    """A unit with two inputs and two outputs."""
    return Unit.make(inputs=["lamp", "note"], outputs=["temperature", "secret"])


@pytest.fixture
async def pepeunit(
    tmp_path: Path, unit: Unit, socket_enabled: None
) -> AsyncGenerator[LocalPepeunit]:
    """A local Pepeunit with that unit."""
    pytest_socket.enable_socket()
    pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost"])
    async with LocalPepeunit(tmp_path / "pepeunit", with_tls=True, units=[unit]) as local:
        yield local


@pytest.fixture
async def private_pepeunit(
    tmp_path: Path, unit: Unit, socket_enabled: None
) -> AsyncGenerator[LocalPepeunit]:
    """A local Pepeunit whose broker and API speak TLS with an authority of its own."""
    pytest_socket.enable_socket()
    pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost"])
    async with LocalPepeunit(
        tmp_path / "pepeunit", with_tls=True, with_https=True, units=[unit]
    ) as local:
        yield local


def files(pepeunit: LocalPepeunit, unit: Unit, **more: Any) -> dict[str, Any]:
    """Fill in the first form of a unit, pasting its files."""
    return {
        "env": json.dumps(pepeunit.env(unit)),
        "schema": json.dumps(unit.schema()),
        "readable": True,
        "include_kept": True,
        **more,
    }


async def add_unit(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    *,
    outputs: list[dict[str, Any]] | None = None,
    inputs: list[dict[str, Any]] | None = None,
) -> ActivePepeunit:
    """Make the account a unit, the way a person does, and wait until it is connected."""
    form = await add_destination(hass, account.entry_id, "pepeunit")
    nodes = await answer(hass, form, **files(pepeunit, unit))
    assert nodes["step_id"] == "nodes", nodes
    done = await answer(hass, nodes, outputs=outputs or [], inputs=inputs or [])
    assert done["type"] == "create_entry", done
    await hass.async_block_till_done()
    return await connected(account)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the loop run until a condition holds; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


async def connected(account: MockConfigEntry) -> ActivePepeunit:
    """Wait until the account's unit is connected, and listens to all that it should."""
    active = active_of(account)
    await until(lambda: active.connected and active.destination.link.settled)
    return active


def active_of(account: MockConfigEntry) -> ActivePepeunit:
    """Return the unit of an account."""
    [found] = [
        each
        for each in account.runtime_data.destinations.values()
        if isinstance(each, ActivePepeunit)
    ]
    return found


def cards(hass: HomeAssistant) -> dict[str, ir.IssueEntry]:
    """Return the repair cards by their kinds."""
    issues = ir.async_get(hass).issues.values()
    return {
        each.issue_id.split("-", 1)[0]: each
        for each in issues
        if each.domain == DOMAIN and each.issue_id.startswith("pepeunit")
    }


async def call(hass: HomeAssistant, active: ActivePepeunit, name: str, **data: Any) -> Any:
    """Call an action of the unit, and return its answer."""
    registry = er.async_get(hass)
    prefix = f"{active.account.entry_id}-{active.id}-"
    [device_id] = {
        each.device_id
        for each in registry.entities.values()
        if each.unique_id.startswith(prefix) and each.device_id
    }
    return await hass.services.async_call(
        DOMAIN,
        f"pepeunit_{name}",
        {"device_id": device_id, **data},
        blocking=True,
        return_response=True,
    )


def entity(hass: HomeAssistant, active: ActivePepeunit, platform: str, key: str) -> str:
    """Return the ID of an entity of the unit."""
    unique_id = f"{active.account.entry_id}-{active.id}-{key}"
    found = er.async_get(hass).async_get_entity_id(platform, DOMAIN, unique_id)
    assert found is not None
    return found
