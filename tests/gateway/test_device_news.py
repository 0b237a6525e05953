"""Lines that devices logged are counted, become events, and stand in the activity."""

from typing import Any

import pytest
from homeassistant.components.recorder import Recorder
from homeassistant.core import Event, HomeAssistant, State, callback
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import (
    async_wait_recording_done,
)
from pytest_homeassistant_custom_component.typing import (
    RecorderInstanceContextManager,
    WebSocketGenerator,
)

from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.collecting.device_state import DeviceEvent
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.gateway.activity import EVENT_LOGGED
from custom_components.ulogger.gateway.readings import readings_path
from custom_components.ulogger.logbook import describe_lines
from custom_components.ulogger.model.capture import Capture
from tests.support.account import APPROVED, SENSOR, core_dump, load, log, meet
from tests.support.encoder import Log, Said
from tests.support.fixtures import real_log
from tests.support.language import speak
from tests.support.said import CAPTURED_AT, read_all, said, stored
from tests.test_automations import device_id, entity

ERROR, CRITICAL, INFO = 3, 4, 1


@pytest.fixture
def mock_recorder_before_hass(async_test_recorder: RecorderInstanceContextManager) -> None:
    """Have a database ready where a test asks for the recorder."""


@pytest.fixture
async def met(hass: HomeAssistant, device: DeviceCoordinator) -> DeviceCoordinator:
    await hass.async_block_till_done()
    return device


def shown(hass: HomeAssistant, device: DeviceCoordinator, key: str) -> State:
    state = hass.states.get(entity(hass, device, "sensor", key))
    assert state is not None
    return state


def logged(hass: HomeAssistant) -> list[State]:
    """Note the events of all Log entities from now on."""
    events: list[State] = []

    @callback
    def note(event: Event[Any]) -> None:
        state = event.data["new_state"]
        if state is not None and {"format_address", "levels"} & state.attributes.keys():
            events.append(state)

    hass.bus.async_listen("state_changed", note)
    return events


def lines(*levels: int, start: int = 0, version: int = 4, anchor: int = 32768 * 1000) -> bytes:
    """Return a log with a line of each level, a second apart."""
    frames = tuple(
        Said(32768, level, 3, 0x400 + start + place, (("int", start + place),))
        for place, level in enumerate(levels)
    )
    return Log(frames, version, anchor=anchor).encoded()


async def test_errors_become_events_and_are_counted(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    events = logged(hass)
    capture_id = await stored(met, log())
    assert [state.attributes["event_type"] for state in events] == ["error"] * 7 + ["critical"]
    assert {state.entity_id for state in events} == {entity(hass, met, "event", "log")}
    assert len({state.state for state in events}) == 8
    attributes = events[0].attributes
    frame = next(
        frame for frame in real_log("v4-crash").expected["frames"] if frame["level"] == "ERROR"
    )
    assert attributes["level"] == "error"
    assert attributes["module"] == frame["module_bit"]
    assert attributes["format_address"] == f"0x{frame['format_address']:08X}"
    assert attributes["text"] is None
    assert attributes["module_name"] is None
    assert attributes["capture"] == capture_id
    at = dt_util.parse_datetime(attributes["time"])
    assert at is not None
    assert 0 < CAPTURED_AT - at.timestamp() < 10
    assert attributes["time_uncertainty"] >= 0
    for key, total in (("errors", 8), ("warnings", 14)):
        assert shown(hass, met, key).state == str(total)
        assert shown(hass, met, key).attributes["last_capture"] == total


async def test_an_event_has_the_text_that_the_firmware_image_knows(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    image = FirmwareImage.load(real_log("v4-crash").image)
    gateway = met.account.entry.runtime_data
    asked = []

    def image_of(device: object) -> FirmwareImage:
        asked.append(device)
        return image

    gateway.images.image_of = image_of
    events = logged(hass)
    await stored(met, log())
    texts = [
        frame["text"].strip()
        for frame in real_log("v4-crash").expected["frames"]
        if frame["level"] in {"ERROR", "CRITICAL"}
    ]
    assert [state.attributes["text"] for state in events] == texts
    assert [state.attributes["message"] for state in events] == texts
    assert all(state.attributes["module_name"] for state in events)
    assert asked == [SENSOR]


async def test_totals_go_on_and_the_attribute_is_of_the_last_log(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    await stored(met, said(met, lines(ERROR, ERROR, 2), CAPTURED_AT))
    await stored(met, said(met, lines(CRITICAL, INFO, start=50), CAPTURED_AT + 900))
    await stored(met, core_dump())
    assert (shown(hass, met, "errors").state, shown(hass, met, "warnings").state) == ("3", "1")
    assert shown(hass, met, "errors").attributes["last_capture"] == 1
    assert shown(hass, met, "warnings").attributes["last_capture"] == 0


async def test_totals_and_the_last_event_are_there_after_a_restart(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    await stored(met, log())
    last = hass.states.get(entity(hass, met, "event", "log"))
    events = logged(hass)
    assert await hass.config_entries.async_unload(account.entry_id)
    assert await hass.config_entries.async_setup(account.entry_id)
    await read_all(account.runtime_data)
    device = account.runtime_data.devices[SENSOR.key]
    assert shown(hass, device, "errors").state == "8"
    assert shown(hass, device, "warnings").attributes["last_capture"] == 14
    restored = hass.states.get(entity(hass, device, "event", "log"))
    assert last is not None
    assert restored is not None
    assert {state.state for state in events} <= {last.state}
    await stored(device, said(device, lines(ERROR), CAPTURED_AT + 900))
    assert shown(hass, device, "errors").state == "9"


async def test_lines_that_come_again_count_once_also_over_a_restart(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    """The outbox keeps both where it can't cut: here the second is of another version."""
    await stored(met, said(met, lines(ERROR, ERROR, 2, version=3)))
    assert await hass.config_entries.async_unload(account.entry_id)
    assert await hass.config_entries.async_setup(account.entry_id)
    device = account.runtime_data.devices[SENSOR.key]
    await hass.async_block_till_done()
    events = logged(hass)
    data = lines(ERROR, ERROR, 2, CRITICAL, version=4, anchor=32768 * 1001)
    await stored(device, said(device, data, CAPTURED_AT + 1))
    rows = await account.runtime_data.account.outbox.listing()
    assert [row.may_repeat for row in rows] == [True, False]
    assert [state.attributes["event_type"] for state in events] == ["critical"]
    assert shown(hass, device, "errors").state == "3"
    assert shown(hass, device, "errors").attributes["last_capture"] == 1
    assert shown(hass, device, "warnings").state == "1"


async def test_captures_that_are_read_anew_are_not_told_again(
    hass: HomeAssistant, account: MockConfigEntry, met: DeviceCoordinator
) -> None:
    await stored(met, log())
    await stored(met, said(met, lines(ERROR), CAPTURED_AT + 900))
    path = readings_path(outbox_path(hass, account.entry_id))
    assert await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.unlink)
    events = logged(hass)
    fired = []
    hass.bus.async_listen(EVENT_LOGGED, fired.append)
    assert await hass.config_entries.async_setup(account.entry_id)
    await read_all(account.runtime_data)
    assert len(await account.runtime_data.readings.async_summaries()) == 2
    device = account.runtime_data.devices[SENSOR.key]
    assert shown(hass, device, "errors").state == "9"
    assert fired == []
    assert len({state.state for state in events}) <= 1


async def test_of_many_errors_the_gravest_are_told_and_the_others_once(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    events = logged(hass)
    capture_id = await stored(met, said(met, lines(*[ERROR] * 30, CRITICAL)))
    assert [state.attributes["event_type"] for state in events] == [
        *["error"] * 19,
        "critical",
        "more",
    ]
    attributes = events[-1].attributes
    assert (attributes["count"], attributes["levels"]) == (11, {"error": 11})
    assert attributes["capture"] == capture_id
    assert shown(hass, met, "errors").state == "31"


@pytest.mark.parametrize(
    ("chosen", "told"), [("off", 0), ("critical", 1), ("warning", 4), ("debug", 6)]
)
async def test_a_person_chooses_from_which_level_on(
    hass: HomeAssistant, transport: object, chosen: str, told: int
) -> None:
    entry = await load(hass, options={**APPROVED, "log_events": chosen})
    device = meet(entry)
    await hass.async_block_till_done()
    events = logged(hass)
    await stored(device, said(device, lines(0, INFO, 2, ERROR, 2, CRITICAL, 5)))
    assert len(events) == told
    assert shown(hass, device, "errors").state == "2"
    assert shown(hass, device, "warnings").state == "2"


async def test_long_texts_of_a_device_are_cut(hass: HomeAssistant, met: DeviceCoordinator) -> None:
    long = Said(1, ERROR, 3, 0x400, (("string", "x" * 9000), *[("int", 1)] * 60))
    events = logged(hass)
    await stored(met, said(met, Log((long,), anchor=99999).encoded()))
    attributes = events[0].attributes
    assert [len(attributes["arguments"]), len(attributes["arguments"][0])] == [32, 255]
    assert len(attributes["message"]) == 255


async def test_the_activity_says_it_in_one_sentence_for_a_capture(
    recorder_mock: Recorder,
    hass: HomeAssistant,
    met: DeviceCoordinator,
    hass_ws_client: WebSocketGenerator,
) -> None:
    assert await async_setup_component(hass, "logbook", {})
    began = dt_util.utcnow()
    await stored(met, log())
    await stored(met, said(met, lines(INFO), CAPTURED_AT + 900))
    await async_wait_recording_done(hass)
    client = await hass_ws_client()
    device = device_id(hass, met)
    await client.send_json_auto_id(
        {
            "type": "logbook/get_events",
            "start_time": began.isoformat(),
            "device_ids": [device],
        }
    )
    entries = (await client.receive_json())["result"]
    assert [(entry["name"], entry["domain"]) for entry in entries] == [
        ("DoorSenseV2 A87DE76F0011", "ulogger")
    ]
    assert entries[0]["message"].startswith("logged a critical error and 7 errors, among them: 0x")


async def test_a_reload_is_no_line_of_the_activity(
    recorder_mock: Recorder,
    hass: HomeAssistant,
    met: DeviceCoordinator,
    hass_ws_client: WebSocketGenerator,
) -> None:
    assert await async_setup_component(hass, "logbook", {})
    began = dt_util.utcnow()
    met.fire(DeviceEvent.CORE_DUMP, {})
    client = await hass_ws_client()

    async def count() -> int:
        await hass.async_block_till_done()
        await async_wait_recording_done(hass)
        start = began.isoformat()
        await client.send_json_auto_id({"type": "logbook/get_events", "start_time": start})
        answer: dict[str, Any] = await client.receive_json()
        return len(answer["result"])

    before = await count()
    assert before > 0
    assert await hass.config_entries.async_reload(met.account.entry_id)
    assert await count() == before


@pytest.mark.parametrize(
    ("language", "levels", "sentence"),
    [
        ("en", {"error": 1}, "logged an error: it leaks"),
        ("en", {"error": 3}, "logged 3 errors, among them: it leaks"),
        (
            "en",
            {"critical": 2, "error": 1},
            "logged 2 critical errors and an error, among them: it leaks",
        ),
        (
            "en",
            {"critical": 1, "error": 1, "warning": 5},
            "logged a critical error, an error and 5 warnings, among them: it leaks",
        ),
        ("de", {"error": 1}, "hat einen Fehler protokolliert: it leaks"),
        (
            "de",
            {"error": 2, "warning": 1, "info": 5},
            "hat 2 Fehler, eine Warnung und 5 Zeilen protokolliert, darunter: it leaks",
        ),
        (
            "es",
            {"info": 1, "debug": 2},
            "registró una línea y 2 líneas de depuración, por ejemplo: it leaks",
        ),
        ("fr", {"warning": 2}, "a journalisé 2 avertissements, dont : it leaks"),
        (
            "zh-Hans",
            {"critical": 1, "error": 1, "warning": 5},
            "记录了1 个严重错误、1 个错误和5 条警告，其中：it leaks",
        ),
    ],
)
async def test_the_activity_reads_well(
    hass: HomeAssistant, language: str, levels: dict[str, int], sentence: str
) -> None:
    await speak(hass, language)
    assert describe_lines(hass, levels, "it leaks") == sentence


async def test_a_device_that_is_not_collected_any_more_is_left_out(
    hass: HomeAssistant, met: DeviceCoordinator
) -> None:
    gateway = met.account.entry.runtime_data
    capture: Capture = said(met, lines(ERROR))
    await gateway.async_forget(SENSOR.key)
    await gateway.account.outbox.add(capture)
    events = logged(hass)
    gateway.readings._read_soon(None)
    await read_all(gateway)
    assert events == []
