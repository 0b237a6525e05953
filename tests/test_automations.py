"""Automations with the integration's own triggers and condition, and with its blueprints."""

import shutil
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant, ServiceCall
from homeassistant.helpers import condition as condition_helper
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import trigger as trigger_helper
from homeassistant.helpers.target import TargetSelection
from homeassistant.setup import async_setup_component
from homeassistant.util.yaml import load_yaml_dict
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
    async_mock_service,
)

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.collecting.connection import DeviceOutOfRange
from custom_components.ulogger.collecting.device_state import DeviceEvent
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.insight.crash_groups import CrashState
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.trigger import TRIGGERS
from tests.support.account import ToldTransport, core_dump, load, log, meet
from tests.support.bluetooth import OTHER_ADDRESS

from .support.outbox_world import queue
from .support.said import stored

BLUEPRINTS = Path(__file__).parents[1] / "blueprints"
PACKAGE = Path(__file__).parents[1] / "custom_components" / DOMAIN


def event_entity(hass: HomeAssistant, device: DeviceCoordinator) -> str:
    """Find the entity that automations trigger on."""
    return entity(hass, device, "event", "device_event")


def entity(hass: HomeAssistant, device: DeviceCoordinator, platform: str, key: str) -> str:
    """Find one of a device's entities."""
    entry_id = device.account.entry_id
    unique_id = f"{entry_id}-{device.identifier[1]}-{key}"
    found = er.async_get(hass).async_get_entity_id(platform, DOMAIN, unique_id)
    assert found is not None
    return found


def device_id(hass: HomeAssistant, device: DeviceCoordinator) -> str:
    """Find the device in the registry."""
    found = dr.async_get(hass).async_get_device_by_identifier(
        device.identifier, device.account.entry_id
    )
    assert found is not None
    return found.id


def account_id(hass: HomeAssistant, account: MockConfigEntry) -> str:
    """Find the account's own device in the registry."""
    found = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, account.entry_id), account.entry_id
    )
    assert found is not None
    return found.id


async def automate(hass: HomeAssistant, **config: Any) -> list[ServiceCall]:
    """Set up one automation; return the calls that it makes."""
    calls = async_mock_service(hass, "test", "told")
    if "use_blueprint" not in config:
        about = {"action": "test.told", "data": {"about": "{{ trigger.entity_id }}"}}
        config = {"actions": [about], **config}
    assert await async_setup_component(hass, "automation", {"automation": config})
    await hass.async_block_till_done()
    return calls


async def tell(
    hass: HomeAssistant,
    device: DeviceCoordinator,
    event: DeviceEvent,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Have something happen to a device."""
    device.fire(event, attributes or {})
    await hass.async_block_till_done()


@pytest.fixture
async def met(hass: HomeAssistant, device: DeviceCoordinator) -> DeviceCoordinator:
    await hass.async_block_till_done()
    return device


# Triggers

TRIGGERED_BY = {
    "crashed": DeviceEvent.CORE_DUMP,
    "firmware_changed": DeviceEvent.FIRMWARE_CHANGED,
    "upload_failed": DeviceEvent.UPLOAD_FAILED,
    "uploaded": DeviceEvent.UPLOADED,
}


def test_every_trigger_is_tried() -> None:
    assert {*TRIGGERED_BY, "logged"} == TRIGGERS.keys()


PUMP_LINE = {
    "level": "error",
    "module": 7,
    "module_name": "Pump",
    "text": "Overpressure 912 kPa",
    "message": "Overpressure 912 kPa",
}
PLAIN_LINE = {"level": "error", "module": 7, "message": "0x00000400 'kPa' 912"}


@pytest.mark.parametrize(
    ("options", "event", "line", "fires"),
    [
        ({}, "error", PUMP_LINE, True),
        ({}, "critical", PUMP_LINE, True),
        ({}, "warning", PUMP_LINE, False),
        ({}, "more", {"count": 3}, False),
        ({"level": "debug"}, "more", {"count": 3}, False),
        ({"level": "critical"}, "error", PUMP_LINE, False),
        ({"level": "debug"}, "debug", PUMP_LINE, True),
        ({"module": "pump"}, "error", PUMP_LINE, True),
        ({"module": "7"}, "error", PUMP_LINE, True),
        ({"module": "7"}, "error", PLAIN_LINE, True),
        ({"module": "valve"}, "error", PUMP_LINE, False),
        ({"module": "pump"}, "error", PLAIN_LINE, False),
        ({"contains": "overpressure"}, "error", PUMP_LINE, True),
        ({"contains": "leak"}, "error", PUMP_LINE, False),
        ({"contains": "kpa"}, "error", PLAIN_LINE, True),
        ({"level": "error", "module": "PUMP", "contains": "912"}, "critical", PUMP_LINE, True),
    ],
)
async def test_a_line_triggers_by_level_module_and_text(
    hass: HomeAssistant,
    met: DeviceCoordinator,
    options: dict[str, str],
    event: str,
    line: dict[str, Any],
    fires: bool,
) -> None:
    trigger = {"trigger": "ulogger.logged", "target": {"device_id": device_id(hass, met)}}
    calls = await automate(hass, triggers={**trigger, "options": options} if options else trigger)
    await tell(hass, met, DeviceEvent.CORE_DUMP)
    met.logged.notify(event, line)
    await hass.async_block_till_done()
    log_entity = entity(hass, met, "event", "log")
    assert [call.data["about"] for call in calls] == [log_entity] * fires


@pytest.mark.parametrize(("name", "event"), TRIGGERED_BY.items())
async def test_a_trigger_fires_on_its_event_and_no_other(
    hass: HomeAssistant, met: DeviceCoordinator, name: str, event: DeviceEvent
) -> None:
    calls = await automate(
        hass,
        triggers={"trigger": f"ulogger.{name}", "target": {"device_id": device_id(hass, met)}},
    )
    for other in set(DeviceEvent) - {event}:
        await tell(hass, met, other)
    assert calls == []
    await tell(hass, met, event)
    await tell(hass, met, event)
    assert [call.data["about"] for call in calls] == [event_entity(hass, met)] * 2


async def test_an_automation_tells_new_crashes_from_known_ones(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    """As the README has it."""
    attributes = "trigger.to_state.attributes"
    about = "fingerprint ~ ' ' ~ trigger.to_state.attributes.regressed"
    calls = await automate(
        hass,
        triggers={"trigger": "ulogger.crashed", "target": {"device_id": device_id(hass, met)}},
        conditions=f"{{{{ {attributes}.is_new or {attributes}.regressed }}}}",
        actions={
            "action": "test.told",
            "data": {"about": f"{{{{ {attributes}.{about} }}}}"},
        },
    )
    crashes = met.account.entry.runtime_data.crashes
    await stored(met, core_dump())
    await stored(met, replace(core_dump(), captured_at=core_dump().captured_at + 60))
    (group,) = crashes.groups
    await crashes.async_set_state(group.fingerprint, CrashState.RESOLVED, "4.0.0")
    await stored(met, replace(core_dump(), captured_at=core_dump().captured_at + 120))
    assert [call.data["about"] for call in calls] == [
        f"{group.fingerprint} False",
        f"{group.fingerprint} True",
    ]


async def test_a_trigger_of_an_entity_does_not_fire_for_another_device(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    other = meet(account, DeviceIdentity(42, "OTHER"), OTHER_ADDRESS)
    await hass.async_block_till_done()
    calls = await automate(
        hass,
        triggers={
            "trigger": "ulogger.crashed",
            "target": {"entity_id": event_entity(hass, met)},
        },
    )
    await tell(hass, other, DeviceEvent.CORE_DUMP)
    assert calls == []
    await tell(hass, met, DeviceEvent.CORE_DUMP)
    assert len(calls) == 1


async def test_event_entities_of_other_integrations_do_not_count(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    bell = er.async_get(hass).async_get_or_create("event", "bells", "1").entity_id
    calls = await automate(
        hass, triggers={"trigger": "ulogger.uploaded", "target": {"entity_id": bell}}
    )
    hass.states.async_set(bell, "2026-11-01T00:00:00.000", {"event_type": "ringing"})
    hass.states.async_set(bell, "2026-11-01T00:00:01.000", {"event_type": "uploaded"})
    await hass.async_block_till_done()
    assert calls == []


@pytest.mark.parametrize(("name", "event"), TRIGGERED_BY.items())
async def test_the_account_stands_for_all_of_its_devices_new_ones_included(
    hass: HomeAssistant,
    account: MockConfigEntry,
    met: DeviceCoordinator,
    name: str,
    event: DeviceEvent,
) -> None:
    of_another = {"applications": {"7": {"device_types": []}}}
    elsewhere = await load(hass, options=of_another, customer_id=43)
    calls = await automate(
        hass,
        triggers={
            "trigger": f"ulogger.{name}",
            "target": {"device_id": account_id(hass, account)},
        },
    )
    await tell(hass, met, event)
    new = meet(account, DeviceIdentity(42, "NEW"), OTHER_ADDRESS)
    await hass.async_block_till_done()
    await tell(hass, new, event)
    stranger = meet(elsewhere, DeviceIdentity(7, "STRANGER"), "C0:FF:EE:00:00:03")
    await hass.async_block_till_done()
    await tell(hass, stranger, event)
    told = [call.data["about"] for call in calls]
    assert told == [event_entity(hass, met), event_entity(hass, new)]


@pytest.mark.skipif("exclude" not in TargetSelection.__slots__, reason="2026.11 brings it")
@pytest.mark.parametrize("by", ["device_id", "entity_id"])
async def test_a_device_that_is_left_out_below_its_account_triggers_nothing(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator, by: str
) -> None:
    left_out = meet(account, DeviceIdentity(42, "OTHER"), OTHER_ADDRESS)
    await hass.async_block_till_done()
    named = device_id(hass, left_out) if by == "device_id" else event_entity(hass, left_out)
    target = {"device_id": account_id(hass, account), "exclude": {by: named}}
    calls = await automate(hass, triggers={"trigger": "ulogger.crashed", "target": target})
    await tell(hass, left_out, DeviceEvent.CORE_DUMP)
    await tell(hass, met, DeviceEvent.CORE_DUMP)
    assert [call.data["about"] for call in calls] == [event_entity(hass, met)]


@pytest.mark.as_installed
async def test_a_line_triggers_also_where_no_entity_shows_it(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    trigger = {
        "trigger": "ulogger.logged",
        "target": {"entity_id": event_entity(hass, met)},
    }
    calls = await automate(hass, triggers=trigger)
    log_entity = entity(hass, met, "event", "log")
    assert hass.states.get(log_entity) is None
    met.logged.notify("error", PUMP_LINE)
    await hass.async_block_till_done()
    assert [call.data["about"] for call in calls] == [log_entity]


async def test_an_account_that_is_reloaded_does_not_repeat_the_last_event(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    await tell(hass, met, DeviceEvent.UPLOADED)
    calls = await automate(
        hass,
        triggers={
            "trigger": "ulogger.uploaded",
            "target": {"device_id": device_id(hass, met)},
        },
    )
    await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert calls == []


# The condition


async def test_the_condition_holds_while_captures_wait(
    hass: HomeAssistant,
    account: MockConfigEntry,
    met: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    calls = await automate(
        hass,
        triggers={"trigger": "event", "event_type": "look"},
        conditions={
            "condition": "ulogger.captures_waiting",
            "target": {"device_id": device_id(hass, met)},
        },
        actions=[{"action": "test.told"}],
    )
    gateway = account.runtime_data

    async def look() -> int:
        await gateway.account.async_refresh_counters()
        hass.bus.async_fire("look")
        await hass.async_block_till_done()
        return len(calls)

    assert await look() == 0
    transport.tell(ConnectionState.DISCONNECTED)
    added = await gateway.account.outbox.add(log())
    assert await look() == 1
    await queue(gateway.account.outbox).delivered([added.capture_id])
    assert await look() == 1


async def test_the_condition_looks_at_nothing_but_counts_of_waiting_captures(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    uploads = entity(hass, met, "sensor", "uploads")
    calls = await automate(
        hass,
        triggers={"trigger": "event", "event_type": "look"},
        conditions={
            "condition": "ulogger.captures_waiting",
            "target": {"entity_id": [uploads, "sensor.waiting"]},
        },
        actions=[{"action": "test.told"}],
    )
    hass.states.async_set(uploads, "5")
    hass.states.async_set("sensor.waiting", "5")
    hass.bus.async_fire("look")
    await hass.async_block_till_done()
    assert calls == []


# What the editor shows


async def test_triggers_and_condition_are_described_for_the_editor(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    assert await async_setup_component(hass, "automation", {})
    triggers = await trigger_helper.async_get_all_descriptions(hass)
    conditions = await condition_helper.async_get_all_descriptions(hass)
    for name in TRIGGERS:
        assert triggers[f"ulogger.{name}"]["target"]["entity"] == [{"integration": "ulogger"}]
    assert conditions["ulogger.captures_waiting"]["fields"].keys() == {"behavior", "for"}


@pytest.mark.parametrize("kind", ["services", "triggers", "conditions"])
def test_pickers_of_targets_offer_nothing_of_other_integrations(kind: str) -> None:
    """Without a filter of entities, those of all integrations can be picked."""
    described = load_yaml_dict(str(PACKAGE / f"{kind}.yaml"))
    targets = [each["target"] for each in described.values() if "target" in each]
    assert len(targets) > 0
    for target in targets:
        for what in ("device", "entity"):
            filters = target[what]
            assert all(each["integration"] == DOMAIN for each in filters)
            assert filters


# Blueprints


@pytest.fixture
async def blueprints(hass: HomeAssistant) -> AsyncGenerator[None]:
    """Put the blueprints where a user's are; end what is made of them."""
    target = Path(hass.config.path("blueprints"))
    await hass.async_add_executor_job(
        lambda: shutil.copytree(BLUEPRINTS, target, dirs_exist_ok=True)
    )
    yield
    await hass.services.async_call(
        "automation",
        "turn_off",
        {"entity_id": hass.states.async_entity_ids("automation")},
        blocking=True,
    )


async def notifications(hass: HomeAssistant) -> list[ServiceCall]:
    """Catch what would be shown to a person."""
    assert await async_setup_component(hass, "persistent_notification", {})
    return async_mock_service(hass, "persistent_notification", "create")


@pytest.mark.usefixtures("blueprints")
async def test_the_first_blueprint_tells_of_a_crash_with_what_happened(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    notified = await notifications(hass)
    await automate(
        hass,
        use_blueprint={
            "path": "ulogger/notify_on_crash.yaml",
            "input": {"events": [event_entity(hass, met)]},
        },
    )
    await tell(hass, met, DeviceEvent.UPLOADED)
    assert notified == []
    await stored(met, core_dump())
    (call,) = notified
    assert call.data["title"] == "DoorSenseV2 A87DE76F0011 crashed"
    assert "Bus error in 0x0000007A" in call.data["message"]


@pytest.mark.usefixtures("blueprints")
async def test_the_first_blueprint_does_not_repeat_itself_after_a_reload(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    notified = await notifications(hass)
    await automate(
        hass,
        use_blueprint={
            "path": "ulogger/notify_on_crash.yaml",
            "input": {"events": [event_entity(hass, met)]},
        },
    )
    await tell(hass, met, DeviceEvent.CORE_DUMP)
    await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    assert len(notified) == 1


@pytest.mark.as_installed
@pytest.mark.usefixtures("blueprints")
async def test_the_blueprint_for_all_tells_of_crashes_of_devices_that_are_yet_to_come(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    notified = await notifications(hass)
    await automate(
        hass,
        use_blueprint={
            "path": "ulogger/notify_on_any_crash.yaml",
            "input": {"watched": {"device_id": account_id(hass, account)}},
        },
    )
    new = meet(account, DeviceIdentity(42, "NEW", "DoorSenseV2"), OTHER_ADDRESS)
    await hass.async_block_till_done()
    await tell(hass, new, DeviceEvent.UPLOADED)
    assert notified == []
    await stored(new, core_dump(new.identity))
    (call,) = notified
    assert call.data["title"] == "DoorSenseV2 NEW crashed"
    assert "Bus error in 0x0000007A" in call.data["message"]


@pytest.mark.usefixtures("blueprints")
async def test_the_second_blueprint_uploads_every_device_and_reports(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    away = meet(account, DeviceIdentity(42, "AWAY", "DoorSenseV2"), OTHER_ADDRESS)
    await hass.async_block_till_done()
    notified = await notifications(hass)
    await automate(
        hass,
        use_blueprint={
            "path": "ulogger/upload_every_night.yaml",
            "input": {
                "devices": [device_id(hass, met), device_id(hass, away)],
                "at": "03:30:00",
            },
        },
    )
    gateway = account.runtime_data

    async def collect(device: DeviceCoordinator) -> list[Any]:
        if device is away:
            raise DeviceOutOfRange("nobody hears it")
        return [
            await gateway.account.outbox.add(log()),
            await gateway.account.outbox.add(core_dump()),
        ]

    with patch.object(DeviceCoordinator, "async_collect", collect):
        await hass.services.async_call(
            "automation",
            "trigger",
            {"entity_id": hass.states.async_entity_ids("automation")[0]},
            blocking=True,
        )
        await hass.async_block_till_done()
    (call,) = notified
    assert call.data["message"].splitlines() == [
        f"DoorSenseV2 A87DE76F0011: 2 captures, {len(log().data) + len(core_dump().data)} bytes",
        "DoorSenseV2 AWAY: not reached",
    ]


@pytest.mark.usefixtures("blueprints")
async def test_the_second_blueprint_runs_at_its_time(
    hass: HomeAssistant, met: DeviceCoordinator, freezer: Any
) -> None:
    await hass.config.async_set_time_zone("UTC")
    freezer.move_to("2026-11-25 03:29:00+00:00")
    notified = await notifications(hass)
    await automate(
        hass,
        use_blueprint={"path": "ulogger/upload_every_night.yaml", "input": {"devices": []}},
    )
    freezer.move_to("2026-11-25 03:30:01+00:00")
    async_fire_time_changed(hass)
    await hass.async_block_till_done()
    assert len(notified) == 1


def test_blueprints_are_for_a_version_that_has_what_they_use() -> None:
    for path in BLUEPRINTS.rglob("*.yaml"):
        blueprint = load_yaml_dict(str(path))["blueprint"]
        assert blueprint["homeassistant"]["min_version"] >= "2026.10.0"
        assert blueprint["source_url"].endswith(str(path.relative_to(BLUEPRINTS.parent)))
