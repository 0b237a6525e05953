"""What the panel is told of crashes, and the image that a person hands it."""

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from homeassistant.components import file_upload
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import (
    ClientSessionGenerator,
    MockHAClientWebSocket,
)

from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity as Identity
from tests.panel.support import ask, device_id, event, keep
from tests.support.account import CRASH_DUMP, SENSOR, core_dump, log
from tests.support.fixtures import AGENT
from tests.support.flows import ENGLISH
from tests.support.made_captures import core_dump as made_dump

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()
AT = core_dump().captured_at

type UploadFile = Callable[[str, bytes], Any]


@pytest.fixture
def upload_file(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> UploadFile:
    """Return what uploads a file as the panel does."""

    async def upload(name: str, content: bytes) -> str:
        client = await hass_client()
        response = await client.post("/api/file_upload", data={"file": _named(name, content)})
        found: str = (await response.json())["file_id"]
        return found

    return upload


def _named(name: str, content: bytes) -> BytesIO:
    file = BytesIO(content)
    file.name = name
    return file


async def crash(account: MockConfigEntry, device: DeviceCoordinator, at: float = AT) -> int:
    """Have a device crash; returns its core dump."""
    dump = Capture(CaptureKind.CORE_DUMP, device.identity, CRASH_DUMP, at)
    [capture_id] = await keep(account, dump)
    return capture_id


async def test_groups_come_and_come_again_when_something_happens(
    account: MockConfigEntry, device: DeviceCoordinator, panel: MockHAClientWebSocket
) -> None:
    await ask(panel, "crashes/subscribe")
    assert await event(panel) == []
    await crash(account, device)
    [group] = await event(panel)
    assert group["account"] == account.entry_id
    assert (group["count"], group["state"], group["versions"]) == (1, "open", ["4.24.2"])
    assert group["devices"] == [f"{SENSOR.device_type} {SENSOR.serial}"]
    assert (group["first_seen"], group["last_seen"], len(group["days"])) == (AT, AT, 14)


async def test_a_state_that_is_set_is_seen(
    account: MockConfigEntry, device: DeviceCoordinator, panel: MockHAClientWebSocket
) -> None:
    await crash(account, device)
    await ask(panel, "crashes/subscribe")
    [group] = await event(panel)
    name = {"account": account.entry_id, "fingerprint": group["fingerprint"]}
    await panel.send_json_auto_id(
        {"type": "ulogger/crashes/set_state", **name, "state": "resolved"}
    )
    answers = [await panel.receive_json(), await panel.receive_json()]
    [changed] = [each["event"] for each in answers if each["type"] == "event"]
    assert changed == [{**group, "state": "resolved"}]
    assert any(each.get("success") for each in answers)


async def test_a_group_has_its_occurrences_also_those_whose_dump_is_gone(
    account: MockConfigEntry, device: DeviceCoordinator, panel: MockHAClientWebSocket
) -> None:
    gone, there = await crash(account, device), await crash(account, device, AT + 60)
    await account.runtime_data.account.outbox.discard(gone)
    [group] = account.runtime_data.crashes.groups
    found = await ask(
        panel, "crashes/occurrences", account=account.entry_id, fingerprint=group.fingerprint
    )
    assert [(each["capture"], each["at"]) for each in found] == [(there, AT + 60), (None, AT)]
    assert {each["device"] for each in found} == {device_id(device)}


async def test_one_crash_with_its_image(
    account: MockConfigEntry,
    device: DeviceCoordinator,
    panel: MockHAClientWebSocket,
    upload_file: UploadFile,
    hass_client: ClientSessionGenerator,
) -> None:
    await keep(account, log())
    capture_id = await crash(account, device)
    bare = await ask(panel, "crashes/get", account=account.entry_id, capture=capture_id)
    assert not bare["has_image"]
    assert [each["function"] for each in bare["backtrace"]] == [None, None]

    file_id = await upload_file("pump.elf", IMAGE)
    added = await ask(
        panel, "images/add", account=account.entry_id, file_id=file_id, capture=capture_id
    )
    assert added == {"title": added["title"], "replaced": False}
    assert "4.24.2" in added["title"]

    found = await ask(panel, "crashes/get", account=account.entry_id, capture=capture_id)
    assert found["has_image"]
    assert found["occurrence"]["device"] == device_id(device)
    assert found["occurrence"]["at"] == AT
    assert found["backtrace"][0]["function"] == "read_register"
    assert found["backtrace"][0]["location"] == "session.c:3"
    assert found["fault_address"] == 0xFFFF0030
    assert {"register": "CFSR", "bit": 9, "name": "PRECISERR"} in found["bits"]
    assert found["registers"]["pc"] == bare["registers"]["pc"]
    assert found["memory"]
    assert base64.b64decode(found["memory"][0]["data"])
    assert {each["name"] for each in found["symbols"]}
    assert found["led_to_it"][-1]["message"]
    client = await hass_client()
    assert await (await client.get(found["download"])).read() == CRASH_DUMP
    assert (await (await client.get(found["core"])).read())[:4] == b"\x7fELF"


async def test_an_image_that_tells_nothing_is_of_what_crashed(
    account: MockConfigEntry,
    device: DeviceCoordinator,
    panel: MockHAClientWebSocket,
    upload_file: UploadFile,
) -> None:
    other = Identity(42, "NEW", "DoorSenseV2", "9.9.9", "abcdef1")
    body = CRASH_DUMP[264:]
    told = bytearray(made_dump(body, serial=b"NEW"))
    told[16:60] = b"abcdef1".ljust(44, b"\0")
    told[196:264] = b"9.9.9".ljust(68, b"\0")
    capture = Capture(CaptureKind.CORE_DUMP, other, bytes(told), AT)
    added = await account.runtime_data.account.outbox.add(capture)
    silent = IMAGE.replace(b"bc53443", b"-------").replace(b"4.24.2", b"-.--.-")
    file_id = await upload_file("firmware.elf", silent)
    answer = await ask(
        panel, "images/add", account=account.entry_id, file_id=file_id, capture=added.capture_id
    )
    assert answer["title"] == "42: 9.9.9 (abcdef1)"


async def test_what_is_no_image_is_refused_and_the_upload_is_gone(
    account: MockConfigEntry,
    panel: MockHAClientWebSocket,
    upload_file: UploadFile,
    hass: HomeAssistant,
) -> None:
    file_id = await upload_file("notes.txt", b"no image")
    message = {"type": "ulogger/images/add", "account": account.entry_id, "file_id": file_id}
    for reason in ("notes.txt is no firmware image", "The upload is gone"):
        await panel.send_json_auto_id(message)
        answer = await panel.receive_json()
        assert not answer["success"]
        assert reason in answer["error"]["message"]
    assert not hass.data[file_upload.DOMAIN].has_file(file_id)


async def test_what_is_not_there_is_an_error(
    account: MockConfigEntry, device: DeviceCoordinator, panel: MockHAClientWebSocket
) -> None:
    here = {"account": account.entry_id}
    group = {"fingerprint": "nothing"}
    [log_id] = await keep(account, log())
    for type_, data, text in (
        ("crashes/get", {**here, "capture": 4711}, "no_such_capture"),
        ("crashes/get", {**here, "capture": log_id}, "core_dump_unreadable"),
        ("crashes/get", {"account": "nobody", "capture": 1}, "account_not_loaded"),
        ("crashes/occurrences", {**here, **group}, "crash_gone"),
        ("crashes/occurrences", {"account": "nobody", **group}, "crash_gone"),
        ("crashes/set_state", {**here, **group, "state": "open"}, "crash_gone"),
        ("images/add", {"account": "nobody", "file_id": "none"}, "account_not_loaded"),
    ):
        await panel.send_json_auto_id({"type": f"ulogger/{type_}", **data})
        answer = await panel.receive_json()
        assert not answer["success"], type_
        assert answer["error"]["code"] in {"not_found", "no_such_capture"}, answer
        assert answer["error"]["translation_domain"] == "ulogger"
        assert answer["error"]["translation_key"] == text
        said = ENGLISH["exceptions"][text]["message"]
        assert said.format(**answer["error"].get("translation_placeholders") or {})


async def test_an_image_is_refused_in_words_of_every_language(
    account: MockConfigEntry, panel: MockHAClientWebSocket, upload_file: UploadFile
) -> None:
    file_id = await upload_file("notes.txt", b"no image")
    message = {"type": "ulogger/images/add", "account": account.entry_id, "file_id": file_id}
    await panel.send_json_auto_id(message)
    error = (await panel.receive_json())["error"]
    assert (error["translation_domain"], error["translation_key"]) == ("ulogger", "invalid_image")
    assert error["translation_placeholders"]["file"] == "notes.txt"
    # What is wrong with it in detail is in English, and for the log.
    assert "{detail}" not in ENGLISH["exceptions"]["invalid_image"]["message"]
