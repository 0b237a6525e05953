"""An account as a gateway at a UDMI site: captures, repairs and memory, with a real broker."""

import json
import math
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState, ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_capture_events,
    async_fire_time_changed,
)
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.cloud.udmi import udmi
from custom_components.ulogger.cloud.udmi.auth import TOKEN_LASTS
from custom_components.ulogger.cloud.udmi.config_state import StateTimer
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.gateway.sent_parts import SentParts
from custom_components.ulogger.gateway.udmi_site import EVENT_KEY_ROTATED
from custom_components.ulogger.model.log_levels import LogLevels
from demo.udmi.door import Way
from demo.udmi.gateways import register
from demo.udmi.site import ENDPOINT_BLOB, LocalSite, blob
from tests.support.account import SENSOR, core_dump, load, log, meet
from tests.support.flows import Upload, make_upload
from tests.support.repairs import card, client
from tests.support.udmi import add_gateway, gateway_of, site

__all__ = ["client", "site"]

SECONDS = 20.0


@pytest.fixture
async def account(hass: HomeAssistant) -> MockConfigEntry:
    """An account without uLogger, that has met a device."""
    loaded = await load(hass, connection="none")
    meet(loaded)
    return loaded


@pytest.fixture
async def upload(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Upload:
    return await make_upload(hass, hass_client)


async def until(
    hass: HomeAssistant, local: LocalSite, condition: Callable[[], object], seconds: float = SECONDS
) -> None:
    await local.wait_until(condition, seconds)
    await hass.async_block_till_done()


async def delivered(account: MockConfigEntry, destination: str, *captures: Any) -> None:
    """Have captures delivered."""
    outbox = account.runtime_data.account.outbox
    ids = [(await outbox.add(each)).capture_id for each in captures]
    account.runtime_data._wake()
    delivery = account.runtime_data.destinations[destination].delivery
    assert await delivery.wait_delivered(SENSOR.key, ids, SECONDS) == set(ids)


def issues(hass: HomeAssistant) -> dict[str | None, dict[str, str]]:
    """Return what is shown, with the values in it."""
    return {
        each.translation_key: each.translation_placeholders or {}
        for each in ir.async_get(hass).issues.values()
        if each.domain == DOMAIN
    }


def is_connected(account: MockConfigEntry, subentry: ConfigSubentry) -> bool:
    """Whether the account is loaded and its gateway connected."""
    loaded = account.state is ConfigEntryState.LOADED
    return loaded and gateway_of(account, subentry).connected


# Captures


async def test_a_capture_arrives_in_the_name_of_its_devices_proxy(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    proxy = site.expect("BLE-1", {"system": {"min_loglevel": 100}})
    subentry = await add_gateway(hass, account, upload, site)
    await delivered(account, subentry.subentry_id, log(), core_dump())
    reading = await account.runtime_data.readings.async_reading(1)
    lines = [frame.message for frame in reading.frames if frame.level <= 4]
    said = [each for each in proxy.entries() if each["category"].startswith("device.log")]
    assert [each["message"] for each in said] == lines
    assert sum(each["category"] == "device.crash" for each in proxy.entries()) == 1
    assert not site.invalid
    assert not site.gate.faulty
    assert proxy.system()["serial_no"] == SENSOR.serial


async def test_a_device_that_the_site_does_not_name_waits_and_is_told_of(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    await until(hass, site, lambda: active.connected and site.gateway.states)
    await account.runtime_data.account.outbox.add(log())
    account.runtime_data._wake()
    assert active.waiting_proxies == ["BLE-1"]
    assert active.ready_since is not None
    active.ready_since -= 3600
    account.runtime_data.account.changed.notify()
    assert "udmi_not_attached" in issues(hass)
    proxy = await site.proxy("BLE-1", {})
    await until(hass, site, lambda: proxy.states)
    await until(hass, site, lambda: any("logentries" in e for e in proxy.events("system")))
    account.runtime_data.account.changed.notify()
    assert "udmi_not_attached" not in issues(hass)


async def test_nothing_waits_any_longer_once_the_site_has_taken_a_device_in(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    await until(hass, site, lambda: active.connected)
    with patch.object(udmi, "ATTACH_PATIENCE", 0.01):
        await account.runtime_data.account.outbox.add(log())
        account.runtime_data._wake()
        device = account.runtime_data.devices[SENSOR.key]
        await until(hass, site, lambda: device.data.last_error == "not_attached")
    assert active.delivery._holds.next_end() < math.inf
    active.attached()
    assert active.delivery._holds.next_end() == math.inf


async def test_a_capture_waits_until_it_is_known_what_the_site_wants_to_hear(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    site.expect("BLE-1", {})
    subentry = await add_gateway(hass, account, upload, site)
    destination = gateway_of(account, subentry).destination
    await until(hass, site, lambda: destination.ready(log()))
    proxy = destination.proxies["BLE-1"]
    proxy.attached = False
    assert not destination.ready(log())
    proxy.attached = True
    proxy.timer = StateTimer(time.monotonic, 60.0)
    proxy.timer.connected()
    assert not destination.ready(log())
    with pytest.raises(CloudUnavailable):
        await destination.deliver(log(), 1)
    proxy.timer.configured()
    assert destination.ready(log())


async def test_what_was_sent_of_a_capture_is_remembered_over_reloads(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    parts = SentParts(hass, account.entry_id, subentry.subentry_id)
    await parts.note(log(), 1, SentParts.of(3, 0))
    with patch.object(SentParts, "async_tidy") as tidy:
        assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    [tidied] = tidy.await_args_list
    assert subentry.subentry_id in tidied.args[2]
    assert f"ulogger.sent.{account.entry_id}.{subentry.subentry_id}" in hass_storage
    assert await hass.config_entries.async_remove(account.entry_id)
    assert not [each for each in hass_storage if each.startswith("ulogger.sent.")]


async def test_a_person_may_give_a_device_its_id(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    proxy = site.expect("AHU-22", {})
    [device] = [
        each for each in (account.runtime_data.devices.values()) if each.identity.key == SENSOR.key
    ]
    registered = dr.async_get(hass).async_get_device_by_identifier(
        device.identifier, account.entry_id
    )
    assert registered is not None
    given = [{"device": registered.id, "proxy_id": "AHU-22"}]
    await add_gateway(hass, account, upload, site, proxies=given)
    await until(hass, site, lambda: proxy.states)


async def test_what_a_site_wants_to_hear_is_a_wish_for_the_devices_level(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    site.expect("BLE-1", {"system": {"min_loglevel": 500}})
    subentry = await add_gateway(hass, account, upload, site)
    device = account.runtime_data.devices[SENSOR.key]

    def wished() -> object:
        levels: LogLevels = device.record.log_levels
        wish = levels.wishes.get(subentry.subentry_id)
        return wish is not None and wish.level == 3

    await until(hass, site, wished)


# The connection


async def test_a_token_is_replaced_before_it_expires_and_nothing_is_lost(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    site.expect("BLE-1", {})
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    link = active.destination.link
    await until(hass, site, lambda: active.waiting_proxies == [] and link.ready)
    proof = link.authentication
    assert proof is not None
    assert proof.refresh_at is not None
    admitted = site.gate.counters["admitted"]
    link._now = lambda: dt_util.utcnow().timestamp() + TOKEN_LASTS
    # Looked at again at the latest in an hour; nobody waits for that here.
    link._wake.set()
    link._next = link.target
    await until(hass, site, lambda: site.gate.counters["admitted"] > admitted + 1)
    link._now = lambda: dt_util.utcnow().timestamp()
    assert link.diagnostics()["counters"]["renewed"] >= 1
    await until(hass, site, lambda: link.ready and not active.waiting_proxies)
    await delivered(account, subentry.subentry_id, log())
    assert not site.invalid


async def test_a_site_that_does_not_let_the_gateway_in_is_told_of(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    await until(hass, site, lambda: active.connected)
    site.door.keys.clear()
    await site.gate.drop()
    await until(hass, site, lambda: "udmi_refused" in issues(hass))


# What a site decides


async def test_a_site_switches_the_gateway_off_and_a_person_has_it_back(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    client: Any,
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    await until(hass, site, lambda: site.gateway.states)
    await site.configure("GAT-1", system={"operation": {"mode": "active"}})
    await until(
        hass, site, lambda: site.gateway.system().get("operation", {}).get("mode") == "active"
    )
    await site.configure("GAT-1", system={"operation": {"mode": "shutdown"}})
    await until(
        hass, site, lambda: site.gateway.system().get("operation", {}).get("mode") == "shutdown"
    )
    await until(hass, site, lambda: "udmi_shut_down" in issues(hass))
    assert gateway_of(account, subentry).destination.off == "shutdown"
    assert not gateway_of(account, subentry).connected
    site.gateway.config["system"] = {"operation": {"mode": "active"}}
    shown = card(hass, client, "udmi_shut_down")
    await shown.answer(await shown.open())
    await until(hass, site, lambda: is_connected(account, subentry))
    assert "udmi_shut_down" not in issues(hass)


async def test_starts_are_counted_over_reloads(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    await add_gateway(hass, account, upload, site)

    def count() -> int:
        return int(site.gateway.system().get("operation", {}).get("restart_count", -1))

    await until(hass, site, lambda: count() >= 0)
    before = count()
    assert await hass.config_entries.async_reload(account.entry_id)
    await until(hass, site, lambda: count() == before + 1)


async def test_nobody_is_sent_to_another_host_without_a_person(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    client: Any,
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    await until(hass, site, lambda: site.gateway.states)
    said = json.dumps(site.endpoint(hostname="localhost", port=1)).encode()
    await site.configure(
        "GAT-1", blobset={"blobs": {ENDPOINT_BLOB: blob(said, kind="application/json")}}
    )
    await until(hass, site, lambda: "udmi_redirect" in issues(hass))
    active = gateway_of(account, subentry)
    assert active.asked is not None
    assert active.asked.hostname == "localhost"
    shown = card(hass, client, "udmi_redirect")
    await shown.answer(await shown.open(), next_step_id="stay")
    await until(hass, site, lambda: "udmi_redirect" not in issues(hass))

    def failed() -> bool:
        blobs = site.gateway.state.get("blobset", {}).get("blobs", {})
        status = blobs.get(ENDPOINT_BLOB, {}).get("status", {})
        return bool(status.get("level", 0) >= 500)

    await until(hass, site, failed)
    assert active.connected


async def test_a_rotated_key_is_the_one_that_is_kept(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    await until(hass, site, lambda: site.gateway.states)
    keys = hass_storage["ulogger.key.5eed5eed.destinations"]["data"]
    before = keys[subentry.data["keys"]]["private_key"]
    events = async_capture_events(hass, EVENT_KEY_ROTATED)
    await site.command("GAT-1", "rotate_key", {})
    await until(hass, site, lambda: events)
    register(site, events[0].data["public_key"])

    def rotated() -> bool:
        kept = hass_storage["ulogger.key.5eed5eed.destinations"]["data"][subentry.data["keys"]]
        return bool(kept["private_key"] != before and "following" not in kept)

    await until(hass, site, rotated)
    kept = hass_storage["ulogger.key.5eed5eed.destinations"]["data"][subentry.data["keys"]]
    assert kept["before"]["private_key"] == before
    await until(hass, site, lambda: gateway_of(account, subentry).connected)


# What is kept and shown


async def test_diagnostics_show_how_it_stands_and_no_secret(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    site.door.way = Way.BASIC
    site.expect("BLE-1", {})
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    await until(hass, site, lambda: not active.waiting_proxies and active.connected)
    said = f"nobody knows {site.door.client_id} with {site.door.password}"
    await site.say("GAT-1", "errors", said.encode(), qos=0)
    await until(hass, site, lambda: active.destination.errors)
    shown = await async_get_config_entry_diagnostics(hass, account)
    text = json.dumps(shown, default=str)
    assert "nobody knows" in text
    assert site.door.password not in text
    assert site.door.client_id not in text
    assert '"attached": true' in text


async def test_nothing_is_left_of_a_gateway_that_is_removed(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    await until(hass, site, lambda: site.gateway.states)
    name = f"ulogger.udmi.{account.entry_id}.{subentry.subentry_id}"
    assert name in hass_storage
    assert await hass.config_entries.async_remove(account.entry_id)
    await hass.async_block_till_done()
    assert not [each for each in hass_storage if each.startswith("ulogger.udmi.")]
    assert "ulogger.key.5eed5eed.destinations" not in hass_storage
    async_fire_time_changed(hass, dt_util.utcnow())
    assert await async_setup_component(hass, "homeassistant", {})
