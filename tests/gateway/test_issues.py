"""Every repair issue appears when something is wrong, and goes by itself when it is not."""

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
)

from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.capture import CaptureFault
from custom_components.ulogger.outbox.model import DeviceCounters
from tests.support.account import APPROVED, SENSOR, ToldTransport, certificate, load, log, meet
from tests.support.bluetooth import ADDRESS, OTHER_ADDRESS
from tests.support.issues import Pass, shown, time_passes

__all__ = ["time_passes"]

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def test_an_account_that_is_well_has_no_issues(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    assert shown(hass) == {}


# The certificate


async def test_a_certificate_that_expires_within_thirty_days_is_told_until_it_is_renewed(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    account = await load(hass, days=29)
    issue = shown(hass)["certificate_expires"]
    assert issue.severity is ir.IssueSeverity.WARNING
    renewed = certificate(400)
    hass.config_entries.async_update_entry(
        account,
        data={
            **account.data,
            "certificate": renewed.certificate,
            "private_key": renewed.private_key,
        },
    )
    await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert shown(hass) == {}


async def test_a_certificate_with_more_than_thirty_days_is_not_told(
    hass: HomeAssistant, transport: ToldTransport, time_passes: Pass
) -> None:
    await load(hass, days=32)
    assert shown(hass) == {}
    await time_passes(2 * DAY)
    assert list(shown(hass)) == ["certificate_expires"]


async def test_a_warning_becomes_an_error_when_the_certificate_expires(
    hass: HomeAssistant, transport: ToldTransport, time_passes: Pass
) -> None:
    await load(hass, days=5)
    await time_passes(6 * DAY)
    assert list(shown(hass)) == ["certificate_expired"]
    assert shown(hass)["certificate_expired"].severity is ir.IssueSeverity.ERROR


@pytest.mark.parametrize("days", [-1, 400])
async def test_one_card_is_shown_for_one_refused_certificate(
    hass: HomeAssistant, transport: ToldTransport, time_passes: Pass, days: int
) -> None:
    account = await load(hass, days=days)
    transport.tell(ConnectionState.CREDENTIALS_REFUSED)
    await time_passes(2 * MINUTE)
    assert [issue.issue_id for issue in ir.async_get(hass).issues.values()] == [
        f"config_entry_reauth_{DOMAIN}_{account.entry_id}"
    ]


async def test_a_refused_certificate_is_told_until_the_broker_takes_it(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, time_passes: Pass
) -> None:
    transport.tell(ConnectionState.CREDENTIALS_REFUSED)
    await time_passes(MINUTE)
    assert shown(hass) == {}
    # Home Assistant asks for another one, until somebody closes its form.
    (flow,) = hass.config_entries.flow.async_progress()
    assert flow["context"]["source"] == "reauth"
    hass.config_entries.flow.async_abort(flow["flow_id"])
    await time_passes(MINUTE)
    assert list(shown(hass)) == ["certificate_refused"]
    transport.tell(ConnectionState.CONNECTED)
    assert shown(hass) == {}


# The cloud


async def test_a_cloud_that_is_away_for_an_hour_is_told_until_it_is_back(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, time_passes: Pass
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    await time_passes(HOUR - MINUTE)
    assert shown(hass) == {}
    await time_passes(2 * MINUTE)
    assert list(shown(hass)) == ["cloud_unreachable"]
    transport.tell(ConnectionState.CONNECTING)
    assert list(shown(hass)) == ["cloud_unreachable"]
    transport.tell(ConnectionState.CONNECTED)
    assert shown(hass) == {}


async def test_short_outages_do_not_add_up(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, time_passes: Pass
) -> None:
    for _ in range(3):
        transport.tell(ConnectionState.DISCONNECTED)
        await time_passes(HOUR / 2)
        transport.tell(ConnectionState.CONNECTED)
    assert shown(hass) == {}


async def test_two_gateways_under_one_client_id_are_told_until_one_is_gone(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.CLIENT_ID_CONFLICT)
    assert list(shown(hass)) == ["client_id_conflict"]
    transport.tell(ConnectionState.CONNECTED)
    assert shown(hass) == {}


async def test_each_topic_that_the_policy_lacks_is_told_until_it_is_allowed(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    transport.deny("core-dump/v0/42/0", "metrics/v0/42/0/7", "boot/v0/42/0/7")
    found = [
        (issue.translation_key, (issue.translation_placeholders or {})["topic"])
        for issue in ir.async_get(hass).issues.values()
        if issue.domain == DOMAIN
    ]
    assert sorted(found) == [
        ("registration_denied", "boot/v0/42/0/7"),
        ("topic_denied", "core-dump/v0/42/0"),
        ("topic_denied", "metrics/v0/42/0/7"),
    ]
    transport.deny("metrics/v0/42/0/7")
    assert list(shown(hass)) == ["topic_denied"]
    transport.deny()
    assert shown(hass) == {}


# Bluetooth


async def test_no_adapter_that_can_connect_is_told_until_there_is_one(
    hass: HomeAssistant, account: MockConfigEntry, time_passes: Pass
) -> None:
    with patch(
        "custom_components.ulogger.gateway.issues.bluetooth.async_scanner_count", return_value=0
    ) as count:
        await time_passes(MINUTE)
        assert list(shown(hass)) == ["no_adapter"]
        count.assert_called_with(hass, connectable=True)
    await time_passes(MINUTE)
    assert shown(hass) == {}


async def unreachable(device: DeviceCoordinator, time_passes: Pass, span: timedelta) -> None:
    """Let a device be seen, and every connection to it fail, for a time."""
    device.unreachable_since = time.time()
    step = span / 4
    for _ in range(4):
        await time_passes(step)
        device.record.last_seen = time.time()
    await time_passes(MINUTE)


async def test_a_serial_is_text_whatever_it_looks_like(
    hass: HomeAssistant, account: MockConfigEntry, time_passes: Pass
) -> None:
    device = meet(account, replace(SENSOR, serial="<img src=x>![x](www.evil.invalid)"))
    await unreachable(device, time_passes, DAY)
    placeholders = shown(hass)["device_unreachable"].translation_placeholders
    assert placeholders == {
        "account": "uLogger 42",
        "device": "DoorSenseV2 img src=x ! x (www evil.invalid)",
    }


async def test_a_device_that_is_seen_and_can_not_be_reached_for_a_day_is_told(
    hass: HomeAssistant, device: DeviceCoordinator, time_passes: Pass
) -> None:
    await unreachable(device, time_passes, DAY - HOUR)
    assert shown(hass) == {}
    await time_passes(HOUR)
    issue = shown(hass)["device_unreachable"]
    assert issue.translation_placeholders == {
        "account": "uLogger 42",
        "device": "DoorSenseV2 A87DE76F0011",
    }
    device.unreachable_since = None
    await time_passes(MINUTE)
    assert shown(hass) == {}


async def test_a_device_that_is_away_is_no_issue(
    hass: HomeAssistant, device: DeviceCoordinator, time_passes: Pass
) -> None:
    await unreachable(device, time_passes, DAY)
    assert list(shown(hass)) == ["device_unreachable"]
    await time_passes(DAY)
    assert shown(hass) == {}


async def test_a_device_that_is_left_alone_is_no_issue(
    hass: HomeAssistant, device: DeviceCoordinator, time_passes: Pass
) -> None:
    await unreachable(device, time_passes, DAY)
    device.set_collect(collect=False)
    await time_passes(MINUTE)
    assert shown(hass) == {}


async def test_a_device_that_is_forgotten_takes_its_issue_with_it(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    time_passes: Pass,
) -> None:
    await unreachable(device, time_passes, DAY)
    await account.runtime_data.async_forget(device.identity.key)
    assert shown(hass) == {}


# The outbox


async def test_captures_in_quarantine_are_told_until_none_is_left(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    gateway = account.runtime_data
    added = await gateway.account.outbox.add(log(fault=CaptureFault.CHECKSUM))
    await gateway.account.async_refresh_counters()
    assert shown(hass)["quarantine"].translation_placeholders == {
        "account": "uLogger 42",
        "count": "1",
    }
    await gateway.account.outbox.discard(added.capture_id)
    await gateway.account.async_refresh_counters()
    assert shown(hass) == {}


async def test_a_full_disk_is_told_until_there_is_room(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    with patch("custom_components.ulogger.outbox.outbox.shutil.disk_usage") as usage:
        usage.return_value.free = 1000
        await account.runtime_data.account.disk_space.sweep()
        assert list(shown(hass)) == ["no_room"]
    await account.runtime_data.account.disk_space.sweep()
    assert shown(hass) == {}


async def test_a_damaged_outbox_is_told_until_somebody_took_note(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    path = outbox_path(hass, account.entry_id)
    await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.write_bytes, b"not a database" * 1000)
    await hass.config_entries.async_setup(account.entry_id)
    await hass.async_block_till_done()
    issue = shown(hass)["outbox_recovered"]
    assert Path(issue.translation_placeholders["file"]).name.startswith(path.name)
    await account.runtime_data.account.outbox.dismiss_recovery()
    account.runtime_data.account.changed.notify()
    assert shown(hass) == {}


# New devices


async def test_a_limit_of_devices_is_told_while_it_keeps_somebody_out(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    account = await load(hass, options={**APPROVED, "device_limit": 1})
    meet(account)
    fleet = account.runtime_data.fleet
    assert shown(hass) == {}
    fleet.identified(replace(SENSOR, application_id=7), "C0:FF:EE:00:00:07", "of nobody")
    assert shown(hass) == {}
    fleet.identified(replace(SENSOR, serial="SECOND"), OTHER_ADDRESS, "uLogger Example")
    assert list(shown(hass)) == ["device_limit"]
    await hass.config_entries.async_reload(account.entry_id)
    assert list(shown(hass)) == ["device_limit"]
    await account.runtime_data.async_forget(SENSOR.key)
    assert shown(hass) == {}


async def test_a_device_that_changes_its_serial_is_told_for_a_day(
    hass: HomeAssistant, account: MockConfigEntry, time_passes: Pass
) -> None:
    for number in range(6):
        assert shown(hass) == {}
        identity = replace(SENSOR, serial=f"S{number}")
        account.runtime_data.fleet.identified(identity, ADDRESS, "uLogger Example")
    assert list(shown(hass)) == ["new_devices_at_address"]
    await time_passes(DAY - HOUR)
    assert list(shown(hass)) == ["new_devices_at_address"]
    await time_passes(HOUR + MINUTE)
    assert shown(hass) == {}


# The quota


async def test_a_quota_reached_for_three_days_is_told_until_a_day_without(
    hass: HomeAssistant, transport: ToldTransport, freezer: FrozenDateTimeFactory, time_passes: Pass
) -> None:
    freezer.move_to("2030-05-01 12:00:00+00:00")
    account = await load(hass, days=10_000, options={**APPROVED, "daily_quota_kb": 400})
    device = meet(account)
    for day in range(3):
        assert shown(hass) == {}, day
        account.runtime_data.account.quota.counted(device.identity.key, 400_000)
        device.counters_changed(DeviceCounters())
        await time_passes(MINUTE)
        if day < 2:
            await time_passes(DAY)
    assert list(shown(hass)) == ["quota_reached"]
    await time_passes(2 * DAY)
    assert shown(hass) == {}


async def test_without_a_quota_there_is_nothing_to_tell(
    hass: HomeAssistant, device: DeviceCoordinator, time_passes: Pass
) -> None:
    device.record.quota_days = 3
    device.record.quota_day = int(time.time() // 86_400)
    await time_passes(MINUTE)
    assert shown(hass) == {}


# A card that is closed


async def test_a_card_that_was_answered_comes_back_while_its_cause_is_there(
    hass: HomeAssistant, account: MockConfigEntry, time_passes: Pass
) -> None:
    await account.runtime_data.account.outbox.add(log(fault=CaptureFault.CHECKSUM))
    await account.runtime_data.account.async_refresh_counters()
    ir.async_delete_issue(hass, DOMAIN, shown(hass)["quarantine"].issue_id)
    assert shown(hass) == {}
    await time_passes(MINUTE)
    assert list(shown(hass)) == ["quarantine"]


async def test_a_card_that_a_person_ignores_stays_ignored(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, time_passes: Pass
) -> None:
    transport.tell(ConnectionState.CLIENT_ID_CONFLICT)
    ir.async_ignore_issue(hass, DOMAIN, shown(hass)["client_id_conflict"].issue_id, True)
    await time_passes(MINUTE)
    assert shown(hass)["client_id_conflict"].dismissed_version is not None


async def test_what_was_ignored_stays_ignored_over_a_reload_until_it_is_over(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.CLIENT_ID_CONFLICT)
    ir.async_ignore_issue(hass, DOMAIN, shown(hass)["client_id_conflict"].issue_id, True)
    await hass.config_entries.async_reload(account.entry_id)
    transport.tell(ConnectionState.CLIENT_ID_CONFLICT)
    assert shown(hass)["client_id_conflict"].dismissed_version is not None
    transport.tell(ConnectionState.CONNECTED)
    transport.tell(ConnectionState.CLIENT_ID_CONFLICT)
    assert shown(hass)["client_id_conflict"].dismissed_version is None


# An account that is unloaded


async def test_an_account_that_is_disabled_takes_its_issues_with_it(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.CLIENT_ID_CONFLICT)
    assert shown(hass)
    await hass.config_entries.async_set_disabled_by(account.entry_id, ConfigEntryDisabler.USER)
    assert shown(hass) == {}


async def test_issues_of_two_accounts_stand_beside_each_other(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    await load(hass)
    await load(hass, customer_id=43, options={})
    with patch(
        "custom_components.ulogger.gateway.issues.bluetooth.async_scanner_count", return_value=0
    ):
        for entry in hass.config_entries.async_entries(DOMAIN):
            entry.runtime_data.account.changed.notify()
    titles = [
        issue.translation_placeholders["account"]
        for issue in ir.async_get(hass).issues.values()
        if issue.translation_key == "no_adapter"
    ]
    assert sorted(titles) == ["uLogger 42", "uLogger 43"]
