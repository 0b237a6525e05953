"""Heartbeats: after a session and daily while a device is seen, many in one message."""

import json
from datetime import timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components import bluetooth
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)
from pytest_homeassistant_custom_component.test_util.aiohttp import AiohttpClientMocker

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import MessageRefused, NotAcknowledged
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from tests.support.account import APPROVED, SENSOR, ToldTransport, certificate, load, meet
from tests.support.bluetooth import service_info
from tests.support.road import IDENTITY, Road, add_account

certificate(1000)  # none can be issued while the time is frozen

OTHER = DeviceIdentity(42, "B00000000002", "DoorSenseV2", "4.24.2", "bc53443")
OF_ANOTHER_APPLICATION = DeviceIdentity(7, "C00000000003", "Lamp", "1", "c0ffee")


async def let_pass(hass: HomeAssistant, freezer: FrozenDateTimeFactory, seconds: float) -> None:
    freezer.tick(timedelta(seconds=seconds))
    async_fire_time_changed(hass)
    await hass.async_block_till_done()


def beats(transport: ToldTransport) -> list[dict[str, dict[str, Any]]]:
    """Each message's devices, with their metrics by name."""
    messages = []
    for topic, payload in transport.published:
        if topic.startswith("metrics"):
            content = json.loads(payload)
            messages.append(
                {
                    each["device_serial"]: {m["name"]: m["value"] for m in each["metrics"]}
                    for each in content.get("devices", [content])
                }
            )
    return messages


def see(device: DeviceCoordinator, rssi: int = -60) -> None:
    device.seen(service_info(rssi=rssi))


async def test_after_a_session_the_cloud_hears_of_the_device_and_how_well_it_hears_us(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    device = road.device()
    # Its tick of an earlier connection has measured that; the first of this one is yet to come.
    device.firmware._measured = -77
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    await cloud_service.wait_for("binlog")
    await road.pass_time(seconds=6)
    [message] = await cloud_service.wait_for("metrics")
    metrics = {each["name"]: each for each in message.json()["metrics"]}
    assert message.json()["device_serial"] == IDENTITY.serial
    assert metrics["heartbeat"]["value"] == 1
    assert metrics["rssi"]["value"] == -77
    assert metrics["heartbeat"]["timestamp"] == metrics["rssi"]["timestamp"]
    assert coordinator.record.last_heartbeat > 0


async def test_a_device_that_has_not_measured_yet_is_not_told_as_hearing_us_perfectly(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    device = road.device()
    device.firmware.rssi = 0
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    assert ("read", "rssi") in road.operations(device)
    await road.pass_time(seconds=6)
    [message] = await cloud_service.wait_for("metrics")
    metrics = {each["name"]: each["value"] for each in message.json()["metrics"]}
    assert metrics == {"heartbeat": 1, "rssi": device.rssi}


async def test_a_device_that_is_only_seen_is_told_once_a_day(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = service_info(rssi=-66)
    monkeypatch.setattr(bluetooth, "async_last_service_info", lambda *_, **__: heard)
    device.set_collect(collect=False)
    for _ in range(2 * 49):
        see(device, -66)
        await let_pass(hass, freezer, 1800)
        await let_pass(hass, freezer, 6)
    assert beats(transport) == [{SENSOR.serial: {"heartbeat": 1, "rssi": -66}}] * len(
        beats(transport)
    )
    assert len(beats(transport)) == 3


async def test_a_device_that_is_not_seen_any_more_is_told_no_longer(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    see(device)
    device.lost()
    device.record.last_seen = 0
    for _ in range(60):
        await let_pass(hass, freezer, 1800)
        await let_pass(hass, freezer, 6)
    assert beats(transport) == []


async def test_devices_of_one_application_go_up_together(
    hass: HomeAssistant, freezer: FrozenDateTimeFactory, transport: ToldTransport
) -> None:
    applications = {**APPROVED["applications"], "7": {"device_types": []}}
    account = await load(hass, options={"applications": applications})
    devices = [
        meet(account, identity, f"C0:FF:EE:00:00:0{number}")
        for number, identity in enumerate((SENSOR, OTHER, OF_ANOTHER_APPLICATION))
    ]
    for device in devices:
        account.runtime_data.session_succeeded.notify(device)
    await let_pass(hass, freezer, 6)
    assert sorted(sorted(message) for message in beats(transport)) == [
        [SENSOR.serial, OTHER.serial],
        [OF_ANOTHER_APPLICATION.serial],
    ]


async def test_without_a_connection_heartbeats_wait_with_the_time_of_the_session(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    account.runtime_data.session_succeeded.notify(device)
    then = int(freezer().timestamp())
    await let_pass(hass, freezer, 600)
    assert beats(transport) == []

    transport.tell(ConnectionState.CONNECTED)
    await let_pass(hass, freezer, 6)

    [(_, payload)] = transport.published
    assert abs(json.loads(payload)["metrics"][0]["timestamp"] - then) <= 1


async def test_what_was_not_acknowledged_is_sent_again_and_what_is_refused_is_not(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    gateway = account.runtime_data
    transport.refusal = NotAcknowledged("told so")
    gateway.session_succeeded.notify(device)
    await let_pass(hass, freezer, 6)
    assert gateway.account.rejections["not_acknowledged"] == 1
    transport.refusal = None
    gateway.account.changed.notify()
    await let_pass(hass, freezer, 6)
    assert len(beats(transport)) == 1

    transport.refusal = MessageRefused("told so")
    gateway.session_succeeded.notify(device)
    await let_pass(hass, freezer, 6)
    transport.refusal = None
    gateway.account.changed.notify()
    await let_pass(hass, freezer, 6)
    assert len(beats(transport)) == 1


async def test_heartbeats_can_be_turned_off(
    hass: HomeAssistant, freezer: FrozenDateTimeFactory, transport: ToldTransport
) -> None:
    account = await load(hass, options={**APPROVED, "heartbeats": False})
    device = meet(account)
    see(device)
    account.runtime_data.session_succeeded.notify(device)
    await let_pass(hass, freezer, 1800)
    await let_pass(hass, freezer, 6)
    assert transport.published == []


async def test_with_an_api_token_heartbeats_need_no_mqtt(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    aioclient_mock: AiohttpClientMocker,
    transport: ToldTransport,
) -> None:
    aioclient_mock.post("https://api.ulogger.ai/publish/metrics", json={"success": True})
    account = await load(hass, options={**APPROVED, "api_token": "ulg_secret"})
    device = meet(account)
    transport.tell(ConnectionState.DISCONNECTED)
    account.runtime_data.session_succeeded.notify(device)
    await let_pass(hass, freezer, 6)
    assert aioclient_mock.call_count == 1
    assert transport.published == []
