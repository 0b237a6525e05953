"""An account as a thing at Clesyde: captures, shadow and certificates, with a real broker."""

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.clesyde.unprovisioned import Unprovisioned
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.model.capture import CaptureKind
from demo.clesyde.platform import LocalClesyde, serial_of
from demo.cloud.certificates import Issued
from tests.support.account import CRASH_DUMP, CRASH_LOG, SENSOR, core_dump, load, log, meet
from tests.support.clesyde import (
    RAW,
    SERIAL,
    add_thing,
    clesyde,
    entity_ids,
    in_an_hour,
    online,
    thing_of,
    until,
)
from tests.support.flows import answer, suggestions

__all__ = ["clesyde"]

SECONDS = 20.0


@pytest.fixture
async def only_clesyde(hass: HomeAssistant) -> MockConfigEntry:
    """An account without uLogger."""
    return await load(hass, connection="none")


async def got(account: MockConfigEntry, destination: str, *ids: int) -> bool:
    delivery = account.runtime_data.destinations[destination].delivery
    return bool(await delivery.wait_delivered(SENSOR.key, ids, SECONDS) == set(ids))


def private_keys(hass_storage: dict[str, Any]) -> dict[str, Any]:
    """Return the keys on disk by their IDs."""
    file = hass_storage.get("ulogger.key.5eed5eed.destinations")
    return file["data"] if file else {}


# There, and gone


async def test_a_thing_says_that_it_is_there_and_that_it_goes(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    assert await hass.config_entries.async_unload(only_clesyde.entry_id)
    await until(hass, clesyde, lambda: device.states[-1] == "OFFLINE")


async def test_the_broker_says_that_it_is_gone_when_the_connection_breaks(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    thing_of(only_clesyde, subentry).transport._connection.abort()  # type: ignore[attr-defined]
    await until(hass, clesyde, lambda: "OFFLINE" in device.states)
    await until(hass, clesyde, lambda: device.states[-1] == "ONLINE")


@pytest.mark.parametrize(
    "topic",
    ["c/platform", f"c/d/{SERIAL}/remotetoken/res", f"c/d/{SERIAL}/remotecr/res"]
    + [
        f"$aws/things/{SERIAL}/shadow/name/config/{name}"
        for name in ("update/delta", "update/documents", "get/rejected", "odd/accepted")
    ],
)
async def test_nothing_hangs_on_a_bad_message(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde, topic: str
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    for rubbish in (b"", b"\xff", b"[" * 5000, b'{"state": 3}', b"x" * 100_000):
        await clesyde.say(topic, rubbish)
    await clesyde.desire(device, {"retentionDays": 31})
    await until(hass, clesyde, lambda: device.shadow.reported.get("retentionDays") == 31)
    if topic != "c/platform":
        assert only_clesyde.options["retentionDays".replace("D", "_d")] == 31
    assert subentry.subentry_id in only_clesyde.runtime_data.destinations


# Captures


async def test_no_captures_go_there_unless_somebody_wants_that(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    meet(only_clesyde)
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    await only_clesyde.runtime_data.account.outbox.add(log())
    only_clesyde.runtime_data._wake()
    await asyncio.sleep(0.3)
    assert not device.messages
    active = only_clesyde.runtime_data.destinations[subentry.subentry_id]
    assert active.counters.waiting == 0


async def test_raw_captures_arrive_as_they_came_off_the_device(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    meet(only_clesyde)
    subentry = await add_thing(hass, only_clesyde, clesyde, **RAW)
    device = await online(hass, clesyde)
    outbox = only_clesyde.runtime_data.account.outbox
    ids = [(await outbox.add(each)).capture_id for each in (log(), core_dump())]
    assert await got(only_clesyde, subentry.subentry_id, *ids)
    await until(hass, clesyde, lambda: len(clesyde.whole(device, "up/logs", "up/crashes")) == 2)
    assert clesyde.whole(device, "up/logs", "up/crashes") == [
        (SENSOR.serial, CaptureKind.LOG, CRASH_LOG),
        (SENSOR.serial, CaptureKind.CORE_DUMP, CRASH_DUMP),
    ]
    assert not clesyde.faulty


async def test_decoded_captures_are_lines_metrics_and_reports(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    meet(only_clesyde)
    topics = {
        "logs_topic": "logs",
        "metrics_topic": "metrics",
        "crashes_topic": "crashes",
        "format": "decoded",
        "include_kept": True,
    }
    subentry = await add_thing(hass, only_clesyde, clesyde, **topics)
    device = await online(hass, clesyde)
    outbox = only_clesyde.runtime_data.account.outbox
    ids = [(await outbox.add(each)).capture_id for each in (log(), core_dump())]
    assert await got(only_clesyde, subentry.subentry_id, *ids)
    await until(hass, clesyde, lambda: clesyde.said(device, "crashes"))
    [said] = clesyde.said(device, "logs")
    reading = await only_clesyde.runtime_data.readings.async_reading(ids[0])
    assert [each["text"] for each in said["frames"]] == [each.message for each in reading.frames]
    assert (said["serial"], said["part"], said["parts"]) == (SENSOR.serial, 1, 1)
    values = [(each.name, each.value) for each in reading.metrics]
    told = [
        (each["name"], each["value"])
        for message in clesyde.said(device, "metrics")
        for each in message["metrics"]
    ]
    assert told == values
    [crash] = clesyde.said(device, "crashes")
    assert crash["report"]["device"] == SENSOR.serial
    assert crash["report"]["fingerprint"]


async def test_captures_go_from_when_a_topic_was_chosen(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    meet(only_clesyde)
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    await only_clesyde.runtime_data.account.outbox.add(log())
    menu = await only_clesyde.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    form = await answer(hass, menu, next_step_id="captures")
    await answer(
        hass, form, **{**suggestions(form), **RAW, "logs_topic": "late", "include_kept": False}
    )
    later = await only_clesyde.runtime_data.account.outbox.add(core_dump())
    assert await got(only_clesyde, subentry.subentry_id, later.capture_id)
    await until(hass, clesyde, lambda: device.messages)
    assert [kind for _, kind, _ in clesyde.whole(device, "late", "up/crashes")] == [
        CaptureKind.CORE_DUMP
    ]


# The shadow


async def test_what_is_desired_becomes_an_option_and_is_reported(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    assert device.shadow.reported["collectInterval"] == 15
    await clesyde.desire(
        device, {"collectInterval": 5, "retentionMb": 77, "remoteAccess": True, "retentionDays": 0}
    )
    await until(hass, clesyde, lambda: device.shadow.reported.get("collectInterval") == 5)
    await until(hass, clesyde, lambda: device.shadow.reported.get("retentionMb") == 77)
    assert only_clesyde.options["collect_interval"] == 5
    assert only_clesyde.options["retention_mb"] == 77
    assert "retention_days" not in only_clesyde.options
    await until(hass, clesyde, lambda: device.shadow.reported.get("refused"))
    assert device.shadow.reported["refused"] == {
        "remoteAccess": "not settable",
        "retentionDays": "a whole number from 1 to 3650",
    }
    assert device.shadow.reported["remoteAccess"] is False


async def test_a_conflict_is_resolved_by_reading_anew(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    # Somebody else changes the shadow, and no notice of it comes.
    device.shadow.version += 5
    hass.config_entries.async_update_entry(
        only_clesyde, options={**only_clesyde.options, "retention_days": 9}
    )
    sync = thing_of(only_clesyde, subentry).shadow
    assert sync is not None
    sync.report_soon()
    await until(hass, clesyde, lambda: device.shadow.reported.get("retentionDays") == 9)
    assert device.shadow.conflicts == 1
    assert sync.counters["conflicts"] == 1


async def test_a_wish_for_a_log_level_reaches_the_device_of_its_name(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    sensor = meet(only_clesyde)
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    sensor = only_clesyde.runtime_data.devices[SENSOR.key]
    wish = {"level": "info", "until": in_an_hour(), "moduleFlags": 3}
    await clesyde.desire(device, {"logLevels": {f"42-{SENSOR.serial}": wish, "nobody": wish}})
    await until(hass, clesyde, lambda: sensor.log_level is not None)
    assert sensor.log_level is not None
    assert (sensor.log_level.level_name, sensor.log_level.module_flags) == ("info", 3)
    assert sensor.log_level.source == subentry.subentry_id
    await until(hass, clesyde, lambda: device.shadow.reported.get("logLevels"))
    assert list(device.shadow.reported["logLevels"]) == [f"42-{SENSOR.serial}"]
    assert "logLevels.nobody" in device.shadow.reported["refused"]


async def test_devices_are_reported_within_the_size_of_a_shadow(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    for number in range(120):
        meet(
            only_clesyde,
            type(SENSOR)(42, f"D{number:04}", "DoorSenseV2", "1.0", "abc"),
            f"C0:FF:EE:01:00:{number:02X}",
        )
    sync = thing_of(only_clesyde, subentry).shadow
    assert sync is not None
    sync.report_soon()
    await until(hass, clesyde, lambda: device.shadow.reported.get("devicesOmitted"))
    reported = device.shadow.reported
    assert len(reported["devices"]) + reported["devicesOmitted"] == 120
    assert device.shadow.largest <= 8192
    assert not device.shadow.rejected


# Certificates


async def test_a_new_certificate_is_fetched_checked_and_kept(
    hass: HomeAssistant,
    only_clesyde: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    before = serial_of(device.remote)
    assert device.shadow.reported["remoteCertSn"] == before
    serial = await clesyde.rotate(device)
    await until(hass, clesyde, lambda: device.shadow.reported["remoteCertSn"] == serial)
    assert device.certificate_requests == [serial]
    keys = thing_of(only_clesyde, subentry).keys
    assert keys.thing.remote.certificate == device.remote.certificate
    assert keys.thing.before is not None
    [kept] = private_keys(hass_storage).values()
    assert kept["thing"]["remote"]["key"] == device.remote.private_key
    assert serial_of(Issued(kept["thing"]["before"]["certificate"], "")) == before


async def test_a_certificate_that_is_not_newer_or_not_its_keys_is_refused(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde)
    device = await online(hass, clesyde)
    thing = thing_of(only_clesyde, subentry)
    present = thing.keys.thing.remote
    kept = device.remote
    serial = await clesyde.rotate(device)
    await until(hass, clesyde, lambda: thing.keys.remote.serial == serial)
    # The one before again: it is older.
    device.remote = kept
    await clesyde.desire(device, {"remoteCertSn": serial_of(kept)})
    await until(hass, clesyde, lambda: thing.rotation.failure == "certificate_older")
    assert thing.keys.thing.before == present
    assert thing.keys.remote.serial == serial


# Its keys


async def test_a_thing_whose_keys_are_gone_says_so_and_captures_wait(
    hass: HomeAssistant,
    only_clesyde: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde, **RAW)
    await online(hass, clesyde)
    assert await hass.config_entries.async_unload(only_clesyde.entry_id)
    del hass_storage["ulogger.key.5eed5eed.destinations"]
    assert await hass.config_entries.async_setup(only_clesyde.entry_id)
    await hass.async_block_till_done()
    active = only_clesyde.runtime_data.destinations[subentry.subentry_id]
    assert isinstance(active.destination, Unprovisioned)
    issue = f"clesyde_refused-{only_clesyde.entry_id}-{subentry.subentry_id}"
    assert ir.async_get(hass).async_get_issue(DOMAIN, issue) is not None
    await only_clesyde.runtime_data.account.outbox.add(log())
    await only_clesyde.runtime_data.account.async_refresh_counters()
    assert active.counters.waiting == 1


async def test_keys_go_with_their_destination(
    hass: HomeAssistant,
    only_clesyde: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde)
    await online(hass, clesyde)
    assert len(private_keys(hass_storage)) == 1
    hass.config_entries.async_remove_subentry(only_clesyde, subentry.subentry_id)
    await hass.async_block_till_done()
    assert not private_keys(hass_storage)


async def test_diagnostics_say_how_it_stands_and_no_secret(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde, **RAW)
    device = await online(hass, clesyde)
    told: Any = await async_get_config_entry_diagnostics(hass, only_clesyde)
    about = told["destinations"][subentry.subentry_id]
    assert about["shadow"]["version"] == device.shadow.version
    assert about["remote"] == {
        "wanted": False,
        "state": "off",
        "failure": None,
        "valid_until": None,
        "requests": {},
    }
    text = json.dumps(told, default=str)
    for secret in (SERIAL, device.name, "BEGIN", "privateKey"):
        assert secret not in text


async def test_a_thing_has_entities_of_its_own(
    hass: HomeAssistant, only_clesyde: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    subentry = await add_thing(hass, only_clesyde, clesyde)
    await online(hass, clesyde)
    ids = entity_ids(hass, only_clesyde, subentry)
    assert set(ids) == {
        "binary_sensor.connection",
        "binary_sensor.remote_access",
        "sensor.captures_waiting",
        "sensor.certificate_expiry",
        "sensor.remote_certificate_expiry",
        "sensor.remote_token_expiry",
        "switch.remote_access",
    }
    shown = {key: hass.states.get(each) for key, each in ids.items()}
    states = {key: state.state for key, state in shown.items() if state}
    assert states["binary_sensor.connection"] == "on"
    assert states["binary_sensor.remote_access"] == states["switch.remote_access"] == "off"
    assert states["sensor.remote_token_expiry"] == "unknown"
    keys = thing_of(only_clesyde, subentry).keys
    for key, about in (("certificate", keys.iot), ("remote_certificate", keys.remote)):
        shown_until = datetime.fromisoformat(states[f"sensor.{key}_expiry"])
        assert shown_until == about.until.replace(microsecond=0)
