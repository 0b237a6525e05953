"""What a gateway tells of itself and of its proxies, and what a full disk or a bad key does."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.destination_keys import async_load_keys
from custom_components.ulogger.account.udmi_memory import UdmiMemory
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CannotConnect, CloudError
from custom_components.ulogger.cloud.udmi.endpoint import ES256, Endpoint
from custom_components.ulogger.cloud.udmi.keys import generate
from custom_components.ulogger.cloud.udmi.rotation import NotKept
from custom_components.ulogger.cloud.udmi.status import stamp
from custom_components.ulogger.gateway.udmi import _async_ids
from custom_components.ulogger.gateway.udmi_blocks import _scanner
from custom_components.ulogger.gateway.udmi_connection import StoredKeyPair, endpoint_of
from custom_components.ulogger.outbox.errors import OutboxError
from demo.udmi.site import LocalSite
from tests.support.account import SENSOR, log
from tests.support.flows import Upload
from tests.support.udmi import add_gateway, gateway_of, site

from .test_udmi import account, issues, until, upload

__all__ = ["account", "site", "upload"]


@contextmanager
def forgetful_disk() -> Iterator[None]:
    """Have no gateway remember anything."""
    with patch.object(UdmiMemory, "async_keep", side_effect=OSError("full")):
        yield


# The gateway itself


async def test_entities_of_no_device_are_points_of_the_gateway(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    hass.states.async_set("sensor.room", "21.5")
    await site.configure("GAT-1", pointset={"points": {"room": {}}, "sample_rate_sec": 1})
    points = [
        {"point": "room", "entity": "sensor.room"},
        {"point": "other", "entity": "sensor.other", "device": "somebody's"},
    ]
    subentry = await add_gateway(hass, account, upload, site, points=points)
    await until(hass, site, lambda: 21.5 in site.gateway.values("room"))
    hass.states.async_set("sensor.room", "22.5")
    await until(hass, site, lambda: 22.5 in site.gateway.values("room"))
    block = gateway_of(account, subentry).destination.gateway.device.blocks["pointset"]
    assert set(block.enumeration) == {"room"}


async def test_memory_disk_and_load_are_told_at_the_rate_that_the_site_wants(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    await site.configure("GAT-1", system={"metrics_rate_sec": 1})
    await add_gateway(hass, account, upload, site)

    def measured() -> list[Any]:
        return [each["metrics"] for each in site.gateway.events("system") if "metrics" in each]

    await until(hass, site, measured)
    assert measured()[0]["store_total_mb"] > 0
    assert not site.invalid


async def test_a_site_restarts_the_gateway_once(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    await until(hass, site, lambda: site.gateway.states)
    first = gateway_of(account, subentry)
    later = stamp(dt_util.utcnow() + timedelta(hours=1))
    await site.configure("GAT-1", system={"operation": {"mode": "active", "last_start": later}})

    def restarted() -> bool:
        # It is not loaded for a moment, and there is no gateway then.
        loaded = account.state is ConfigEntryState.LOADED
        return loaded and gateway_of(account, subentry) is not first

    await until(hass, site, restarted)
    again = gateway_of(account, subentry)
    await until(hass, site, lambda: again.connected and again.destination.counters["configs"])
    assert again.memory.get("answered") == later
    assert gateway_of(account, subentry) is again
    assert again.memory.get("starts")["count"] == first.memory.get("starts")["count"] + 1


# Numbers of proxies


async def test_each_device_has_a_number_of_its_own_and_gone_ones_are_passed_over(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    given = [{"device": "gone", "proxy_id": "AHU-1"}]
    subentry = await add_gateway(hass, account, upload, site, proxies=given)
    active = gateway_of(account, subentry)
    assert active.ids.proxy_of(SENSOR.key) == "BLE-1"
    assert active.ids.proxy_of((42, "another")) == "BLE-2"
    assert active.ids.device_of("BLE-1") == SENSOR.key
    assert active.ids.device_of("AHU-1") is None
    assert list(active.known) == ["BLE-1"]
    assert len(active.known) == 1


async def test_a_full_disk_is_logged_and_stops_no_gateway(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    site.expect("BLE-1", {"system": {"min_loglevel": 500}})
    with forgetful_disk():
        subentry = await add_gateway(hass, account, upload, site)
        await until(hass, site, lambda: not gateway_of(account, subentry).waiting_proxies)
        await until(hass, site, lambda: "When a log level was wished for" in caplog.text)
        await gateway_of(account, subentry).async_remember("off", "shutdown")
    assert "the start was not kept: full" in caplog.text
    assert "The number of a proxy was not kept: full" in caplog.text
    assert gateway_of(account, subentry).connected


async def test_what_points_were_set_to_is_on_disk_until_nothing_is_set(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    for device_id, memory in (("BLE-1", {"a": 1}), ("BLE-2", {"b": 2}), ("BLE-2", {})):
        active.keep_points(device_id, memory)
        await hass.async_block_till_done()
    assert active.memory.get("points") == {"BLE-1": {"a": 1}}
    assert active.kept_points("BLE-2") == {}
    active.keep_points("BLE-1", {})
    await hass.async_block_till_done()
    assert active.memory.get("points") is None


# The outbox


async def test_a_capture_that_cannot_be_read_is_tried_again_later(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    destination = gateway_of(account, subentry).destination
    readings = account.runtime_data.readings
    with (
        patch.object(readings, "async_turn", side_effect=OutboxError("damaged")),
        pytest.raises(CloudError, match="capture 7 can't be read: damaged") as caught,
    ):
        await destination._sender._reading_of(7)
    assert caught.value.retryable


async def test_an_outbox_that_cannot_be_read_names_no_captures(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    shared = account.runtime_data.account
    item = await shared.outbox.add(log())
    assert await _async_ids(shared) == {item.capture_id}
    with patch.object(shared.outbox, "listing", side_effect=OutboxError("damaged")):
        assert await _async_ids(shared) == set()


async def test_what_is_heard_is_known_by_its_address_and_its_points(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    site.expect("BLE-1", {})
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    await until(hass, site, lambda: "BLE-1" in active.destination.proxies)
    record = account.runtime_data.devices[SENSOR.key].record
    record.address = "C0:FF:EE:00:00:01"
    scanner = _scanner(active)
    assert scanner._known("C0:FF:EE:00:00:01") is record
    assert scanner._known("C0:FF:EE:00:00:02") is None
    block = active.destination.proxies["BLE-1"].device.blocks["pointset"]
    assert scanner._points_of("BLE-1") == block.enumeration
    assert scanner._points_of("BLE-2") == {}


# Connections and keys


async def test_trouble_with_the_connection_is_told_by_its_kind(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    await until(hass, site, lambda: active.connected)
    link = active.destination.link
    with patch.object(link, "state", ConnectionState.CLIENT_ID_CONFLICT):
        active.account.changed.notify()
        assert "udmi_name_conflict" in issues(hass)
    active.disconnected_since = time.time() - 7 * 24 * 3600
    for failure, said in (
        (CannotConnect("[Errno 111]"), "The broker does not answer"),
        (None, "The cloud can't be reached"),
    ):
        link.failure = failure
        active.account.changed.notify()
        assert issues(hass)["udmi_unreachable"]["detail"] == said
    assert "Errno 111] (udmi_unreachable)" in caplog.text
    assert "udmi_name_conflict" not in issues(hass)


async def test_a_key_that_is_damaged_on_disk_is_told(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    keys = hass_storage["ulogger.key.5eed5eed.destinations"]["data"][subentry.data["keys"]]
    keys["private_key"] = "damaged"
    assert await hass.config_entries.async_reload(account.entry_id)
    await until(hass, site, lambda: "udmi_refused" in issues(hass))


async def test_the_next_key_is_kept_beside_the_present_one_or_not_at_all(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    keys_id = subentry.data["keys"]
    before = await async_load_keys(hass, account, keys_id)
    keeper = StoredKeyPair(account.runtime_data.account, keys_id)
    following = generate(ES256, "GAT-1", dt_util.utcnow())
    with patch.object(Store, "async_save"), pytest.raises(NotKept):
        await keeper.begin(following)
    assert await async_load_keys(hass, account, keys_id) == before
    await keeper.begin(following)
    during = await async_load_keys(hass, account, keys_id)
    assert before is not None
    assert during is not None
    assert during == {**before, "following": during["following"]}
    assert during["following"]["private_key"] == following.private_key
    await keeper.drop()
    assert await async_load_keys(hass, account, keys_id) == before


class Remembered:
    """The memory of a gateway that was sent somewhere."""

    def __init__(self, **said: Any) -> None:
        self._said = said

    def get(self, name: str, default: Any = None) -> Any:
        return self._said if name == "endpoint" else default


def test_where_a_site_has_sent_the_gateway_counts_until_a_person_says_otherwise() -> None:
    first = Endpoint.from_dict({"hostname": "a", "client_id": "GAT-1"}).as_dict()
    data = {"endpoint": first}

    def host(**said: Any) -> str:
        return endpoint_of(data, {}, Remembered(**said)).hostname  # type: ignore[arg-type]

    assert host(**{"from": first, "to": {**first, "hostname": "b"}}) == "b"
    assert host(**{"from": {**first, "port": 1}, "to": {**first, "hostname": "b"}}) == "a"
    for odd in ({}, {"hostname": "b"}, {**first, "hostname": "b b"}):
        assert host(**{"from": first, "to": odd}) == "a"
    assert host(**{"from": first}) == "a"
