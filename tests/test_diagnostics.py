"""Diagnostics tell what a support case needs, and no secret, whatever way it might take."""

import json
import ssl
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.account.key_store import async_load_key
from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.collecting.connection import ConnectError
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.capture import CaptureFault
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import DiskFailed
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import APPROVED, SENSOR, TOKEN, ToldTransport, core_dump, load, log, meet
from tests.support.bluetooth import ADDRESS, OTHER_ADDRESS

from .support.outbox_world import queue
from .support.said import stored

CUSTOMER = 918273645
SUFFIX = "ca11ab1e"
API_TOKEN = "ulg_canary0123456789"
CA = "-----BEGIN CERTIFICATE-----\nCANARYCA\n-----END CERTIFICATE-----\n"


class Download:
    """What *Download diagnostics* gives."""

    def __init__(self, hass: HomeAssistant, client: Any) -> None:
        self.hass = hass
        self.client = client

    async def account(self, entry: MockConfigEntry) -> str:
        """The account's file."""
        return await self._get(f"/api/diagnostics/config_entry/{entry.entry_id}")

    async def device(self, entry: MockConfigEntry, identifier: tuple[str, str]) -> str:
        """The file of one device."""
        device = dr.async_get(self.hass).async_get_device_by_identifier(identifier, entry.entry_id)
        assert device is not None
        return await self._get(f"/api/diagnostics/config_entry/{entry.entry_id}/device/{device.id}")

    async def _get(self, url: str) -> str:
        response = await self.client.get(url)
        assert response.status == 200
        text: str = await response.text()
        return text


@pytest.fixture
async def download(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Download:
    for component in (DOMAIN, "diagnostics"):
        assert await async_setup_component(hass, component, {})
    return Download(hass, await hass_client())


def secrets(entry: MockConfigEntry, key: str) -> list[str]:
    """Give what must not be in any file, in the forms it may take."""
    pem = entry.data["certificate"] + key
    lines = [line for line in pem.splitlines() if not line.startswith("-----")]
    return [*lines, "CANARYCA", str(CUSTOMER), SUFFIX, API_TOKEN, str(TOKEN), f"{TOKEN:x}"]


async def test_no_secret_gets_into_a_file_by_any_way(
    hass: HomeAssistant, download: Download, transport: ToldTransport
) -> None:
    with patch("custom_components.ulogger.gateway.ulogger._tls") as tls:
        tls.return_value = (ssl.create_default_context(), None)
        entry = await load(
            hass,
            customer_id=CUSTOMER,
            client_suffix=SUFFIX,
            ca=CA,
            options={**APPROVED, "api_token": API_TOKEN},
        )
    gateway = entry.runtime_data
    device = meet(entry)
    key = await async_load_key(hass, entry) or ""
    assert key
    # Errors that quote topics, client ids, certificates and tokens, as they come from below.
    quoted = (
        f"binlog/v0/{CUSTOMER}/0/42 of cust-{CUSTOMER}-ha-{SUFFIX}: {API_TOKEN} "
        f"{entry.data['certificate']} {key} {TOKEN}"
    )
    await gateway.ulogger.cloud.tokens.put(device.identity, TOKEN)
    meet(
        entry, DeviceIdentity(42, f"serial {SUFFIX}", f"type-{CUSTOMER}", str(TOKEN)), OTHER_ADDRESS
    )
    gateway.fleet.identified(DeviceIdentity(7, "stranger"), "C0:FF:EE:00:00:03", quoted)
    transport.tell(ConnectionState.DISCONNECTED)
    added = await gateway.account.outbox.add(log())
    await queue(gateway.account.outbox).failed(added.capture_id, quoted)
    with (
        patch(
            "custom_components.ulogger.collecting.collection.Collection.run",
            side_effect=CloudUnavailable(quoted),
        ),
        patch("custom_components.ulogger.collecting.collector.SESSION_ERRORS", (CloudUnavailable,)),
        pytest.raises(CloudUnavailable),
    ):
        await device.async_collect()
    gateway.account.count(quoted)
    transport.tell(ConnectionState.CREDENTIALS_REFUSED)
    await hass.async_block_till_done()
    with patch.object(gateway.ulogger.cloud, "diagnostics", return_value={"told": [quoted, TOKEN]}):
        account = await download.account(entry)
    files = [account]
    identifiers = [each.identifier for each in gateway.devices.values()]
    files += [
        await download.device(entry, each) for each in [*identifiers, (DOMAIN, entry.entry_id)]
    ]
    # What a removed account leaves behind is in the files of all others.
    await hass.config_entries.async_remove(entry.entry_id)
    other = await load(hass, customer_id=1)
    files.append(await download.account(other))
    for secret in secrets(entry, key):
        for file in files:
            assert secret not in file
    assert "left_behind" in files[-1]
    assert "binlog/v0/**REDACTED**/0/42 of cust-**REDACTED**-ha-**REDACTED**" in account


async def test_a_small_customer_number_is_hidden_where_it_names_the_customer(
    hass: HomeAssistant, download: Download, transport: ToldTransport
) -> None:
    entry = await load(hass, customer_id=7)
    with patch.object(
        entry.runtime_data.ulogger.cloud,
        "diagnostics",
        return_value={"told": "boot/v0/7/0/42 by cust-7-ha-x after 7 seconds", "tokens": 7},
    ):
        data = json.loads(await download.account(entry))["data"]
    assert (
        data["destinations"]["ulogger"]["told"]
        == "boot/v0/**REDACTED**/0/42 by cust-**REDACTED**-ha-x after 7 seconds"
    )
    assert data["destinations"]["ulogger"]["tokens"] == 7


async def test_an_account_tells_what_a_support_case_needs(
    hass: HomeAssistant, download: Download, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await account.runtime_data.account.outbox.add(log(fault=CaptureFault.TOO_LONG))
    await account.runtime_data.account.async_refresh_counters()
    data = json.loads(await download.account(account))["data"]
    assert data["versions"].keys() == {"home_assistant", "ulogger"}
    assert data["entry"]["data"]["broker"] == "broker.invalid"
    assert data["entry"]["options"]["applications"].keys() == {"42"}
    assert data["bluetooth"]["adapters"]
    assert data["destinations"]["ulogger"]["state"] == "connected"
    assert data["outbox"]["totals"]["quarantined"] == 1
    (row,) = data["outbox"]["undelivered"]
    assert (row["state"], row["fault"]) == ("quarantined", "too_long")
    (told,) = data["devices"]
    assert told["identity"]["serial"] == SENSOR.serial
    assert told["address"] == ADDRESS
    assert told["reachability"]


async def test_an_account_that_is_not_loaded_tells_what_it_remembers(
    hass: HomeAssistant, download: Download, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    account.runtime_data.account.store.tokens = {"42/x": {"token": TOKEN, "git_hash": "", "at": 0}}
    assert await hass.config_entries.async_unload(account.entry_id)
    files = [await download.account(account), await download.device(account, device.identifier)]
    for text in files:
        data = json.loads(text)["data"]
        assert data["entry"]["state"] == "not_loaded"
        assert data["entry"]["data"]["broker"] == "broker.invalid"
        (told,) = data["devices"]
        assert told["identity"]["serial"] == SENSOR.serial
        assert str(TOKEN) not in text


async def test_sessions_are_told_over_a_reload(
    hass: HomeAssistant, download: Download, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    with pytest.raises(ConnectError):
        await device.async_collect()
    assert await hass.config_entries.async_reload(account.entry_id)
    data = json.loads(await download.device(account, device.identifier))["data"]
    assert len(data["device"]["sessions"]) == 1


async def test_crash_groups_are_told_and_each_devices_last_crash(
    hass: HomeAssistant, download: Download, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await stored(device, core_dump())
    data = json.loads(await download.account(account))["data"]
    crashes = data["crashes"]
    assert (crashes["groups"], crashes["open"]) == (1, 1)
    (group,) = crashes["latest"]
    assert (group["count"], group["kept"], group["state"]) == (1, 1, "open")
    assert (group["devices"], group["versions"]) == (1, ["4.24.2"])
    (told,) = data["devices"]
    assert told["last_crash"] == {
        "at": core_dump().captured_at,
        "reason": group["reason"],
        "version": "4.24.2",
        "git_hash": "bc53443",
        "fingerprint": group["fingerprint"],
        "crashed_since": True,
    }


async def test_a_device_tells_its_last_fifty_sessions_with_reasons(
    hass: HomeAssistant, download: Download, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    for _ in range(51):
        with pytest.raises(ConnectError):
            await device.async_collect()
    await account.runtime_data.account.outbox.add(log())
    data = json.loads(await download.device(account, device.identifier))["data"]
    assert len(data["device"]["sessions"]) == 50
    session = data["device"]["sessions"][-1]
    assert session["result"] in {"out_of_range", "no_adapter"}
    assert session["detail"]
    (capture,) = data["captures"]
    assert capture["size"] == len(log().data)


async def test_a_disk_that_fails_is_a_part_of_the_answer(
    hass: HomeAssistant, download: Download, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    with patch.object(Outbox, "listing", side_effect=DiskFailed("input/output error")):
        told = json.loads(await download.account(account))["data"]["outbox"]
        of_device = json.loads(await download.device(account, device.identifier))["data"]
    assert told == {"error": "disk_failed", "detail": "input/output error"}
    assert of_device["captures"] == told


async def test_a_damaged_outbox_is_told_without_a_path(
    hass: HomeAssistant, download: Download, account: MockConfigEntry
) -> None:
    path = outbox_path(hass, account.entry_id)
    await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.write_bytes, b"not a database" * 1000)
    await hass.config_entries.async_setup(account.entry_id)
    text = await download.account(account)
    recovered = json.loads(text)["data"]["outbox"]["recovered"]
    assert recovered["set_aside"].startswith(path.name)
    assert str(path.parent) not in text
