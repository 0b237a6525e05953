"""What the panel is told of logs, through the websocket that it uses."""

import asyncio
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import MockHAClientWebSocket

from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.gateway import log_search
from custom_components.ulogger.gateway.log_search import LogSearch
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity as Identity
from custom_components.ulogger.model.level import Level
from custom_components.ulogger.outbox.errors import DiskFailed
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.panel import logs
from tests.panel.support import ARRIVED, ask, device_id, event, keep, log_of, said
from tests.support.account import CRASH_LOG, SENSOR, meet
from tests.support.bluetooth import OTHER_ADDRESS
from tests.support.fixtures import AGENT

OTHER = Identity(42, "OTHER", "DoorSenseV2", "4.24.2", "bc53443")


@pytest.fixture
async def devices(hass: HomeAssistant, account: MockConfigEntry) -> list[DeviceCoordinator]:
    """Return two devices of one account."""
    met = [meet(account), meet(account, OTHER, OTHER_ADDRESS)]
    await hass.async_block_till_done()
    return met


async def found(panel: MockHAClientWebSocket, **filter_: Any) -> list[dict[str, Any]]:
    """Search, and return all frames."""
    await ask(panel, "logs/search", filter=filter_)
    frames: list[dict[str, Any]] = []
    while True:
        piece = await event(panel)
        frames += piece["frames"]
        if piece["done"]:
            return frames


def texts(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["message"].split("'")[1] for frame in frames]


async def test_all_devices_lines_come_the_newest_first(
    account: MockConfigEntry, devices: list[DeviceCoordinator], panel: MockHAClientWebSocket
) -> None:
    await keep(
        account,
        log_of(said("one"), said("two"), at=ARRIVED),
        log_of(said("three", level=Level.ERROR), at=ARRIVED + 60, device=OTHER),
    )
    frames = await found(panel)
    assert texts(frames) == ["three", "two", "one"]
    assert [each["device"] for each in frames] == [
        device_id(devices[1]),
        device_id(devices[0]),
        device_id(devices[0]),
    ]
    assert frames[0]["level"] == "error"
    assert [each["at"] for each in frames] == pytest.approx([ARRIVED + 60, ARRIVED, ARRIVED - 1])
    assert frames[0]["uncertainty"] is not None
    assert frames[0]["firmware"] == "4.24.2"


async def test_more_captures_than_are_fetched_at_a_time_come_in_their_order(
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    panel: MockHAClientWebSocket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_search, "FETCHED", 2)
    await keep(
        account,
        *(
            log_of(
                said(f"a{number}"),
                said(f"b{number}"),
                at=ARRIVED + 60 * number,
                device=OTHER if number % 3 else SENSOR,
            )
            for number in range(5)
        ),
    )
    frames = await found(panel)
    assert texts(frames) == [f"{said}{number}" for number in (4, 3, 2, 1, 0) for said in "ba"]
    ids = [device_id(each) for each in devices]
    assert [each["device"] for each in frames[::2]] == [ids[bool(n % 3)] for n in (4, 3, 2, 1, 0)]
    assert await found(panel, contains="nowhere") == []


async def test_filters_choose(
    account: MockConfigEntry, devices: list[DeviceCoordinator], panel: MockHAClientWebSocket
) -> None:
    await keep(
        account,
        log_of(said("one"), said("two", level=Level.WARNING, module=7), at=ARRIVED),
        log_of(said("three", level=Level.ERROR), at=ARRIVED + 60, device=OTHER),
    )
    assert texts(await found(panel, devices=[device_id(devices[0])])) == ["two", "one"]
    assert texts(await found(panel, level="warning")) == ["three", "two"]
    assert texts(await found(panel, module="7")) == ["two"]
    assert texts(await found(panel, contains="ONE")) == ["one"]
    assert texts(await found(panel, since=ARRIVED + 30)) == ["three"]
    assert texts(await found(panel, until=ARRIVED - 0.5)) == ["one"]
    assert await found(panel, devices=["nobody"]) == []


async def test_the_first_piece_is_small_and_the_limit_is_told(
    account: MockConfigEntry, devices: list[DeviceCoordinator], panel: MockHAClientWebSocket
) -> None:
    await keep(account, log_of(*(said(str(number)) for number in range(300))))
    await ask(panel, "logs/search", filter={}, limit=200)
    first, second = await event(panel), await event(panel)
    assert (len(first["frames"]), first["done"], first["captures"]) == (100, False, 1)
    assert (len(second["frames"]), second["done"], second["more"]) == (100, True, True)


async def test_a_search_that_is_ended_looks_no_further(
    hass: HomeAssistant,
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    panel: MockHAClientWebSocket,
) -> None:
    await keep(account, log_of(said("one")))
    asked, ended = asyncio.Event(), asyncio.Event()

    async def forever(_search: LogSearch, _most: int, _seconds: float) -> Any:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with patch.object(LogSearch, "async_more", forever):
        await panel.send_json_auto_id({"type": "ulogger/logs/search", "filter": {}})
        begun = await panel.receive_json()
        await asyncio.wait_for(asked.wait(), 5)
        await panel.send_json_auto_id({"type": "unsubscribe_events", "subscription": begun["id"]})
        assert (await panel.receive_json())["success"]
        await asyncio.wait_for(ended.wait(), 5)


async def test_lines_come_live_as_far_as_they_are_looked_for(
    account: MockConfigEntry, devices: list[DeviceCoordinator], panel: MockHAClientWebSocket
) -> None:
    only = {"devices": [device_id(devices[0])], "level": "error"}
    await ask(panel, "logs/subscribe", filter=only)
    await keep(account, log_of(said("not his", level=Level.ERROR), device=OTHER))
    await keep(account, log_of(said("one"), said("two", level=Level.ERROR), said("three")))
    live = await event(panel)
    assert texts(live["frames"]) == ["two"]
    searched = await found(panel, level="error")
    assert live["frames"][0]["key"] in {frame["key"] for frame in searched}


async def test_lines_come_live_after_the_account_was_loaded_anew(
    hass: HomeAssistant,
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    panel: MockHAClientWebSocket,
) -> None:
    await ask(panel, "logs/subscribe", filter={})
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    await keep(account, log_of(said("after")))
    assert texts((await event(panel))["frames"]) == ["after"]


async def test_a_frame_tells_all_that_is_known_of_it(
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    panel: MockHAClientWebSocket,
    hass_client: Any,
) -> None:
    capture = log_of(*(said(str(number)) for number in range(20)))
    await keep(account, capture)
    frame = (await found(panel))[9]
    details = await ask(panel, "logs/frame", key=frame["key"])
    assert details["frame"] == frame
    assert details["address"] == 0x400
    assert details["arguments"] == [{"type": "string", "value": "10"}]
    assert (details["format"], details["places"]) == (None, [])
    assert texts(details["before"]) == [str(number) for number in range(2, 10)]
    assert texts(details["after"]) == [str(number) for number in range(11, 19)]
    client = await hass_client()
    downloaded = await client.get(details["download"])
    assert await downloaded.read() == capture.data


async def test_a_frame_of_a_known_firmware_tells_where_it_is_logged(
    hass: HomeAssistant,
    account: MockConfigEntry,
    panel: MockHAClientWebSocket,
) -> None:
    meet(account)
    await hass.async_block_till_done()
    image = CompactImage.load(import_image((AGENT / "v4-crash/firmware.elf").read_bytes()))
    [capture_id] = await keep(account, Capture(CaptureKind.LOG, SENSOR, CRASH_LOG, ARRIVED))
    with patch.object(account.runtime_data.images, "image_of", return_value=image):
        frame = next(each for each in await found(panel) if "brown-out" in each["message"])
        details = await ask(panel, "logs/frame", key=frame["key"])
    assert capture_id == frame["capture"]
    assert details["places"] == [{"function": "main", "location": "session.c:18"}]


@pytest.mark.parametrize("key", ["", "nothing", "a:b:c", "gone:1:1", "a:1:999999999999999999"])
async def test_a_frame_that_is_not_there_is_an_error(
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    panel: MockHAClientWebSocket,
    key: str,
) -> None:
    await panel.send_json_auto_id({"type": "ulogger/logs/frame", "key": key})
    answer = await panel.receive_json()
    assert (answer["success"], answer["error"]["code"]) == (False, "not_found")
    assert answer["error"]["translation_key"] == "line_gone"


@pytest.mark.parametrize("of_one", [True, False])
async def test_a_search_that_the_disk_fails_ends_and_says_so(
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    panel: MockHAClientWebSocket,
    of_one: bool,
) -> None:
    filter_ = {"devices": [device_id(devices[0])]} if of_one else {}
    with patch.object(Outbox, "logs", side_effect=DiskFailed("input/output error")):
        await ask(panel, "logs/search", filter=filter_)
        ended = await event(panel)
    assert (ended["done"], ended["frames"], ended["more"]) == (True, [], False)
    assert ended["failure"] == {
        "code": "disk_failed",
        "message": "input/output error",
        "translation_domain": "ulogger",
        "translation_key": "disk_failed",
        "translation_placeholders": {"device": "DoorSenseV2 A87DE76F0011" if of_one else "uLogger"},
    }


async def test_a_frame_that_the_disk_fails_is_an_error_with_a_text(
    account: MockConfigEntry, devices: list[DeviceCoordinator], panel: MockHAClientWebSocket
) -> None:
    [capture_id] = await keep(account, log_of(said("one")))
    key = f"{account.entry_id}:{capture_id}:0"
    with patch.object(Outbox, "read", side_effect=DiskFailed("input/output error")):
        await panel.send_json_auto_id({"type": "ulogger/logs/frame", "key": key})
        error = (await panel.receive_json())["error"]
    assert (error["code"], error["translation_key"]) == ("disk_failed", "disk_failed")


async def test_a_number_beyond_the_capture_is_an_error(
    account: MockConfigEntry, devices: list[DeviceCoordinator], panel: MockHAClientWebSocket
) -> None:
    [capture_id] = await keep(account, log_of(said("one")))
    key = f"{account.entry_id}:{capture_id}:1"
    await panel.send_json_auto_id({"type": "ulogger/logs/frame", "key": key})
    assert (await panel.receive_json())["error"]["code"] == "not_found"


async def test_what_can_not_be_looked_for_is_refused(
    account: MockConfigEntry, panel: MockHAClientWebSocket
) -> None:
    for filter_ in ({"level": "loud"}, {"since": "now"}, {"contains": "x" * 257}, {"who": 1}):
        await panel.send_json_auto_id({"type": "ulogger/logs/search", "filter": filter_})
        assert (await panel.receive_json())["error"]["code"] == "invalid_format"
    await panel.send_json_auto_id(
        {"type": "ulogger/logs/search", "filter": {}, "limit": logs.MOST_FRAMES + 1}
    )
    assert (await panel.receive_json())["error"]["code"] == "invalid_format"
