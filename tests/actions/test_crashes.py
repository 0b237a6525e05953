"""The actions about crashes: groups with their occurrences, and what people make of them."""

from typing import Any

import probatio
import pytest
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import ServiceValidationError, Unauthorized
from homeassistant.helpers.json import json_dumps
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockUser

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.gateway.gateway import Gateway
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.panel.downloads import capture_path, core_path
from tests.support.account import CRASH_DUMP, SENSOR, core_dump, load
from tests.support.fixtures import AGENT
from tests.support.said import read_all, stored

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()
AT = core_dump().captured_at
FAULT = (
    "an access where nothing answers at 0xFFFF0030 (precise data bus error, BFAR holds the address)"
)


async def call(
    hass: HomeAssistant, name: str, context: Context | None = None, **data: Any
) -> dict[str, Any]:
    answer = await hass.services.async_call(
        DOMAIN, name, data, blocking=True, context=context, return_response=True
    )
    assert isinstance(answer, dict)
    json_dumps(answer)
    return answer


@pytest.fixture
def gateway(device: DeviceCoordinator) -> Gateway:
    found: Gateway = device.account.entry.runtime_data
    return found


@pytest.fixture
async def crashed(gateway: Gateway, device: DeviceCoordinator) -> tuple[str, list[int]]:
    """A device that crashed twice; the fingerprint, and its core dumps."""
    await gateway.images.async_add(lambda: IMAGE, ImageKey(), "pump.elf")
    await read_all(gateway)
    dumps = [
        Capture(CaptureKind.CORE_DUMP, SENSOR, CRASH_DUMP, AT + number * 60) for number in range(2)
    ]
    ids = [await stored(device, each) for each in dumps]
    (group,) = gateway.crashes.groups
    return group.fingerprint, ids


async def test_groups_come_with_their_occurrences(
    hass: HomeAssistant, account: MockConfigEntry, crashed: tuple[str, list[int]], gateway: Gateway
) -> None:
    fingerprint, (first, second) = crashed
    await gateway.account.outbox.discard(first)
    answer = await call(hass, "get_crashes", config_entry_id=account.entry_id)
    reason = "Bus error in read_register (session.c:3)"
    occurrence = {
        "device": SENSOR.serial,
        "firmware_version": "4.24.2",
        "git_hash": "bc53443",
        "reason": reason,
    }
    assert answer == {
        "crashes": [
            {
                "fingerprint": fingerprint,
                "application": 42,
                "reason": reason,
                "fault_kind": "data_bus_error",
                "place": "read_register (session.c:3)",
                "state": "open",
                "resolved_in": [],
                "count": 2,
                "first_seen": "2026-09-21T14:15:00+00:00",
                "last_seen": "2026-09-21T14:16:00+00:00",
                "devices": {SENSOR.serial: "2026-09-21T14:16:00+00:00"},
                "versions": {"4.24.2": "2026-09-21T14:16:00+00:00"},
                "occurrences": [
                    {
                        "time": "2026-09-21T14:16:00+00:00",
                        "capture": second,
                        "download": capture_path(account.entry_id, second),
                        "core_file": core_path(account.entry_id, second),
                        **occurrence,
                    },
                    {
                        "time": "2026-09-21T14:15:00+00:00",
                        "capture": None,
                        "download": None,
                        "core_file": None,
                        **occurrence,
                    },
                ],
            }
        ],
        "more": 0,
    }


async def test_a_single_group_comes_with_the_report_of_its_latest_core_dump(
    hass: HomeAssistant, crashed: tuple[str, list[int]], gateway: Gateway
) -> None:
    fingerprint, ids = crashed
    answer = await call(hass, "get_crashes", fingerprint=f" {fingerprint.upper()} ")
    (group,) = answer["crashes"]
    report = group["report"]
    assert (report["fault"], report["fingerprint"]) == (FAULT, fingerprint)
    assert (report["function"], report["location"]) == ("read_register", "session.c:3")
    assert [frame["function"] for frame in report["backtrace"][:2]] == [
        "read_register",
        "sample_sensor",
    ]
    for capture_id in ids:
        await gateway.account.outbox.discard(capture_id)
    answer = await call(hass, "get_crashes", fingerprint=fingerprint)
    assert answer["crashes"][0]["report"] is None


async def test_the_newest_groups_of_a_state_up_to_a_limit(
    hass: HomeAssistant,
    crashed: tuple[str, list[int]],
    gateway: Gateway,
    device: DeviceCoordinator,
) -> None:
    fingerprint, _ = crashed
    await stored(device, Capture(CaptureKind.CORE_DUMP, SENSOR, b"\1\0\0\0", AT + 600))
    answer = await call(hass, "get_crashes", limit=1)
    assert [len(each["occurrences"]) for each in answer["crashes"]] == [1]
    assert answer["crashes"][0]["fingerprint"] != fingerprint
    assert answer["more"] == 1
    await call(hass, "set_crash_state", fingerprint=fingerprint, state="ignored")
    for states, found in ((["open"], 1), (["ignored", "open"], 2), ("regressed", 0)):
        answer = await call(hass, "get_crashes", state=states)
        assert len(answer["crashes"]) == found
    answer = await call(hass, "get_crashes", limit=1, fingerprint=fingerprint)
    assert len(answer["crashes"][0]["occurrences"]) == 1


async def test_a_state_is_set_and_on_disk(
    hass: HomeAssistant,
    account: MockConfigEntry,
    crashed: tuple[str, list[int]],
    hass_storage: dict[str, Any],
) -> None:
    fingerprint, _ = crashed
    answer = await call(hass, "set_crash_state", fingerprint=fingerprint, state="resolved")
    assert (answer["state"], answer["resolved_in"]) == ("resolved", ["4.24.2"])
    answer = await call(
        hass, "set_crash_state", fingerprint=fingerprint, state="resolved", version=" 4.26.0 "
    )
    assert answer["resolved_in"] == ["4.26.0"]
    (group,) = hass_storage[f"{DOMAIN}.{account.entry_id}"]["data"]["crashes"]["groups"]
    assert (group["state"], group["resolved_in"]) == ("resolved", ["4.26.0"])
    answer = await call(hass, "set_crash_state", fingerprint=fingerprint, state="open")
    assert (answer["state"], answer["resolved_in"]) == ("open", [])


async def test_a_group_that_is_not_there_is_an_error(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    for name, data in (("get_crashes", {}), ("set_crash_state", {"state": "ignored"})):
        with pytest.raises(ServiceValidationError) as error:
            await call(hass, name, fingerprint="0123456789abcdef", **data)
        assert error.value.translation_key == "no_such_crash"
        assert error.value.translation_placeholders == {
            "account": account.title,
            "fingerprint": "0123456789abcdef",
        }


async def test_a_version_goes_with_resolved_only(
    hass: HomeAssistant, crashed: tuple[str, list[int]], gateway: Gateway
) -> None:
    fingerprint, _ = crashed
    with pytest.raises(ServiceValidationError) as error:
        await call(
            hass, "set_crash_state", fingerprint=fingerprint, state="ignored", version="4.26.0"
        )
    assert error.value.translation_key == "version_without_resolved"
    assert [str(group.state) for group in gateway.crashes.groups] == ["open"]


@pytest.mark.parametrize("state", ["regressed", "mended", ""])
async def test_only_states_of_people_can_be_set(
    hass: HomeAssistant, crashed: tuple[str, list[int]], state: str
) -> None:
    with pytest.raises(probatio.Invalid):
        await call(hass, "set_crash_state", fingerprint=crashed[0], state=state)


async def test_of_several_accounts_one_is_named(
    hass: HomeAssistant, account: MockConfigEntry, crashed: tuple[str, list[int]]
) -> None:
    other = await load(hass, options={}, customer_id=43)
    with pytest.raises(ServiceValidationError):
        await call(hass, "get_crashes")
    answer = await call(hass, "get_crashes", config_entry_id=other.entry_id)
    assert answer == {"crashes": [], "more": 0}
    answer = await call(hass, "get_crashes", config_entry_id=account.entry_id)
    assert len(answer["crashes"]) == 1


@pytest.mark.parametrize(
    ("name", "data"), [("get_crashes", {}), ("set_crash_state", {"state": "ignored"})]
)
async def test_only_administrators_may(
    hass: HomeAssistant,
    crashed: tuple[str, list[int]],
    gateway: Gateway,
    hass_read_only_user: MockUser,
    hass_admin_user: MockUser,
    name: str,
    data: dict[str, Any],
) -> None:
    fingerprint, _ = crashed
    with pytest.raises(Unauthorized):
        await call(
            hass,
            name,
            Context(user_id=hass_read_only_user.id),
            fingerprint=fingerprint,
            **data,
        )
    assert [str(group.state) for group in gateway.crashes.groups] == ["open"]
    await call(hass, name, Context(user_id=hass_admin_user.id), fingerprint=fingerprint, **data)
