"""What devices logged is searched over all captures that are kept, and dated in all of them."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import probatio
import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import device_registry as dr
from homeassistant.util.executor import InterruptibleThreadPoolExecutor
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.gateway import log_search
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity as Identity
from custom_components.ulogger.model.level import Level
from custom_components.ulogger.outbox.errors import DiskFailed, NoSuchCapture
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import SENSOR, core_dump, log, meet
from tests.support.bluetooth import OTHER_ADDRESS
from tests.support.fixtures import real_log

from ..support import encoder

OTHER = Identity(42, "OTHER", "DoorSenseV2", "4.24.2", "bc53443")
ARRIVED = 1_790_000_000.0
RATE = 32768
REAL = real_log("v4-crash").expected["frames"]


def at_second(seconds: float) -> str:
    return datetime.fromtimestamp(ARRIVED + seconds, UTC).isoformat()


def said(text: str, *, level: Level = Level.INFO, ticks: int = RATE) -> encoder.Said:
    return encoder.Said(ticks, level, 3, 0x400, (("string", text),))


def made(*frames: encoder.Said, anchor: int, at: float, device: Identity = SENSOR) -> Capture:
    data = encoder.Log(frames, anchor=anchor, rate=RATE).encoded()
    return Capture(CaptureKind.LOG, device, data, at)


@pytest.fixture
async def devices(hass: HomeAssistant, account: MockConfigEntry) -> list[DeviceCoordinator]:
    """Return two devices of one account."""
    met = [meet(account), meet(account, OTHER, OTHER_ADDRESS)]
    await hass.async_block_till_done()
    return met


async def keep(hass: HomeAssistant, account: MockConfigEntry, *captures: Capture) -> None:
    """Put captures on disk, and have them read as they are after a visit."""
    gateway = account.runtime_data
    for capture in captures:
        await gateway.account.outbox.add(capture)
        gateway.readings.captures_stored(gateway.devices[capture.device.key])
        if gateway.readings.task is not None:
            await gateway.readings.task


async def ask(hass: HomeAssistant, *devices: DeviceCoordinator, **data: Any) -> Any:
    """Call the action."""
    registry = dr.async_get(hass)
    ids = []
    for device in devices:
        found = registry.async_get_device_by_identifier(device.identifier, device.account.entry_id)
        assert found is not None
        ids.append(found.id)
    return await hass.services.async_call(
        DOMAIN, "get_logs", {"device_id": ids, **data}, blocking=True, return_response=True
    )


def texts(answer: Any) -> list[str]:
    return [line["arguments"][0] for line in answer["lines"]]


async def test_everything_a_real_log_says_is_found_the_newest_first(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    await keep(hass, account, log(), core_dump())
    answer = await ask(hass, devices[0], limit=1000)
    assert (answer["page"], answer["more"]) == (1, False)
    assert [
        (line["level"].upper(), line["module_number"], line["arguments"])
        for line in reversed(answer["lines"])
    ] == [
        (each["level"], each["module_bit"], [value for _, value in each["args"]]) for each in REAL
    ]
    assert {line["device"] for line in answer["lines"]} == {SENSOR.serial}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"level": "error"}, lambda each: each["level"] in {"ERROR", "CRITICAL"}),
        ({"level": "metric"}, lambda each: each["level"] == "METRIC"),
        ({"module": 2}, lambda each: each["module_bit"] == 2),
        ({"module": "comm"}, lambda each: each["module_bit"] == 2),
        (
            {"module": "COMM", "level": "error"},
            lambda e: (e["module_bit"], e["level"]) == (2, "ERROR"),
        ),
        ({"contains": "system INIT"}, lambda each: "System init" in (each["text"] or "")),
        ({"module": "nobody"}, lambda each: False),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_lines_are_chosen_by_level_module_and_text(
    hass: HomeAssistant,
    account: MockConfigEntry,
    devices: list[DeviceCoordinator],
    query: dict[str, Any],
    wanted: Any,
) -> None:
    image = FirmwareImage.load(real_log("v4-crash").image)
    account.runtime_data.images.image_of = lambda identity: image
    await keep(hass, account, log())
    answer = await ask(hass, devices[0], limit=1000, **query)
    assert [line["address"] for line in reversed(answer["lines"])] == [
        f"0x{each['format_address']:08X}" for each in REAL if wanted(each)
    ]
    assert all(line["module"] for line in answer["lines"] if line["level"] != "metric")


async def test_lines_of_several_devices_are_one_list_in_pages(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    await keep(
        hass,
        account,
        made(said("a"), said("b"), anchor=3 * RATE, at=ARRIVED),
        made(said("c"), said("d"), anchor=3 * RATE, at=ARRIVED + 60, device=OTHER),
        made(said("e"), anchor=90 * RATE, at=ARRIVED + 120),
    )
    assert texts(await ask(hass, *devices)) == ["e", "d", "c", "b", "a"]
    pages = [await ask(hass, *devices, limit=2, page=number) for number in (1, 2, 3, 4)]
    assert [texts(page) for page in pages] == [["e", "d"], ["c", "b"], ["a"], []]
    assert [page["more"] for page in pages] == [True, True, False, False]
    assert texts(await ask(hass, devices[1])) == ["d", "c"]


async def test_every_capture_is_dated_by_the_one_before(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    await keep(
        hass,
        account,
        made(said("first"), anchor=2 * RATE, at=ARRIVED),
        made(said("second", ticks=90 * RATE), anchor=102 * RATE, at=ARRIVED + 100),
    )
    second, first = (await ask(hass, devices[0]))["lines"]
    assert datetime.fromisoformat(first["time"]).timestamp() == pytest.approx(ARRIVED - 1)
    assert datetime.fromisoformat(second["time"]).timestamp() == pytest.approx(ARRIVED + 90)
    assert second["uncertainty"] < 6
    found = await ask(hass, devices[0], since=at_second(80), until=at_second(95))
    assert texts(found) == ["second"]
    assert texts(await ask(hass, devices[0], until=at_second(80))) == ["first"]
    shown = await hass.services.async_call(
        DOMAIN,
        "get_captures",
        {
            "device_id": [
                dr.async_get(hass)
                .async_get_device_by_identifier(  # type: ignore[union-attr]
                    devices[0].identifier, account.entry_id
                )
                .id
            ],
            "text": True,
        },
        blocking=True,
        return_response=True,
    )
    lines = [capture["lines"][0] for capture in shown["devices"][SENSOR.serial]]  # type: ignore[index, call-overload, union-attr]
    assert [line.split(" ")[0] for line in lines] == [second["time"], first["time"]]


async def test_summaries_keep_captures_without_a_match_closed(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    captures = [
        made(said(f"quiet {number}"), anchor=2 * RATE, at=ARRIVED + 1000 * number)
        for number in range(3)
    ]
    bad = made(said("loud", level=Level.CRITICAL), anchor=2 * RATE, at=ARRIVED + 5000)
    await keep(hass, account, *captures, bad)
    readings = account.runtime_data.readings
    with patch.object(readings, "load", side_effect=readings.load) as load:
        assert texts(await ask(hass, devices[0], level="error")) == ["loud"]
        assert load.call_count == 1
        assert len(texts(await ask(hass, devices[0]))) == 4
        assert load.call_count == 5


async def test_what_was_not_read_yet_is_found_all_the_same(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    await account.runtime_data.account.outbox.add(
        made(said("new", level=Level.ERROR), anchor=2 * RATE, at=ARRIVED)
    )
    assert texts(await ask(hass, devices[0], level="error")) == ["new"]


async def test_a_long_search_goes_on_where_it_left_its_thread(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    await keep(
        hass,
        account,
        *(made(said(f"{n}"), anchor=2 * RATE, at=ARRIVED + 1000 * n) for n in range(5)),
    )
    turns: list[int] = []
    search = log_search._search

    def counted(under_way: Any, most: int, _seconds: float) -> Any:
        turns.append(1)
        return search(under_way, most, 0.0)

    with patch.object(log_search, "_search", counted):
        assert texts(await ask(hass, devices[0])) == ["4", "3", "2", "1", "0"]
    assert len(turns) >= 5


async def test_searches_at_the_same_time_leave_threads_to_load_captures(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    await keep(hass, account, made(said("found"), anchor=2 * RATE, at=ARRIVED))
    few = InterruptibleThreadPoolExecutor(max_workers=3)
    with patch.object(hass.loop, "_default_executor", few):
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(ask(hass, devices[0]) for _ in range(10)))
    assert [texts(answer) for answer in answers] == [["found"]] * 10


async def test_a_capture_that_goes_meanwhile_is_left_out(
    hass: HomeAssistant, account: MockConfigEntry, devices: list[DeviceCoordinator]
) -> None:
    await keep(hass, account, log())
    with patch.object(Outbox, "read", side_effect=NoSuchCapture("gone")):
        assert (await ask(hass, devices[0]))["lines"] == []


async def test_a_disk_that_fails_is_said_in_words(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    with (
        patch.object(Outbox, "logs", side_effect=DiskFailed("input/output error")),
        pytest.raises(HomeAssistantError) as error,
    ):
        await ask(hass, devices[0])
    assert error.value.translation_key == "disk_failed"


@pytest.mark.parametrize(
    "data", [{"limit": 0}, {"limit": 1001}, {"page": 0}, {"level": "loud"}, {"since": "soon"}]
)
async def test_what_makes_no_sense_is_refused(
    hass: HomeAssistant, devices: list[DeviceCoordinator], data: dict[str, Any]
) -> None:
    with pytest.raises(probatio.Invalid):
        await ask(hass, devices[0], **data)


async def test_a_search_that_ends_before_it_begins_is_a_mistake(
    hass: HomeAssistant, devices: list[DeviceCoordinator]
) -> None:
    with pytest.raises(ServiceValidationError) as error:
        await ask(hass, devices[0], since="2026-01-02", until="2026-01-01")
    assert error.value.translation_key == "invalid_period"
