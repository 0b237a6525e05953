"""A local Clesyde for tests, and accounts that are a thing there."""

import datetime as dt
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
import trustme
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.clesyde.certificates import Pair
from custom_components.ulogger.cloud.clesyde.clesyde import ClesydeDestination
from demo.clesyde.platform import TOKEN, Device, LocalClesyde

from .flows import add_destination, answer

SERIAL = "HA-0001"
NO_TOPICS: dict[str, Any] = {"format": "decoded", "include_kept": True}
RAW = {
    "logs_topic": "up/logs",
    "crashes_topic": "up/crashes",
    "format": "raw",
    "include_kept": True,
}


@pytest.fixture
async def clesyde(tmp_path: Path, socket_enabled: None) -> AsyncGenerator[LocalClesyde]:
    """A platform that runs."""
    pytest_socket.enable_socket()
    async with LocalClesyde(tmp_path / "clesyde") as platform:
        yield platform


async def register(
    hass: HomeAssistant, account: MockConfigEntry, platform: LocalClesyde, **typed: Any
) -> Any:
    """Fill in the form of registration; return what is shown then."""
    menu = await add_destination(hass, account.entry_id, "clesyde")
    form = await answer(hass, menu, next_step_id="provision")
    given = {"api": platform.api, "serial": SERIAL, "token": TOKEN, **typed}
    return await answer(hass, form, **given)


async def add_thing(
    hass: HomeAssistant, account: MockConfigEntry, platform: LocalClesyde, **topics: Any
) -> ConfigSubentry:
    """Add a thing the way a person does; without topics no captures go there."""
    form = await register(hass, account, platform)
    done = await answer(hass, form, **(topics or NO_TOPICS))
    assert done["type"] == "create_entry", done
    return list(account.subentries.values())[-1]


def thing_of(account: MockConfigEntry, subentry: ConfigSubentry) -> ClesydeDestination:
    """Return the destination at work."""
    destination = account.runtime_data.destinations[subentry.subentry_id].destination
    assert isinstance(destination, ClesydeDestination), destination
    return destination


async def until(
    hass: HomeAssistant,
    platform: LocalClesyde,
    condition: Callable[[], object],
    seconds: float = 20.0,
) -> None:
    """Wait until a condition holds, at Clesyde or here."""
    await platform.wait_until(condition, seconds)
    await hass.async_block_till_done()


async def online(hass: HomeAssistant, platform: LocalClesyde, times: int = 1) -> Device:
    """Wait until the thing has said that it is there so many times, and its shadow was reported."""
    await until(hass, platform, lambda: SERIAL in platform.devices)
    device = platform.devices[SERIAL]
    await until(hass, platform, lambda: device.states.count("ONLINE") >= times)
    await until(hass, platform, lambda: device.shadow.reported)
    return device


def entity_ids(
    hass: HomeAssistant, account: MockConfigEntry, subentry: ConfigSubentry
) -> dict[str, str]:
    """Return the entities of a destination, by platform and key."""
    prefix = f"{account.entry_id}-{subentry.subentry_id}-"
    found = {}
    for each in er.async_entries_for_config_entry(er.async_get(hass), account.entry_id):
        if each.config_subentry_id == subentry.subentry_id:
            kind = each.entity_id.partition(".")[0]
            found[f"{kind}.{each.unique_id.removeprefix(prefix)}"] = each.entity_id
    return found


def issued(authority: trustme.CA, days: int, since: int = 1) -> Pair:
    """Issue a certificate that began so many days ago and is valid for some more."""
    now = dt.datetime.now(dt.UTC)
    leaf = authority.issue_cert(
        "home.invalid",
        not_before=now - dt.timedelta(days=since),
        not_after=now + dt.timedelta(days=days),
    )
    return Pair(leaf.cert_chain_pems[0].bytes().decode(), leaf.private_key_pem.bytes().decode())


def in_an_hour() -> float:
    """Return a moment in Unix seconds."""
    return time.time() + 3600
