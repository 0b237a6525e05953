"""The actions that send metrics, events and text logs, and the one that forgets a session."""

import asyncio
import json
import math
from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import device_registry as dr
from probatio import Invalid
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.test_util.aiohttp import AiohttpClientMocker

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import NotAcknowledged
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from tests.support.account import APPROVED, SENSOR, ToldTransport, load, meet
from tests.support.flows import ENGLISH
from tests.support.road import add_account, approving

OTHER = DeviceIdentity(42, "B00000000002", "DoorSenseV2", "4.24.2", "bc53443")
API = "https://api.ulogger.ai/publish"
TOKEN = "ulg_secret"


def device_ids(hass: HomeAssistant, *devices: DeviceCoordinator) -> list[str]:
    registry = dr.async_get(hass)
    found = []
    for device in devices:
        entry = registry.async_get_device_by_identifier(device.identifier, device.account.entry_id)
        assert entry is not None
        found.append(entry.id)
    return found


def gateway_id(hass: HomeAssistant, account: MockConfigEntry) -> str:
    entry = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, account.entry_id), account.entry_id
    )
    assert entry is not None
    return entry.id


async def call(hass: HomeAssistant, action: str, targets: list[str], **data: Any) -> None:
    await hass.services.async_call(DOMAIN, action, {"device_id": targets, **data}, blocking=True)


def mistake(error: pytest.ExceptionInfo[HomeAssistantError]) -> str:
    """The key of the message, which must be there in words."""
    key = error.value.translation_key
    assert key is not None
    message = ENGLISH["exceptions"][key]["message"]
    message.format(**(error.value.translation_placeholders or {}))
    return key


def content(transport: ToldTransport) -> list[tuple[str, Any]]:
    return [(topic, json.loads(payload)) for topic, payload in transport.published]


async def test_metrics_of_a_device_go_up_with_their_time(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    await call(
        hass,
        "publish_metrics",
        device_ids(hass, device),
        metrics={"battery": 87, "temperature": 21.5},
        timestamp="2026-10-01T12:00:00+00:00",
    )
    assert content(transport) == [
        (
            "metrics/v0/42/0/42",
            {
                "device_serial": SENSOR.serial,
                "metrics": [
                    {"name": "battery", "value": 87, "timestamp": 1790856000},
                    {"name": "temperature", "value": 21.5, "timestamp": 1790856000},
                ],
            },
        )
    ]


async def test_a_time_without_a_zone_is_one_of_home_assistants_zone(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    await hass.config.async_set_time_zone("America/New_York")
    targets = device_ids(hass, device)
    await call(hass, "publish_event", targets, type="open", timestamp="2026-10-01 08:00:00")
    [(_, event)] = content(transport)
    assert event["events"] == [{"type": "open", "timestamp": 1790856000}]


async def test_many_devices_go_up_in_one_message_and_the_gateway_in_its_own(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    other = meet(account, OTHER, "C0:FF:EE:00:00:09")
    targets = [*device_ids(hass, device, other), gateway_id(hass, account)]
    await call(hass, "publish_event", targets, type="maintenance")
    await call(hass, "publish_metrics", targets, metrics={"m": 1})
    events, gateways_event, metrics, gateways_metric = content(transport)
    assert [events[0], metrics[0]] == ["events/v0/42/0/42", "metrics/v0/42/0/42"]
    for (_, batch), name in ((events, "events"), (metrics, "metrics")):
        assert [each["device_serial"] for each in batch["devices"]] == [
            SENSOR.serial,
            OTHER.serial,
        ] or [each["device_serial"] for each in batch["devices"]] == [
            OTHER.serial,
            SENSOR.serial,
        ]
        assert all(len(each[name]) == 1 for each in batch["devices"])
    assert gateways_event[0] == "events/v0/42/0/0"
    assert gateways_event[1]["device_serial"] == "ha-5eed5eed"
    assert gateways_metric[1]["metrics"] == [{"name": "m", "value": 1}]


async def test_lines_of_text_go_up_as_a_log_with_rising_sequence_numbers(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    gateway = [gateway_id(hass, account)]
    await call(hass, "publish_log", gateway, message="one\ntwo", level="error")
    await call(hass, "publish_log", gateway, message="three")
    (topic, first), (_, second) = transport.published
    assert topic == "logs/v0/42/0"
    head, *lines = [json.loads(line) for line in first.splitlines()]
    assert head["serial"] == "ha-5eed5eed"
    assert [(line["lv"], line["m"]) for line in lines] == [(4, "one"), (4, "two")]
    again, line = [json.loads(line) for line in second.splitlines()]
    assert again["sequence"] == head["sequence"] + 1
    assert (line["lv"], line["m"]) == (2, "three")


@pytest.mark.parametrize(
    ("action", "data", "key"),
    [
        ("publish_metrics", {"metrics": {}}, "no_metrics"),
        ("publish_metrics", {"metrics": {"a b": 1}}, "invalid_name"),
        ("publish_metrics", {"metrics": {"a=b": 1}}, "invalid_name"),
        ("publish_metrics", {"metrics": {"": 1}}, "invalid_name"),
        ("publish_metrics", {"metrics": {7: 1}}, "invalid_name"),
        ("publish_metrics", {"metrics": {"a" * 65: 1}}, "invalid_name"),
        ("publish_metrics", {"metrics": {"a\x07": 1}}, "invalid_name"),
        ("publish_metrics", {"metrics": {"a": True}}, "invalid_value"),
        ("publish_metrics", {"metrics": {"a": "1"}}, "invalid_value"),
        ("publish_metrics", {"metrics": {"a": math.nan}}, "invalid_value"),
        ("publish_metrics", {"metrics": {"a": -math.inf}}, "invalid_value"),
        ("publish_metrics", {"metrics": {"a": 1}, "timestamp": "1950-01-01"}, "invalid_timestamp"),
        ("publish_event", {"type": "a b"}, "invalid_name"),
        ("publish_event", {"type": "e", "timestamp": "1950-01-01"}, "invalid_timestamp"),
        ("publish_log", {"message": ""}, "no_lines"),
        ("publish_log", {"message": " \n\t \n"}, "no_lines"),
    ],
)
async def test_a_mistake_is_explained_and_nothing_is_sent(
    hass: HomeAssistant,
    device: DeviceCoordinator,
    transport: ToldTransport,
    action: str,
    data: dict[str, Any],
    key: str,
) -> None:
    with pytest.raises(ServiceValidationError) as error:
        await call(hass, action, device_ids(hass, device), **data)
    assert mistake(error) == key
    assert transport.published == []


@pytest.mark.parametrize(
    ("action", "data"),
    [
        ("publish_metrics", {}),
        ("publish_metrics", {"metrics": 5}),
        ("publish_metrics", {"metrics": {"a": 1}, "timestamp": "yesterday"}),
        ("publish_event", {}),
        ("publish_log", {"message": "a", "level": "loud"}),
    ],
)
async def test_what_has_another_form_is_refused(
    hass: HomeAssistant, device: DeviceCoordinator, action: str, data: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        await call(hass, action, device_ids(hass, device), **data)


@pytest.mark.parametrize(
    ("action", "data"),
    [
        ("publish_metrics", {"metrics": {"a": 1}}),
        ("publish_event", {"type": "e"}),
        ("publish_log", {"message": "a"}),
    ],
)
async def test_without_a_connection_it_says_that_nothing_was_published(
    hass: HomeAssistant,
    device: DeviceCoordinator,
    transport: ToldTransport,
    action: str,
    data: dict[str, Any],
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    with pytest.raises(HomeAssistantError) as error:
        await call(hass, action, device_ids(hass, device), **data)
    assert mistake(error) == "not_published"
    transport.tell(ConnectionState.CONNECTED)
    transport.refusal = NotAcknowledged("told so")
    with pytest.raises(HomeAssistantError) as error:
        await call(hass, action, device_ids(hass, device), **data)
    assert mistake(error) == "not_published"


async def test_a_forgotten_session_is_registered_again(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    await device.account.entry.runtime_data.ulogger.cloud.register(SENSOR)
    assert device.account.entry.runtime_data.is_registered(device.identity)
    await call(hass, "forget_session", device_ids(hass, device))
    assert not device.account.entry.runtime_data.is_registered(device.identity)
    await device.account.entry.runtime_data.ulogger.cloud.register(SENSOR)
    assert [topic for topic, _ in transport.published] == ["boot/v0/42/0/42"] * 2


async def test_a_real_cloud_gets_what_the_actions_send(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud
) -> None:
    entry = await add_account(hass, broker, approving(0))
    transport = entry.runtime_data.ulogger.transport
    changed = asyncio.Event()
    stop = entry.runtime_data.account.changed.add(changed.set)
    while not transport.connected:
        changed.clear()
        await changed.wait()
    stop()
    gateway = [gateway_id(hass, entry)]
    await call(hass, "publish_metrics", gateway, metrics={"a": 1})
    await call(hass, "publish_event", gateway, type="e")
    await call(hass, "publish_log", gateway, message="line")
    [metrics] = await cloud_service.wait_for("metrics")
    [event] = await cloud_service.wait_for("events")
    [log] = await cloud_service.wait_for("logs")
    assert metrics.json()["metrics"] == [{"name": "a", "value": 1}]
    assert event.json()["events"] == [{"type": "e"}]
    assert json.loads(log.payload.splitlines()[1])["m"] == "line"
    await hass.config_entries.async_unload(entry.entry_id)


# HTTP with an API token


@pytest.fixture
async def http_account(
    hass: HomeAssistant, aioclient_mock: AiohttpClientMocker, transport: ToldTransport
) -> MockConfigEntry:
    """An account with an API token, which takes Home Assistant's shared session."""
    return await load(hass, options={**APPROVED, "api_token": TOKEN})


async def test_with_a_token_metrics_and_events_go_over_http_while_mqtt_is_away(
    hass: HomeAssistant,
    http_account: MockConfigEntry,
    transport: ToldTransport,
    aioclient_mock: AiohttpClientMocker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    aioclient_mock.post(f"{API}/metrics", json={"success": True})
    aioclient_mock.post(f"{API}/events", json={"success": True})
    targets = device_ids(hass, meet(http_account))

    await call(hass, "publish_metrics", targets, metrics={"over": 1})
    assert len(transport.published) == 1
    assert aioclient_mock.call_count == 0

    transport.tell(ConnectionState.DISCONNECTED)
    await call(hass, "publish_metrics", targets, metrics={"over": 2})
    await call(hass, "publish_event", targets, type="e")

    assert len(transport.published) == 1
    metrics, events = aioclient_mock.mock_calls
    assert json.loads(metrics[2]) == {
        "device_serial": SENSOR.serial,
        "metrics": [{"name": "over", "value": 2}],
        "app_id": "42",
        "group_id": "0",
    }
    assert json.loads(events[2])["events"] == [{"type": "e"}]
    assert metrics[3]["Authorization"] == f"Bearer {TOKEN}"
    diagnostics = await async_get_config_entry_diagnostics(hass, http_account)
    assert TOKEN not in str(diagnostics)
    # The harness's disk logs what is read from it; Home Assistant's own does not.
    told = [each for each in caplog.records if not each.name.startswith("pytest_homeassistant")]
    assert told
    assert TOKEN not in str([each.getMessage() for each in told])


async def test_an_api_of_ones_own_is_where_they_go(
    hass: HomeAssistant, aioclient_mock: AiohttpClientMocker, transport: ToldTransport
) -> None:
    account = await load(
        hass,
        options={**APPROVED, "api_token": TOKEN},
        api_base_url="https://api.example.com",
    )
    aioclient_mock.post("https://api.example.com/publish/metrics", json={"success": True})
    transport.tell(ConnectionState.DISCONNECTED)
    await call(hass, "publish_metrics", device_ids(hass, meet(account)), metrics={"a": 1})
    assert aioclient_mock.call_count == 1


@pytest.mark.parametrize(
    ("status", "key"),
    [(401, "api_token_refused"), (500, "not_published"), (400, "message_refused")],
)
async def test_what_http_refuses_is_explained_without_the_token(
    hass: HomeAssistant,
    http_account: MockConfigEntry,
    transport: ToldTransport,
    aioclient_mock: AiohttpClientMocker,
    caplog: pytest.LogCaptureFixture,
    status: int,
    key: str,
) -> None:
    aioclient_mock.post(f"{API}/metrics", status=status)
    transport.tell(ConnectionState.DISCONNECTED)

    with pytest.raises(HomeAssistantError) as error:
        await call(hass, "publish_metrics", device_ids(hass, meet(http_account)), metrics={"a": 1})

    assert mistake(error) == key
    assert TOKEN not in repr(error.value) + caplog.text


async def test_text_logs_have_no_way_over_http(
    hass: HomeAssistant,
    http_account: MockConfigEntry,
    transport: ToldTransport,
    aioclient_mock: AiohttpClientMocker,
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    with pytest.raises(HomeAssistantError) as error:
        await call(hass, "publish_log", [gateway_id(hass, http_account)], message="a")
    assert mistake(error) == "not_published"
    assert aioclient_mock.call_count == 0


# Several devices and times in one call


async def test_a_series_of_values_goes_up_in_one_message_in_its_order(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    series = [
        {"name": "temperature", "value": 21.5, "timestamp": 1790856000},
        {"name": "temperature", "value": 21.7, "timestamp": "2026-10-01T12:01:00+00:00"},
        {"name": "temperature", "value": 21.8, "timestamp": "2026-10-01T12:01:00.250+00:00"},
        {"name": "temperature", "value": 21.9},
        {"name": "battery", "value": 87, "timestamp": 1790856000.25},
    ]
    await call(
        hass, "publish_metrics", device_ids(hass, device), metrics=series, timestamp=1790859600
    )
    [(topic, payload)] = content(transport)
    assert topic == "metrics/v0/42/0/42"
    assert payload["metrics"] == [
        {"name": "temperature", "value": 21.5, "timestamp": 1790856000},
        {"name": "temperature", "value": 21.7, "timestamp": 1790856060},
        {"name": "temperature", "value": 21.8, "timestamp": 1790856060.25},
        {"name": "temperature", "value": 21.9, "timestamp": 1790859600},
        {"name": "battery", "value": 87, "timestamp": 1790856000.25},
    ]


async def test_each_sample_may_name_its_device_by_id_or_serial(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    meet(account, OTHER, "C0:FF:EE:00:00:09")
    [device_id] = device_ids(hass, device)
    metrics = [
        {"name": "a", "value": 1, "device": device_id},
        {"name": "b", "value": 2, "device": OTHER.serial},
        {"name": "c", "value": 3, "device": "ha-5eed5eed"},
        {"name": "d", "value": 4},
    ]
    await call(hass, "publish_metrics", [gateway_id(hass, account)], metrics=metrics)
    (_, devices), (_, gateways) = sorted(content(transport), reverse=True)
    found = {each["device_serial"]: each["metrics"] for each in devices["devices"]}
    assert found == {
        SENSOR.serial: [{"name": "a", "value": 1}],
        OTHER.serial: [{"name": "b", "value": 2}],
    }
    assert gateways["metrics"] == [{"name": "c", "value": 3}, {"name": "d", "value": 4}]


async def test_samples_that_all_name_their_device_need_no_target(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    events = [
        {"type": "open", "device": SENSOR.serial},
        {"type": "closed", "device": SENSOR.serial},
    ]
    await hass.services.async_call(DOMAIN, "publish_events", {"events": events}, blocking=True)
    [(_, payload)] = content(transport)
    assert payload["events"] == [{"type": "open"}, {"type": "closed"}]


async def test_a_device_that_is_not_collected_may_be_named_and_a_disabled_one_may_not(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    device.record.collect = False
    sample = {"name": "a", "value": 1, "device": SENSOR.serial}
    await hass.services.async_call(DOMAIN, "publish_metrics", {"metrics": sample}, blocking=True)
    assert len(transport.published) == 1
    [device_id] = device_ids(hass, device)
    disabled_by = dr.DeviceEntryDisabler.USER
    dr.async_get(hass).async_update_device(device_id, disabled_by=disabled_by)
    await hass.async_block_till_done()
    for name in (SENSOR.serial, device_id):
        metrics = {"metrics": {**sample, "device": name}}
        with pytest.raises(ServiceValidationError) as error:
            await hass.services.async_call(DOMAIN, "publish_metrics", metrics, blocking=True)
        assert mistake(error) == "device_disabled"
    assert len(transport.published) == 1


async def test_a_device_that_was_never_here_is_named_by_application_and_serial(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    stranger = {"application_id": 7, "serial": "ELSEWHERE"}
    targets = [gateway_id(hass, account)]
    mixed = [{"name": "a", "value": 1}, {"name": "b", "value": 2, "device": SENSOR.serial}]
    await call(hass, "publish_metrics", targets, metrics=mixed, **stranger)
    await call(hass, "publish_events", targets, events={"type": "open", "by": "hand"}, **stranger)
    await call(hass, "publish_event", device_ids(hass, device), type="e", serial="ELSEWHERE")
    assert [(topic, each["device_serial"]) for topic, each in content(transport)] == [
        ("metrics/v0/42/0/7", "ELSEWHERE"),
        ("metrics/v0/42/0/42", SENSOR.serial),
        ("events/v0/42/0/7", "ELSEWHERE"),
        ("events/v0/42/0/42", "ELSEWHERE"),
    ]
    for said, key in (
        ({"serial": "ELSEWHERE"}, "no_identity"),
        ({"application_id": 7}, "no_identity"),
        ({"application_id": 7, "serial": "a/b"}, "invalid_serial"),
    ):
        with pytest.raises(HomeAssistantError) as error:
            await call(hass, "publish_event", targets, type="e", **said)
        assert mistake(error) == key
    assert len(transport.published) == 4


async def test_events_of_several_types_go_up_with_keys_of_their_own(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    events = [
        {"type": "open", "by": "hand", "times": [1, 2], "where": {"door": "front"}},
        {"type": "closed", "timestamp": 1790856000},
    ]
    await call(
        hass, "publish_events", device_ids(hass, device), events=events, timestamp=1790850000
    )
    [(topic, payload)] = content(transport)
    assert topic == "events/v0/42/0/42"
    assert payload["events"] == [
        {
            "type": "open",
            "timestamp": 1790850000,
            "by": "hand",
            "times": [1, 2],
            "where": {"door": "front"},
        },
        {"type": "closed", "timestamp": 1790856000},
    ]


async def test_one_event_or_metric_needs_no_list(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    targets = device_ids(hass, device)
    await call(hass, "publish_events", targets, events={"type": "open", "by": 1})
    sample = {"name": "temperature", "value": 21.5, "timestamp": 1790856000}
    await call(hass, "publish_metrics", targets, metrics=sample)
    # Names with their values, two of which are called like the fields of a sample.
    await call(hass, "publish_metrics", targets, metrics={"name": 1, "value": 2})
    (_, events), (_, one), (_, two) = content(transport)
    assert events["events"] == [{"type": "open", "by": 1}]
    assert one["metrics"] == [sample]
    assert two["metrics"] == [{"name": "name", "value": 1}, {"name": "value", "value": 2}]


@pytest.mark.parametrize(
    ("action", "data", "key"),
    [
        ("publish_metrics", {"metrics": []}, "no_metrics"),
        ("publish_metrics", {"metrics": [{"name": "a b", "value": 1}]}, "invalid_name"),
        ("publish_metrics", {"metrics": [{"name": "a", "value": "1"}]}, "invalid_value"),
        (
            "publish_metrics",
            {"metrics": [{"name": "a", "value": 1, "timestamp": -1}]},
            "invalid_timestamp",
        ),
        ("publish_metrics", {"metrics": {"a": 1}, "timestamp": math.nan}, "invalid_timestamp"),
        ("publish_metrics", {"metrics": {"a": 1}, "timestamp": True}, "invalid_timestamp"),
        ("publish_metrics", {"metrics": {"a": 1}, "timestamp": 1790856000000}, "invalid_timestamp"),
        (
            "publish_metrics",
            {"metrics": [{"name": "a", "value": 1}, {"name": "a", "value": 1, "device": "Z"}]},
            "unknown_device",
        ),
        (
            "publish_metrics",
            {"metrics": [{"name": "a", "value": 1}, {"name": "a", "value": 1, "device": ""}]},
            "unknown_device",
        ),
        (
            "publish_metrics",
            {"metrics": {"a": 1}, "timestamp": "0001-01-01T00:00:00+14:00"},
            "invalid_timestamp",
        ),
        ("publish_events", {"events": []}, "no_metrics"),
        ("publish_events", {"events": [{"type": "e"}, {"type": "a=b"}]}, "invalid_name"),
        ("publish_events", {"events": {"type": "e", "x": math.inf}}, "invalid_extra"),
        ("publish_events", {"events": {"type": "e", "x": object()}}, "invalid_extra"),
        ("publish_events", {"events": {"type": "e", "x" * 65: 1}}, "invalid_extra"),
        ("publish_events", {"events": {"type": "e", 7: 1}}, "invalid_extra"),
    ],
)
async def test_one_bad_sample_is_explained_and_none_is_sent(
    hass: HomeAssistant,
    device: DeviceCoordinator,
    transport: ToldTransport,
    action: str,
    data: dict[str, Any],
    key: str,
) -> None:
    with pytest.raises(ServiceValidationError) as error:
        await call(hass, action, device_ids(hass, device), **data)
    assert mistake(error) == key
    assert transport.published == []


async def test_a_serial_of_two_devices_names_neither(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    known: dict[str, Any] = {"device_types": []}
    account = await load(hass, options={"applications": {"42": known, "43": known}})
    device = meet(account)
    meet(account, DeviceIdentity(43, SENSOR.serial), "C0:FF:EE:00:00:09")
    events = {"type": "e", "device": SENSOR.serial}
    with pytest.raises(ServiceValidationError) as error:
        await call(hass, "publish_events", device_ids(hass, device), events=events)
    assert mistake(error) == "ambiguous_device"


@pytest.mark.parametrize(
    "data",
    [
        {"metrics": [{"name": "a"}]},
        {"metrics": [{"name": "a", "value": 1, "unit": "m"}]},
        {"metrics": {"name": "a", "value": 1, "unit": "m"}},
    ],
)
async def test_a_sample_of_another_form_is_refused(
    hass: HomeAssistant, device: DeviceCoordinator, data: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        await call(hass, "publish_metrics", device_ids(hass, device), **data)
