"""What devices logged, and what is said in their name, is for administrators and automations."""

from typing import Any

import pytest
from homeassistant.components import automation
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import Unauthorized, UnknownUser
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.script import Script
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockUser

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.insight.crash_report import crash_report
from tests.support.account import CRASH_DUMP, SENSOR, ToldTransport, core_dump, log
from tests.support.said import stored

REPORT = crash_report(CoreDump.parse(CRASH_DUMP))
assert REPORT is not None
FINGERPRINT = REPORT.fingerprint
ACTIONS: list[tuple[str, dict[str, Any]]] = [
    ("set_log_level", {"level": "debug", "duration": "00:10:00"}),
    ("publish_metrics", {"metrics": {"battery": 1}}),
    ("publish_event", {"type": "opened"}),
    ("publish_events", {"events": [{"type": "opened"}]}),
    ("publish_log", {"message": "hello"}),
    ("register", {}),
    ("forget_session", {}),
    ("get_captures", {"text": True}),
    ("get_logs", {}),
    ("get_crashes", {}),
    ("set_crash_state", {"fingerprint": FINGERPRINT, "state": "ignored"}),
]
NAMES = [name for name, _ in ACTIONS]
OF_ACCOUNTS = {"get_crashes", "set_crash_state"}
ANSWERING = {"get_captures", "get_crashes", "get_logs"}


async def call(
    hass: HomeAssistant, device: DeviceCoordinator, name: str, data: dict[str, Any], user: str
) -> Any:
    """Call an action as a user."""
    entry = dr.async_get(hass).async_get_device_by_identifier(
        device.identifier, device.account.entry_id
    )
    assert entry is not None
    return await hass.services.async_call(
        DOMAIN,
        name,
        data if name in OF_ACCOUNTS else {"device_id": entry.id, **data},
        blocking=True,
        context=Context(user_id=user),
        return_response=name in ANSWERING,
    )


@pytest.fixture
async def told(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> DeviceCoordinator:
    """A device with a log that is kept here, and a crash."""
    await stored(device, log())
    await stored(device, core_dump())
    return device


@pytest.mark.parametrize(("name", "data"), ACTIONS, ids=NAMES)
async def test_a_user_who_is_no_administrator_is_refused_and_nothing_happens(
    hass: HomeAssistant,
    told: DeviceCoordinator,
    transport: ToldTransport,
    hass_read_only_user: MockUser,
    name: str,
    data: dict[str, Any],
) -> None:
    before = list(transport.published)
    with pytest.raises(Unauthorized):
        await call(hass, told, name, data, hass_read_only_user.id)
    with pytest.raises(UnknownUser):
        await call(hass, told, name, data, "nobody")
    assert transport.published == before
    assert told.log_level is None
    assert told.account.entry.runtime_data.crashes.groups.open_count == 1


@pytest.mark.parametrize(("name", "data"), ACTIONS, ids=NAMES)
async def test_an_administrator_may(
    hass: HomeAssistant,
    told: DeviceCoordinator,
    hass_admin_user: MockUser,
    name: str,
    data: dict[str, Any],
) -> None:
    await call(hass, told, name, data, hass_admin_user.id)


async def test_everybody_may_know_which_captures_there_are_but_not_what_is_in_them(
    hass: HomeAssistant, told: DeviceCoordinator, hass_read_only_user: MockUser
) -> None:
    answer = await call(hass, told, "get_captures", {}, hass_read_only_user.id)
    _, capture = answer["devices"][SENSOR.serial]
    assert capture["bytes"] == len(log().data)
    assert "lines" not in capture


@pytest.mark.parametrize(("name", "data"), ACTIONS, ids=NAMES)
async def test_an_automation_runs_on_whoever_set_it_off(
    hass: HomeAssistant,
    told: DeviceCoordinator,
    hass_read_only_user: MockUser,
    name: str,
    data: dict[str, Any],
) -> None:
    device = dr.async_get(hass).async_get_device_by_identifier(
        told.identifier, told.account.entry_id
    )
    assert device is not None
    target = {} if name in OF_ACCOUNTS else {"device_id": device.id}
    action = {"action": f"{DOMAIN}.{name}", "data": {**target, **data}}
    if name in ANSWERING:
        action["response_variable"] = "captures"
    assert await async_setup_component(
        hass,
        automation.DOMAIN,
        {
            automation.DOMAIN: {
                "alias": "follow",
                "triggers": {"trigger": "event", "event_type": "pressed"},
                "actions": [action, {"event": "went_through"}],
            }
        },
    )
    went_through: list[Any] = []
    hass.bus.async_listen("went_through", went_through.append)

    hass.bus.async_fire("pressed", context=Context(user_id=hass_read_only_user.id))
    await hass.async_block_till_done()

    assert len(went_through) == 1


async def test_a_script_acts_for_whoever_starts_it(
    hass: HomeAssistant,
    told: DeviceCoordinator,
    hass_admin_user: MockUser,
    hass_read_only_user: MockUser,
    transport: ToldTransport,
) -> None:
    device = dr.async_get(hass).async_get_device_by_identifier(
        told.identifier, told.account.entry_id
    )
    assert device is not None
    action = {
        "action": f"{DOMAIN}.publish_event",
        "data": {"device_id": device.id, "type": "opened"},
    }
    script = Script(hass, cv.SCRIPT_SCHEMA([action]), "Open", "script")
    before = len(transport.published)

    with pytest.raises(Unauthorized):
        await script.async_run(context=Context(user_id=hass_read_only_user.id))
    assert len(transport.published) == before
    await script.async_run(context=Context(user_id=hass_admin_user.id))
    assert len(transport.published) == before + 1
