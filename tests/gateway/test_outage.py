"""When the cloud, its answers or the disk are away: devices are relieved or keep everything."""

import asyncio
from dataclasses import replace
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import HeldBack, TopicDenied
from custom_components.ulogger.collecting import shown_phase
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import DiskFull
from custom_components.ulogger.outbox.outbox import Outbox
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.device.samples import sample_log
from tests.cloud.conftest import until
from tests.support.account import SENSOR, ToldTransport, core_dump, log
from tests.support.bluetooth import ADDRESS, OTHER_ADDRESS
from tests.support.road import CORE_DUMP, IDENTITY, Road, add_account

OTHER = DeviceIdentity(42, "A87DE76F0022", "DoorSenseV2", "4.24.2", "bc53443")


async def test_captures_wait_for_the_broker_over_a_restart_and_go_up_in_order(
    hass: HomeAssistant,
    broker: LocalBroker,
    cloud_service: LocalCloud,
    road: Road,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shown_phase, "SHOWN_AFTER", 0.05)
    await broker.astop()
    entry = await add_account(hass, broker)
    for index, (address, identity) in enumerate(((ADDRESS, IDENTITY), (OTHER_ADDRESS, OTHER))):
        device = road.device(address, identity, sample_log(300 + index, seed=index))
        await road.adopted(entry, identity)
        await road.collected(device)
        await road.until_shown(entry, "captures_waiting", "1", identity)
        await road.until_shown(entry, "state", "waiting_for_cloud", identity)
    # A newer capture of the first device, from before the restart too.
    newer = replace(
        await entry.runtime_data.account.outbox.read(1),
        data=sample_log(500, seed=9),
        captured_at=2e9,
    )
    await entry.runtime_data.account.outbox.add(newer)

    assert await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    assert cloud_service.messages == []
    await broker.astart()

    logs = await cloud_service.wait_for("binlog", 3)
    sizes = {
        serial: [
            len(log.payload)
            for log in logs
            if (at := cloud_service.device_of(log)) is not None and at.serial == serial
        ]
        for serial in (IDENTITY.serial, OTHER.serial)
    }
    assert sizes == {IDENTITY.serial: [300, 500], OTHER.serial: [301]}
    await road.until_shown(entry, "captures_waiting", "0")


async def test_without_a_token_a_log_waits_and_never_goes_up_with_token_0(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    cloud_service.muted = True
    entry = await add_account(hass, broker)
    entry.runtime_data.ulogger.cloud._registrar._reply_timeout = 0.2
    device = road.device()
    await road.adopted(entry)
    await road.collected(device)
    await cloud_service.wait_for("boot")
    await road.until(lambda: entry.runtime_data.account.rejections["registration_failed"])
    await road.until_shown(entry, "captures_waiting", "1")
    assert cloud_service.of("binlog") == []

    cloud_service.muted = False
    entry.runtime_data.destinations["ulogger"].delivery.retry_now()

    [log] = await cloud_service.wait_for("binlog")
    assert log.token in cloud_service.registrations


async def test_a_core_dump_needs_no_token(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    cloud_service.muted = True
    device = road.device(log=b"", core_dump=CORE_DUMP)
    await add_account(hass, broker)
    await road.collected(device)
    [dump] = await cloud_service.wait_for("core-dump")
    assert dump.payload == CORE_DUMP


async def test_with_a_full_disk_the_device_keeps_everything_until_there_is_room(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    entry = await add_account(hass, broker)
    with patch.object(Outbox, "add", side_effect=DiskFull("told so")):
        device = road.device()
        coordinator = await road.adopted(entry)
        await road.until(lambda: coordinator.data.last_error == "disk_full")
        await road.idle(coordinator)
    assert device.erased == []
    assert not device.empty
    assert cloud_service.of("binlog") == []

    await coordinator.async_collect()

    assert device.empty
    assert len(await cloud_service.wait_for("binlog")) == 1


async def test_new_firmware_registers_anew(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    device = road.device()
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await cloud_service.wait_for("binlog")
    await road.idle(coordinator)
    del road.adapter.devices[ADDRESS]
    updated = replace(IDENTITY, git_hash="0ff1ce5")
    road.device(identity=updated, log=sample_log(400, seed=5))
    await coordinator.async_collect()

    before, after = await cloud_service.wait_for("binlog", 2)
    assert before.token != after.token
    registered = [cloud_service.device_of(log) for log in (before, after)]
    assert [each and each.git_hash for each in registered] == ["bc53443", "0ff1ce5"]


async def test_a_connection_that_is_back_does_not_try_again_what_was_blamed(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    gateway = account.runtime_data
    transport.refusal = HeldBack("told so", 1_000)
    await gateway.account.outbox.add(log())
    gateway._captures_stored()
    await until(lambda: gateway.account.rejections["held_back"])
    transport.refusal = None
    transport.tell(ConnectionState.DISCONNECTED)
    transport.tell(ConnectionState.CONNECTED)
    await asyncio.sleep(0.1)
    assert gateway.account.rejections["held_back"] == 1
    assert transport.published == []
    gateway.async_forgive()
    assert await gateway.destinations["ulogger"].delivery.wait_delivered(SENSOR.key, [1], 10) == {1}


async def test_what_is_not_denied_any_more_goes_at_once(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    gateway = account.runtime_data
    transport.refusal = TopicDenied("core-dump/v0/42/0", 1_000)
    await gateway.account.outbox.add(core_dump())
    gateway._captures_stored()
    await until(lambda: gateway.account.rejections["topic_denied"])
    transport.refusal = None
    transport.deny()
    assert await gateway.destinations["ulogger"].delivery.wait_delivered(SENSOR.key, [1], 10) == {1}
