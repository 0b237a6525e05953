"""Log configurations: from the cloud or a person, kept, shown, and written to the device."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from struct import Struct
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.util import dt as dt_util
from probatio import Invalid
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.ulogger.account.store import AccountStore
from custom_components.ulogger.agent.errors import LinkLost
from custom_components.ulogger.agent.session import AgentSession
from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.cloud.ulogger.messages import log_config_message
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.identity import ULOGGER
from custom_components.ulogger.model.log_config import ALL_MODULES, LogConfig
from custom_components.ulogger.model.log_levels import PERSON, UNKNOWN, LogLevels
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.device.virtual import VirtualDevice
from tests.support.account import SENSOR, ToldTransport, certificate, meet
from tests.support.flows import ENGLISH
from tests.support.log_levels import wish, withdraw_all
from tests.support.road import APPLICATION, IDENTITY, Road, add_account

certificate(1000)  # none can be issued while the time is frozen

TOPIC = f"config/v0/42/0/42/{SENSOR.serial}"
PACKET = Struct("<BII")


def written(road: Road) -> list[bytes]:
    """What was written to log_config characteristics."""
    return [value for _, op, name, value in road.adapter.operations if name == "log_config"]


async def until_written(road: Road, device: DeviceCoordinator, count: int) -> list[bytes]:
    await road.until(lambda: len(written(road)) >= count and device._task is None)
    return written(road)


def shown(hass: HomeAssistant, account: MockConfigEntry, key: str) -> Any:
    road = Road(hass, None)  # type: ignore[arg-type]
    return hass.states.get(road.entity_id(account, key, SENSOR))


async def choose(hass: HomeAssistant, account: MockConfigEntry, option: str) -> None:
    entity_id = shown(hass, account, "log_level").entity_id
    data = {"entity_id": entity_id, "option": option}
    await hass.services.async_call("select", "select_option", data, blocking=True)


async def set_level(hass: HomeAssistant, account: MockConfigEntry, **data: Any) -> None:
    device_id = Road(hass, None).device_id(account, SENSOR)  # type: ignore[arg-type]
    await hass.services.async_call(
        DOMAIN, "set_log_level", {"device_id": device_id, **data}, blocking=True
    )


# From the cloud to the device


async def test_a_configuration_for_a_device_that_is_away_is_written_when_it_is_back(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    device: VirtualDevice = road.device()
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    await cloud_service.send_log_config(
        APPLICATION, IDENTITY.serial, level=0, module_flags=0x88, timeout=600, modules=["BLE", "FS"]
    )
    chosen = road.entity_id(entry, "log_level")
    await road.until(lambda: hass.states.get(chosen).attributes["wished"] == "debug")  # type: ignore[union-attr]
    state = hass.states.get(road.entity_id(entry, "log_level_until"))
    assert state is not None
    assert state.attributes["modules"] == ["BLE", "FS"]
    assert state.attributes["module_flags"] == "0x00000088"
    assert state.attributes["written"] is False
    assert written(road) == []
    await wish(coordinator, LogConfig(0, 0x88, 300, ("BLE", "FS")), ULOGGER)

    sessions = len(coordinator.timeline)
    collecting = asyncio.ensure_future(coordinator.async_collect())
    [packet] = await until_written(road, coordinator, 1)
    await collecting

    assert len(packet) == 9
    level, flags, seconds = PACKET.unpack(packet)
    assert (level, flags) == (0, 0x88)
    assert 295 <= seconds <= 300
    assert device.firmware.log_config is not None
    assert len(coordinator.timeline) == sessions + 1
    assert coordinator.record.modules == {"BLE": 3, "FS": 7}
    assert coordinator.log_level is not None
    assert coordinator.log_level_written
    await coordinator.async_collect()
    assert len(written(road)) == 1


async def test_a_configuration_is_written_at_once_to_a_device_that_is_connected(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    device = road.device()
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    collection_began = asyncio.Event()
    go_on = asyncio.Event()
    keep = entry.runtime_data.account.outbox.add

    async def hold(capture: Any) -> Any:
        collection_began.set()
        await go_on.wait()
        return await keep(capture)

    entry.runtime_data.account.outbox.add = hold
    async with asyncio.timeout(10):
        await collection_began.wait()
    await wish(coordinator, LogConfig(3, ALL_MODULES, 60))

    [packet] = written(road)
    assert PACKET.unpack(packet)[:2] == (3, ALL_MODULES)
    go_on.set()
    await road.collected(device)


async def test_a_level_that_was_written_is_taken_back_from_the_device(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    road.device()
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.idle(coordinator)
    await wish(coordinator, LogConfig(1, ALL_MODULES, 600))
    await coordinator.async_collect()
    await wish(coordinator, LogConfig(0, ALL_MODULES, 60))

    await withdraw_all(coordinator)

    assert coordinator.log_level is None
    await coordinator.async_collect()
    assert [PACKET.unpack(each)[2] for each in written(road)][-1] == 1
    assert coordinator.record.log_levels == LogLevels()


async def test_a_write_that_was_lost_is_done_again_and_taken_back_when_nobody_wishes_it(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    road.device()
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.idle(coordinator)
    await wish(coordinator, LogConfig(1, ALL_MODULES, 600))
    write = AgentSession.write_log_config

    async def arrives_unconfirmed(session: AgentSession, config: LogConfig) -> None:
        await write(session, config)
        raise LinkLost("before the answer")

    lossy = patch.object(AgentSession, "write_log_config", arrives_unconfirmed)
    with lossy, pytest.raises(LinkLost):
        await coordinator.async_collect()
    assert len(written(road)) == 1
    assert not coordinator.log_level_written
    await withdraw_all(coordinator)

    await coordinator.async_collect()
    assert [PACKET.unpack(each)[2] for each in written(road)][-1] == 1
    assert coordinator.record.log_levels == LogLevels()


# Kept and shown


async def test_a_setting_survives_a_restart_and_is_forgotten_when_it_has_ended(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
) -> None:
    await set_level(hass, account, level="warning", duration={"minutes": 10})
    ends = dt_util.utcnow() + timedelta(minutes=10)
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert shown(hass, account, "log_level").attributes["wished"] == "warning"
    until = dt_util.parse_datetime(shown(hass, account, "log_level_until").state)
    assert until is not None
    assert abs(until - ends) < timedelta(seconds=2)

    freezer.move_to(ends + timedelta(seconds=1))
    async_fire_time_changed(hass)
    await hass.async_block_till_done()

    assert shown(hass, account, "log_level").state == "device_default"
    assert shown(hass, account, "log_level_until").state == "unknown"
    assert account.runtime_data.devices[SENSOR.key].record.log_levels == LogLevels()


async def test_the_most_verbose_wish_that_lasts_is_followed_and_shown_with_its_source(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    await set_level(hass, account, level="warning", duration={"minutes": 10})
    transport.receive(TOPIC, log_config_message(LogConfig(4, 1, 3600)))
    await hass.async_block_till_done()
    assert shown(hass, account, "log_level").attributes["wished"] == "warning"
    assert shown(hass, account, "log_level").attributes["source"] == PERSON

    freezer.tick(700)
    async_fire_time_changed(hass)
    await hass.async_block_till_done()

    assert shown(hass, account, "log_level").attributes["wished"] == "critical"
    assert shown(hass, account, "log_level").attributes["source"] == ULOGGER
    transport.receive(TOPIC, log_config_message(LogConfig(0, 1, 60)))
    await hass.async_block_till_done()
    assert shown(hass, account, "log_level").attributes["wished"] == "debug"
    transport.receive(TOPIC, log_config_message(LogConfig(4, 1, 2900)))
    await hass.async_block_till_done()
    assert shown(hass, account, "log_level").attributes["wished"] == "critical"
    store = AccountStore(hass, account.entry_id)
    await account.runtime_data.account.store.async_save()
    await store.async_load()
    kept = store.devices[SENSOR.key].log_levels.wishes
    assert kept.keys() == {ULOGGER}
    assert (kept[ULOGGER].level, kept[ULOGGER].remaining(time.time())) == (4, 2900)


async def test_a_wish_of_a_destination_is_shown_under_the_destination_s_name(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    subentry = ConfigSubentry(
        data=MappingProxyType({}), subentry_type="destination", title="Attic", unique_id=None
    )
    hass.config_entries.async_add_subentry(account, subentry)
    await wish(device, LogConfig(1, 1, 60), subentry.subentry_id)
    assert shown(hass, account, "log_level").attributes["source"] == "Attic"
    await withdraw_all(device)
    assert shown(hass, account, "log_level").attributes["source"] is None


def test_every_source_that_has_no_name_of_its_own_is_translated() -> None:
    attribute = ENGLISH["entity"]["select"]["log_level"]["state_attributes"]["source"]
    assert attribute["state"].keys() == {PERSON, ULOGGER, UNKNOWN}


async def test_the_list_shows_what_the_device_was_told_and_beside_it_what_is_wished(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    road.device()
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.idle(coordinator)

    def levels() -> tuple[str, str]:
        state = hass.states.get(road.entity_id(entry, "log_level"))
        assert state is not None
        return state.state, state.attributes["wished"]

    await wish(coordinator, LogConfig(1, ALL_MODULES, 600))
    assert levels() == ("device_default", "info")
    await coordinator.async_collect()
    assert levels() == ("info", "info")
    await withdraw_all(coordinator)
    assert levels() == ("info", "device_default")
    await coordinator.async_collect()
    assert levels() == ("device_default", "device_default")


async def test_the_list_sets_a_level_for_an_hour_and_takes_it_back(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    await choose(hass, account, "error")
    setting = device.log_level
    assert setting is not None
    assert (setting.level_name, setting.module_flags) == ("error", ALL_MODULES)
    assert 3599 <= setting.remaining(time.time()) <= 3600
    await choose(hass, account, "device_default")
    assert device.record.log_levels == LogLevels()


async def test_a_configuration_for_nobody_or_without_time_changes_nothing(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    transport.receive(TOPIC, log_config_message(LogConfig(0, 1, 0)))
    transport.receive("config/v0/42/0/42/nobody", log_config_message(LogConfig(0, 1, 60)))
    for length in range(9):
        transport.receive(TOPIC, bytes(length))
    transport.receive(TOPIC, b"\x09" + bytes(8))
    transport.receive(TOPIC, log_config_message(LogConfig(1, 1, 60)) + b'["BLE')
    await hass.async_block_till_done()
    told = account.runtime_data.ulogger.cloud.diagnostics()["counters"]
    assert told["log_configs_invalid"] == 10
    assert told["log_configs_for_others"] == 1
    assert told["log_config_names_invalid"] == 1
    assert account.runtime_data.account.rejections["log_config_expired"] == 1
    assert shown(hass, account, "log_level").attributes["wished"] == "info"


async def test_a_forgotten_device_is_not_followed_any_longer(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    await set_level(hass, account, level="warning", duration={"minutes": 10})
    await account.runtime_data.async_forget(SENSOR.key)
    await hass.async_block_till_done()
    transport.receive(TOPIC, log_config_message(LogConfig(0, 1, 60)))
    await hass.async_block_till_done()
    assert (
        account.runtime_data.ulogger.cloud.diagnostics()["counters"]["log_configs_for_others"] == 1
    )
    meet(account)
    await hass.async_block_till_done()
    transport.receive(TOPIC, log_config_message(LogConfig(2, 1, 60)))
    await hass.async_block_till_done()
    assert account.runtime_data.devices[SENSOR.key].log_level.level == 2


async def test_a_broker_that_refuses_to_be_listened_to_is_told_and_survived(
    hass: HomeAssistant,
    account: MockConfigEntry,
    transport: ToldTransport,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with patch.object(transport, "subscribe", side_effect=CloudUnavailable("not now")):
        device = meet(account)
        await hass.async_block_till_done()
    assert f"No log configuration will come for {SENSOR.serial}: not now" in caplog.text
    await wish(device, LogConfig(1, ALL_MODULES, 60))
    assert shown(hass, account, "log_level").attributes["wished"] == "info"


# Floods and repetitions


@pytest.fixture
def writes(account: MockConfigEntry) -> Iterator[list[int]]:
    """How often the account's file is written."""
    times: list[int] = []
    store = account.runtime_data.account.store._store
    write = store._async_write_data

    async def counted(data: Any) -> None:
        times.append(len(times))
        await write(data)

    with patch.object(store, "_async_write_data", side_effect=counted):
        yield times


async def pass_time(
    hass: HomeAssistant, freezer: FrozenDateTimeFactory, seconds: float, step: float = 1.0
) -> None:
    """Let timers of so many seconds come."""
    for _ in range(round(seconds / step)):
        freezer.tick(step)
        async_fire_time_changed(hass)
        await hass.async_block_till_done()


async def test_a_flood_writes_the_file_a_few_times_and_the_last_configuration_counts(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
    writes: list[int],
) -> None:
    for number in range(1500):
        bits = 1 << number % 32 | 1 << (number + 7) % 32
        names = (f"module {number}", f"other {number}")
        transport.receive(TOPIC, log_config_message(LogConfig(number % 5, bits, 3600, names)))
        if number % 100 == 99:
            await pass_time(hass, freezer, 1)
    await pass_time(hass, freezer, 120, 5)

    assert 0 < len(writes) < 5
    assert len(device.record.modules) <= 32
    assert len(set(device.record.modules.values())) == len(device.record.modules)
    setting = device.log_level
    assert setting is not None
    assert (setting.level, setting.modules) == (4, ["module 1499", "other 1499"])
    assert setting.remaining(time.time()) <= 3600 - 115
    assert account.runtime_data.account.rejections["log_config_superseded"] > 1400
    store = AccountStore(hass, account.entry_id)
    await store.async_load()
    assert store.devices[SENSOR.key].log_levels.wishes == {ULOGGER: setting}
    assert store.devices[SENSOR.key].modules == device.record.modules


async def test_what_a_person_sets_now_and_then_is_taken_at_once(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    for level in (0, 1, 2, 3, 4):
        transport.receive(TOPIC, log_config_message(LogConfig(level, 1, 60)))
        await hass.async_block_till_done()
        assert device.log_level is not None
        assert device.log_level.level == level


async def test_a_configuration_that_waits_is_not_lost_when_the_account_is_unloaded(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    for level in (0, 1, 2, 3, 0, 1, 2, 3):
        transport.receive(TOPIC, log_config_message(LogConfig(level, 1, 600)))
    await hass.async_block_till_done()
    await hass.config_entries.async_unload(account.entry_id)
    store = AccountStore(hass, account.entry_id)
    await store.async_load()
    kept = store.devices[SENSOR.key].log_levels.wishes[ULOGGER]
    assert kept is not None
    assert kept.level == 3


async def test_saves_that_are_asked_for_without_end_are_not_put_off_without_end(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    writes: list[int],
) -> None:
    for _ in range(30):
        account.runtime_data.account.store.save_soon()
        await pass_time(hass, freezer, 1)
    assert 2 <= len(writes) <= 3


async def test_a_retained_configuration_ends_when_it_would_have_without_reconnections(
    hass: HomeAssistant,
    freezer: FrozenDateTimeFactory,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    config = log_config_message(LogConfig(4, 1, 600, ("BLE",)))
    transport.receive(TOPIC, config, retained=True)
    await hass.async_block_till_done()
    assert device.log_level is not None
    ends = device.log_level.expires_at
    for _ in range(3):
        await pass_time(hass, freezer, 100, 100)
        transport.receive(TOPIC, config, retained=True)
        await hass.async_block_till_done()
        assert device.log_level.expires_at == ends
    # The same again is another thing when somebody sends it.
    transport.receive(TOPIC, config)
    await hass.async_block_till_done()
    assert device.log_level.expires_at > ends + 250
    ends = device.log_level.expires_at

    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    freezer.tick(50)
    transport.receive(TOPIC, config, retained=True)
    await hass.async_block_till_done()
    again = account.runtime_data.devices[SENSOR.key]
    assert again.log_level is not None
    assert again.log_level.expires_at == ends
    await withdraw_all(again)
    transport.receive(TOPIC, config, retained=True)
    await hass.async_block_till_done()
    assert again.log_level is None
    assert account.runtime_data.account.rejections["log_config_repeated"] == 2
    transport.receive(TOPIC, log_config_message(LogConfig(3, 1, 600)), retained=True)
    await hass.async_block_till_done()
    assert again.log_level is not None


# The action


async def test_modules_are_named_as_the_cloud_did_or_numbered(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    transport.receive(TOPIC, log_config_message(LogConfig(0, 0b1010, 60, ("BLE", "FS"))))
    await hass.async_block_till_done()

    await set_level(
        hass, account, level="debug", modules=["FS", 31, "0", "FS"], duration={"days": 49}
    )

    setting = device.log_level
    assert setting is not None
    assert setting.module_flags == (1 << 3) | (1 << 31) | 1
    assert setting.modules == ["FS", "31", "0"]
    assert setting.remaining(time.time()) == 49 * 86_400
    due = device.record.log_levels.due(time.time())
    assert due is not None
    assert due.timeout_seconds == 49 * 86_400
    await set_level(hass, account, level="info", duration=1)
    assert device.record.log_levels.wishes[PERSON].module_flags == ALL_MODULES


@pytest.mark.parametrize("module", ["GPS", 32, -1, "4294967296", "", True])
async def test_a_module_that_nobody_knows_is_refused(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, module: Any
) -> None:
    with pytest.raises(ServiceValidationError) as error:
        await set_level(hass, account, level="debug", modules=[module], duration=60)
    assert error.value.translation_key == "no_module_names"
    assert str(error.value).startswith("The names of the modules of DoorSenseV2 A87DE76F0011 are")
    device.record.modules |= {"FS": 3, "BLE": 4}
    with pytest.raises(ServiceValidationError) as error:
        await set_level(hass, account, level="debug", modules=[module], duration=60)
    assert error.value.translation_key == "invalid_module"
    assert "It knows BLE, FS; or use a number from 0 to 31" in str(error.value)
    assert device.log_level is None


@pytest.mark.parametrize(
    "data",
    [
        {"level": "loud", "duration": 60},
        {"level": "debug", "duration": 0},
        {"level": "debug", "duration": {"days": 49, "seconds": 1}},
        {"level": "debug"},
        {"duration": 60},
    ],
)
async def test_other_levels_and_durations_are_refused(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, data: dict[str, Any]
) -> None:
    with pytest.raises((Invalid, HomeAssistantError)):
        await set_level(hass, account, **data)
    assert device.log_level is None
