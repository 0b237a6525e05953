"""What an action's target stands for, and what *Get captures* returns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant, ServiceCall
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import label_registry as lr
from homeassistant.helpers.target import TargetSelection
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.actions.targets import Targets, async_targets
from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.insight.core_file import core_file
from custom_components.ulogger.model.capture import Capture, CaptureFault, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity as Identity
from custom_components.ulogger.outbox.errors import DiskFailed, NoSuchCapture
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import CRASH_DUMP, SENSOR, ToldTransport, core_dump, load, log, meet
from tests.support.bluetooth import OTHER_ADDRESS
from tests.support.flows import ENGLISH
from tests.support.said import CAPTURED_AT, said, stored

from ..support import made_captures as made
from ..support.outbox_world import queue

OTHER = Identity(42, "OTHER")


def registered(hass: HomeAssistant, device: DeviceCoordinator) -> dr.DeviceEntry:
    """Find a device in the registry."""
    return in_registry(hass, device.account.entry_id, device.identifier)


def gateway_of(hass: HomeAssistant, account: MockConfigEntry) -> dr.DeviceEntry:
    """Find the account's own device in the registry."""
    return in_registry(hass, account.entry_id, (DOMAIN, account.entry_id))


def in_registry(hass: HomeAssistant, entry_id: str, identifier: tuple[str, str]) -> dr.DeviceEntry:
    found = dr.async_get(hass).async_get_device_by_identifier(identifier, entry_id)
    assert found is not None
    return found


@pytest.fixture
async def devices(hass: HomeAssistant, account: MockConfigEntry) -> list[DeviceCoordinator]:
    """Return two devices of one account."""
    met = [meet(account), meet(account, OTHER, OTHER_ADDRESS)]
    await hass.async_block_till_done()
    return met


def targets(hass: HomeAssistant, *, gateways: bool = False, **named: Any) -> Targets:
    """Resolve the target of a call."""
    data = {key: [value] if isinstance(value, str) else value for key, value in named.items()}
    return async_targets(hass, ServiceCall(hass, DOMAIN, "upload", data), gateways=gateways)


def serials(found: Targets) -> list[str]:
    return sorted(device.identity.serial for device in found.devices)


def mistake(error: pytest.ExceptionInfo[HomeAssistantError]) -> str | None:
    """Name the error; its text must be there."""
    if error.value.translation_domain == DOMAIN:
        text = ENGLISH["exceptions"][error.value.translation_key]["message"]
        text.format(**error.value.translation_placeholders or {})
    return error.value.translation_key


# Targets


async def test_a_device_stands_for_itself(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    assert targets(hass, device_id=registered(hass, devices[0]).id).devices == devices[:1]


async def test_an_entity_stands_for_its_device(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    entities = er.async_entries_for_device(er.async_get(hass), registered(hass, devices[1]).id)
    assert len(entities) > 2
    found = targets(hass, entity_id=[entity.entity_id for entity in entities])
    assert found.devices == devices[1:]


async def test_an_area_and_a_label_stand_for_the_devices_in_them(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    area = ar.async_get(hass).async_create("Workshop")
    label = lr.async_get(hass).async_create("Watched")
    registry = dr.async_get(hass)
    registry.async_update_device(registered(hass, devices[0]).id, area_id=area.id)
    registry.async_update_device(registered(hass, devices[1]).id, labels={label.label_id})
    assert targets(hass, area_id=area.id).devices == devices[:1]
    assert targets(hass, label_id=label.label_id).devices == devices[1:]


async def test_the_account_stands_for_all_its_devices_or_for_itself(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    gateway = gateway_of(hass, account).id
    assert serials(targets(hass, device_id=gateway)) == [SENSOR.serial, "OTHER"]
    itself = targets(hass, device_id=gateway, gateways=True)
    assert itself.devices == []
    assert itself.gateways == [account.runtime_data]


async def test_a_device_named_in_several_ways_is_meant_once(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    device = registered(hass, devices[0])
    entities = er.async_entries_for_device(er.async_get(hass), device.id)
    found = targets(
        hass,
        device_id=[device.id, gateway_of(hass, account).id],
        entity_id=[entity.entity_id for entity in entities],
    )
    assert serials(found) == [SENSOR.serial, "OTHER"]


async def test_others_in_an_area_are_passed_over(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    area = ar.async_get(hass).async_create("Workshop")
    registry = dr.async_get(hass)
    lamp_owner = MockConfigEntry(domain="lamps")
    lamp_owner.add_to_hass(hass)
    lamp = registry.async_get_or_create(
        config_entry_id=lamp_owner.entry_id, identifiers={("lamps", "1")}
    )
    disabled = registered(hass, devices[1])
    registry.async_update_device(disabled.id, disabled_by=dr.DeviceEntryDisabler.USER)
    for device in (lamp, disabled, registered(hass, devices[0])):
        registry.async_update_device(device.id, area_id=area.id)
    assert targets(hass, area_id=area.id).devices == devices[:1]


async def test_a_foreign_device_that_is_named_is_a_mistake(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    owner = MockConfigEntry(domain="lamps")
    owner.add_to_hass(hass)
    lamp = dr.async_get(hass).async_get_or_create(
        config_entry_id=owner.entry_id, identifiers={("lamps", "1")}
    )
    with pytest.raises(ServiceValidationError):
        targets(hass, device_id=lamp.id)
    with pytest.raises(ServiceValidationError):
        targets(hass, device_id="there_is_no_such_device")


async def test_a_target_with_nothing_of_ours_is_a_mistake(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    area = ar.async_get(hass).async_create("Attic")
    for named in ({"area_id": area.id}, {"entity_id": "light.lamp"}, {}):
        with pytest.raises(ServiceValidationError) as error:
            targets(hass, **named)
        assert mistake(error) == "no_target"


async def test_a_device_that_is_disabled_is_not_collected(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    device = registered(hass, devices[0])
    dr.async_get(hass).async_update_device(device.id, disabled_by=dr.DeviceEntryDisabler.USER)
    with pytest.raises(ServiceValidationError) as error:
        targets(hass, device_id=device.id)
    assert mistake(error) == "device_disabled"


async def test_a_device_of_an_account_that_is_not_loaded_is_a_mistake(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    device = registered(hass, devices[0]).id
    await hass.config_entries.async_unload(account.entry_id)
    with pytest.raises(ServiceValidationError):
        targets(hass, device_id=device)


# What a target leaves out, since 2026.11


@pytest.fixture
def exclude(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Targets]:
    """Return what resolves a target that leaves something out, also where core can't yet."""

    def resolve(hass: HomeAssistant, left_out: dict[str, str], **named: Any) -> Targets:
        if "exclude" not in TargetSelection.__slots__:

            class Selection(TargetSelection):
                exclude = TargetSelection(left_out)

            monkeypatch.setattr(
                "custom_components.ulogger.actions.targets.TargetSelection", Selection
            )
        return targets(hass, exclude=left_out, **named)

    return resolve


async def test_a_device_that_is_left_out_is_left_out_below_its_account(
    hass: HomeAssistant,
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    exclude: Callable[..., Targets],
) -> None:
    gateway = gateway_of(hass, account).id
    left_out = registered(hass, devices[0])
    assert serials(exclude(hass, {"device_id": left_out.id}, device_id=gateway)) == ["OTHER"]
    area = ar.async_get(hass).async_create("Workshop")
    dr.async_get(hass).async_update_device(left_out.id, area_id=area.id)
    assert serials(exclude(hass, {"area_id": area.id}, device_id=gateway)) == ["OTHER"]
    label = lr.async_get(hass).async_create("Watched")
    dr.async_get(hass).async_update_device(left_out.id, labels={label.label_id})
    assert serials(exclude(hass, {"label_id": label.label_id}, device_id=gateway)) == ["OTHER"]


async def test_an_account_that_is_left_out_leaves_out_its_devices_or_itself(
    hass: HomeAssistant,
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    exclude: Callable[..., Targets],
) -> None:
    gateway = gateway_of(hass, account)
    area = ar.async_get(hass).async_create("Workshop")
    for device in (gateway, registered(hass, devices[0])):
        dr.async_get(hass).async_update_device(device.id, area_id=area.id)
    with pytest.raises(ServiceValidationError) as error:
        exclude(hass, {"device_id": gateway.id}, area_id=area.id)
    assert mistake(error) == "no_target"
    itself = exclude(hass, {"device_id": gateway.id}, area_id=area.id, gateways=True)
    assert itself.gateways == []
    assert serials(itself) == [SENSOR.serial]


async def test_a_target_of_which_everything_is_left_out_is_a_mistake(
    hass: HomeAssistant, devices: list[DeviceCoordinator], exclude: Callable[..., Targets]
) -> None:
    device = registered(hass, devices[0]).id
    with pytest.raises(ServiceValidationError) as error:
        exclude(hass, {"device_id": device}, device_id=device)
    assert mistake(error) == "no_target"


async def test_an_entity_that_is_left_out_leaves_out_its_device(
    hass: HomeAssistant,
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    exclude: Callable[..., Targets],
) -> None:
    registry, left_out = er.async_get(hass), registered(hass, devices[0])
    entity = er.async_entries_for_device(registry, left_out.id, include_disabled_entities=True)[0]
    gateway = gateway_of(hass, account).id
    found = exclude(hass, {"entity_id": entity.entity_id}, device_id=gateway)
    assert serials(found) == ["OTHER"]
    # One that only shares a label, such as that of sensors nobody looks at, says nothing of it.
    label = lr.async_get(hass).async_create("Unwatched")
    registry.async_update_entity(entity.entity_id, labels={label.label_id})
    found = exclude(hass, {"label_id": label.label_id}, device_id=gateway)
    assert serials(found) == [SENSOR.serial, "OTHER"]


@pytest.mark.skipif("exclude" not in TargetSelection.__slots__, reason="2026.11 brings it")
async def test_an_action_takes_what_is_to_be_left_out(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    answer = await hass.services.async_call(
        DOMAIN,
        "get_captures",
        {
            "device_id": gateway_of(hass, account).id,
            "exclude": {"device_id": registered(hass, devices[0]).id},
        },
        blocking=True,
        return_response=True,
    )
    assert answer == {"devices": {"OTHER": []}}


# Get captures


async def captures(
    hass: HomeAssistant, *devices: DeviceCoordinator, **data: Any
) -> dict[str, list[dict[str, Any]]]:
    """Call the action."""
    answer = await hass.services.async_call(
        DOMAIN,
        "get_captures",
        {"device_id": [registered(hass, device).id for device in devices], **data},
        blocking=True,
        return_response=True,
    )
    assert answer is not None
    found: dict[str, list[dict[str, Any]]] = answer["devices"]  # type: ignore[assignment]
    return found


async def test_captures_of_each_device_are_listed_newest_first(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    outbox = account.runtime_data.account.outbox
    first = await outbox.add(log())
    await outbox.add(core_dump())
    await queue(outbox).delivered([first.capture_id])
    found = await captures(hass, *devices)
    assert found["OTHER"] == []
    dump, sent = found[SENSOR.serial]
    assert (dump["kind"], dump["bytes"], dump["state"]) == (
        "core_dump",
        len(CRASH_DUMP),
        "waiting",
    )
    assert (sent["kind"], sent["state"]) == ("log", "delivered")
    assert sent["captured"] == "2026-09-21T14:13:20+00:00"
    assert sent["delivered"] is not None
    assert "lines" not in sent
    assert await captures(hass, devices[0], limit=1) == {SENSOR.serial: [dump]}


async def test_captures_are_read_as_text(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    outbox = account.runtime_data.account.outbox
    await outbox.add(log())
    await outbox.add(core_dump())
    await outbox.add(
        Capture(CaptureKind.LOG, SENSOR, b"\xff\xff", 1_790_000_200.0, CaptureFault.CHECKSUM)
    )
    broken, dump, text = (await captures(hass, devices[0], text=True))[SENSOR.serial]
    assert broken["lines"][0].startswith("can't be read: ")
    assert any(line.startswith("pc ") for line in dump["lines"])
    assert len(text["lines"]) > 5


async def test_a_capture_is_dated_by_the_one_before(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    """The second log's ticks count from where the first was closed; a later one does not."""

    async def arrive(seconds: float, anchor: int, *ticks: int) -> None:
        frames = [(each, made.payload()) for each in ticks]
        data = made.log(*frames, anchor=anchor, rate=1000, version=3)
        await stored(devices[0], said(devices[0], data, CAPTURED_AT + seconds))

    await arrive(0, 10_000, 1_000, 1_000)
    await arrive(900, 910_000, 2_000, 3_000)
    second, first = (await captures(hass, devices[0], text=True))[SENSOR.serial]
    assert [line.split()[0] for line in first["lines"]] == [
        "2026-09-21T14:13:11.000+00:00",
        "2026-09-21T14:13:12.000+00:00",
    ]
    assert [line.split()[0] for line in second["lines"]] == [
        "2026-09-21T14:13:22.000+00:00",
        "2026-09-21T14:13:25.000+00:00",
    ]


async def test_a_capture_that_goes_while_it_is_listed_has_no_text(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    await account.runtime_data.account.outbox.add(log())
    with patch.object(Outbox, "read", side_effect=NoSuchCapture("gone")):
        (row,) = (await captures(hass, devices[0], text=True))[SENSOR.serial]
    assert "lines" not in row


async def test_a_disk_that_fails_is_said_in_words(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    with (
        patch.object(Outbox, "listing", side_effect=DiskFailed("input/output error")),
        pytest.raises(HomeAssistantError) as error,
    ):
        await captures(hass, devices[0])
    assert mistake(error) == "disk_failed"


# Downloads


@pytest.fixture
async def captured(hass: HomeAssistant, transport: ToldTransport) -> MockConfigEntry:
    """Return an account with a capture that waits and one in quarantine."""
    transport.tell(ConnectionState.DISCONNECTED)
    account = await load(hass)
    meet(account)
    await account.runtime_data.account.outbox.add(log())
    await account.runtime_data.account.outbox.add(
        Capture(CaptureKind.LOG, SENSOR, b"\xff\xff", 1_790_000_200.0, CaptureFault.CHECKSUM)
    )
    return account


async def test_a_capture_that_was_listed_can_be_downloaded(
    hass: HomeAssistant, captured: MockConfigEntry, hass_client: Any
) -> None:
    device = captured.runtime_data.devices[SENSOR.key]
    client = await hass_client()
    _, row = (await captures(hass, device))[SENSOR.serial]
    response = await client.get(row["download"])
    assert response.status == 200
    assert await response.read() == log().data
    assert response.headers["Content-Disposition"].startswith(
        'attachment; filename="A87DE76F0011-20260921T141320Z-'
    )


@pytest.mark.parametrize("link", ["download", "core_file"])
async def test_the_link_to_a_capture_opens_in_an_administrator_s_browser_and_in_no_other(
    hass: HomeAssistant,
    captured: MockConfigEntry,
    hass_ws_client: Any,
    hass_client_no_auth: Any,
    hass_access_token: str,
    hass_read_only_access_token: str,
    link: str,
) -> None:
    await captured.runtime_data.account.outbox.add(core_dump())
    device = registered(hass, captured.runtime_data.devices[SENSOR.key])
    browser = await hass_client_no_auth()
    opened = []
    for token in (hass_access_token, hass_read_only_access_token):
        socket = await hass_ws_client(hass, token)
        await socket.send_json_auto_id(
            {
                "type": "call_service",
                "domain": DOMAIN,
                "service": "get_captures",
                "service_data": {"device_id": device.id},
                "return_response": True,
            }
        )
        answer = (await socket.receive_json())["result"]["response"]
        dump = answer["devices"][SENSOR.serial][0]
        opened.append((await browser.get(dump[link])).status)
    assert opened == [200, 401]


async def test_a_core_dump_can_be_downloaded_for_a_debugger(
    hass: HomeAssistant, captured: MockConfigEntry, hass_client: Any
) -> None:
    await captured.runtime_data.account.outbox.add(core_dump())
    client = await hass_client()
    dump, *logs = (await captures(hass, captured.runtime_data.devices[SENSOR.key]))[SENSOR.serial]
    assert not any("core_file" in each for each in logs)
    response = await client.get(dump["core_file"])
    assert response.status == 200
    assert await response.read() == core_file(CoreDump.parse(CRASH_DUMP))
    assert response.headers["Content-Disposition"].endswith('-core_dump.core"')


async def test_a_dump_without_registers_says_why_there_is_no_core_file(
    hass: HomeAssistant, captured: MockConfigEntry, hass_client: Any
) -> None:
    unknown = replace(core_dump(), data=made.core_dump(b"other", version=9))
    added = await captured.runtime_data.account.outbox.add(unknown)
    client = await hass_client()
    response = await client.get(
        f"/api/ulogger/{captured.entry_id}/captures/{added.capture_id}/core"
    )
    assert response.status == 422
    assert "it has no registers that can be read" in await response.text()


async def test_only_administrators_download(
    hass: HomeAssistant,
    captured: MockConfigEntry,
    hass_client: Any,
    hass_client_no_auth: Any,
    hass_read_only_access_token: str,
) -> None:
    paths = [
        f"/api/ulogger/{captured.entry_id}/captures/1",
        f"/api/ulogger/{captured.entry_id}/captures/1/core",
        f"/api/ulogger/{captured.entry_id}/quarantine",
    ]
    reader = await hass_client(hass_read_only_access_token)
    nobody = await hass_client_no_auth()
    for path in paths:
        assert (await reader.get(path)).status == 401
        assert (await nobody.get(path)).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "{entry}/captures/99",
        "{entry}/captures/x",
        "{entry}/captures/" + 30 * "9",
        "{entry}/captures/99/core",
        "{entry}/captures/1/core",
    ],
)
async def test_what_is_not_there_is_not_found(
    hass: HomeAssistant, captured: MockConfigEntry, hass_client: Any, path: str
) -> None:
    client = await hass_client()
    response = await client.get(f"/api/ulogger/{path.format(entry=captured.entry_id)}")
    assert response.status == 404


async def test_an_account_that_is_not_there_has_no_downloads(
    hass: HomeAssistant, captured: MockConfigEntry, hass_client: Any
) -> None:
    client = await hass_client()
    await hass.config_entries.async_unload(captured.entry_id)
    for entry_id in (captured.entry_id, "other"):
        assert (await client.get(f"/api/ulogger/{entry_id}/quarantine")).status == 404


async def test_a_disk_that_fails_is_no_fault_of_the_asker(
    hass: HomeAssistant, captured: MockConfigEntry, hass_client: Any
) -> None:
    client = await hass_client()
    with patch.object(Outbox, "read", side_effect=DiskFailed("input/output error")):
        for path in ("captures/1", "quarantine"):
            response = await client.get(f"/api/ulogger/{captured.entry_id}/{path}")
            assert response.status == 503


async def test_a_capture_that_goes_while_the_zip_is_made_is_left_out(
    hass: HomeAssistant, captured: MockConfigEntry, hass_client: Any
) -> None:
    client = await hass_client()
    with patch.object(Outbox, "read", side_effect=NoSuchCapture("gone")):
        response = await client.get(f"/api/ulogger/{captured.entry_id}/quarantine")
    assert response.status == 200
