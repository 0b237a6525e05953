"""What the panel is told of devices: rows as they change, and one device's timeline."""

import asyncio
import time
from dataclasses import replace
from typing import Any
from unittest.mock import Mock, patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import MockHAClientWebSocket

from custom_components.ulogger.collecting.device_state import SessionRecord
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity as Identity
from custom_components.ulogger.model.level import Level
from custom_components.ulogger.panel import devices
from demo.device.life import metric_frame
from tests.panel.support import ask, device_id, event, keep, log_of, said
from tests.support.account import CRASH_DUMP, SENSOR, load, meet
from tests.support.bluetooth import OTHER_ADDRESS
from tests.support.made_captures import log as made_log

OTHER = Identity(42, "OTHER", "DoorSenseV2", "4.24.2", "bc53443")
NEWER = Identity(42, SENSOR.serial, "DoorSenseV2", "4.25.0", "1234567")


class Rows:
    """The devices as the panel would show them after what it was told so far."""

    def __init__(self, panel: MockHAClientWebSocket) -> None:
        self._panel = panel
        self.rows: dict[str, dict[str, Any]] = {}

    async def until(self, wanted: Any) -> dict[str, dict[str, Any]]:
        """Listen until the rows are as wanted."""
        while not wanted(self.rows):
            told = await event(self._panel)
            for row in told["devices"]:
                self.rows[row["device"]] = row
            for gone in told["removed"]:
                del self.rows[gone]
        return self.rows


@pytest.fixture
async def rows(panel: MockHAClientWebSocket, account: MockConfigEntry) -> Rows:
    """Return the rows of a panel that is open."""
    await ask(panel, "devices/subscribe")
    return Rows(panel)


def metrics(*values: float, at: float) -> Capture:
    frames = b"".join(metric_frame("battery_mv", value, 1000) for value in values)
    inner = []
    while frames:
        size = int.from_bytes(frames[:2], "little")
        inner.append((int.from_bytes(frames[2:6], "little"), frames[6 : 6 + size]))
        frames = frames[6 + size :]
    data = made_log(*inner, anchor=1000 * len(inner), rate=1000)
    return Capture(CaptureKind.LOG, SENSOR, data, at)


async def test_no_device_is_an_answer_too(rows: Rows, panel: MockHAClientWebSocket) -> None:
    assert await event(panel) == {"devices": [], "removed": []}


async def test_a_row_tells_how_a_device_is(
    account: MockConfigEntry, device: DeviceCoordinator, rows: Rows
) -> None:
    id_ = device_id(device)
    row = (await rows.until(lambda rows: id_ in rows))[id_]
    assert row["account"] == account.entry_id
    assert row["name"] == f"{SENSOR.device_type} {SENSOR.serial}"
    assert (row["serial"], row["application_id"], row["version"]) == (SENSOR.serial, 42, "4.24.2")
    assert (row["has_image"], row["state"], row["progress"]) == (False, "idle", None)
    assert (row["in_range"], row["live"]) == (False, False)
    assert row["last_seen"] == round(device.record.last_seen)
    assert row["next_collection"] is None
    assert (row["errors_24h"], row["crashes_24h"], row["metrics"]) == (0, 0, [])
    device.show(bytes_done=50, bytes_total=200, rssi=-60, present=True)
    row = (await rows.until(lambda rows: rows[id_]["progress"] is not None))[id_]
    assert (row["progress"], row["rssi"], row["in_range"]) == (0.25, -60, True)
    due = device.data.next_collection
    assert due is not None
    assert row["next_collection"] == due.timestamp()


async def test_what_captures_say_of_a_device_comes_after_them(
    account: MockConfigEntry, device: DeviceCoordinator, rows: Rows
) -> None:
    id_, now = device_id(device), time.time()
    dump = Capture(CaptureKind.CORE_DUMP, SENSOR, CRASH_DUMP, now - 5)
    await keep(
        account,
        log_of(said("long ago", level=Level.ERROR), at=now - 90_000),
        metrics(3700.0, 3600.0, at=now - 60),
        log_of(said("bad", level=Level.ERROR), said("worse", level=Level.CRITICAL), at=now - 10),
        dump,
    )
    found = await rows.until(
        lambda rows: id_ in rows and rows[id_]["errors_24h"] and rows[id_]["crashes_24h"]
    )
    row = found[id_]
    assert (row["errors_24h"], row["crashes_24h"]) == (2, 1)
    [series] = row["metrics"]
    assert (series["name"], series["unit"]) == ("battery_mv", "mV")
    assert [value for _at, value in series["points"]] == [3700.0, 3600.0]
    assert [at for at, _value in series["points"]] == pytest.approx([now - 61, now - 60], abs=0.1)
    await account.runtime_data.account.async_refresh_counters()
    found = await rows.until(lambda rows: rows[id_]["waiting"])
    assert [each["name"] for each in found[id_]["waiting"]] == ["uLogger"]


async def test_a_device_that_is_forgotten_goes(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, rows: Rows
) -> None:
    other = meet(account, OTHER, OTHER_ADDRESS)
    gone, stays = device_id(other), device_id(device)
    await rows.until(lambda rows: len(rows) == 2)
    await account.runtime_data.async_forget(OTHER.key)
    dr.async_get(hass).async_remove_device(gone)
    assert list(await rows.until(lambda rows: gone not in rows)) == [stays]


async def test_devices_stay_while_their_account_is_loaded_anew(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, rows: Rows
) -> None:
    id_ = device_id(device)
    await rows.until(lambda rows: id_ in rows)
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    after = account.runtime_data.devices[SENSOR.key]
    after.show(rssi=-77)
    found = await rows.until(lambda rows: rows[id_]["rssi"] == -77)
    assert list(found) == [id_]
    assert await hass.config_entries.async_remove(account.entry_id)
    await rows.until(lambda rows: not rows)


async def test_rows_of_many_devices_come_in_pieces_and_none_misses_its_last_change(
    account: MockConfigEntry, panel: MockHAClientWebSocket
) -> None:
    met = [
        meet(account, replace(OTHER, serial=f"D{number}"), f"C0:FF:EE:01:00:0{number}")
        for number in range(6)
    ]
    pauses: list[int] = []

    async def pause(_seconds: float) -> None:
        pauses.append(len(pauses))
        if len(pauses) == 1:
            # A device whose row is sent already changes, and it would be time to send that.
            met[0].show(rssi=-61)
            for _ in range(5):
                await asyncio.sleep(0)

    slow = Mock(wraps=asyncio)
    slow.sleep = pause
    readings = type(account.runtime_data.readings)
    with (
        # Whatever is read of captures would have all rows sent again.
        patch.object(readings, "async_summaries", lambda *_: asyncio.Event().wait()),
        patch.object(devices, "AT_ONCE", 2),
        patch.object(devices, "SOON", 0.0),
        patch.object(devices, "asyncio", slow),
    ):
        await ask(panel, "devices/subscribe")
        first = await event(panel)
        assert len(first["devices"]) == 2
        rows = Rows(panel)
        rows.rows = {row["device"]: row for row in first["devices"]}
        id_ = device_id(met[0])
        found = await rows.until(lambda rows: len(rows) == 6 and rows[id_]["rssi"] == -61)
    assert [each["rssi"] for each in found.values()] == [-61, *[None] * 5]


async def test_an_account_that_goes_keeps_nobody_elses_captures_from_being_read(
    hass: HomeAssistant, account: MockConfigEntry, rows: Rows
) -> None:
    approved = {"applications": {"43": {"device_types": ["DoorSenseV2"]}}}
    others = await load(hass, options=approved, connection="none", customer_id=43)
    neighbour = replace(OTHER, application_id=43)
    sensor = meet(others, neighbour, OTHER_ADDRESS)
    await rows.until(lambda rows: len(rows) == 1)
    held, reached = asyncio.Event(), asyncio.Event()
    summaries = type(account.runtime_data.readings).async_summaries

    async def slowly(*values: Any) -> Any:
        reached.set()
        await held.wait()
        return await summaries(*values)

    with patch.object(type(account.runtime_data.readings), "async_summaries", slowly):
        # One is being read, and two wait for that, when the account of the first two goes.
        for number in range(2):
            identity = replace(SENSOR, serial=f"D{number}")
            meet(account, identity, f"C0:FF:EE:01:00:0{number}")
        await reached.wait()
        await keep(others, replace(metrics(3000.0, at=time.time() - 60), device=neighbour))
        assert await hass.config_entries.async_unload(account.entry_id)
        held.set()
        id_ = device_id(sensor)
        found = await rows.until(lambda rows: id_ in rows and rows[id_]["metrics"])
    assert found[id_]["metrics"][0]["name"] == "battery_mv"


async def test_a_name_that_a_person_gave_is_shown(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, rows: Rows
) -> None:
    id_ = device_id(device)
    dr.async_get(hass).async_update_device(id_, name_by_user="Front door")
    device.async_update_listeners()
    await rows.until(lambda rows: id_ in rows and rows[id_]["name"] == "Front door")


async def test_devices_are_live_as_long_as_somebody_wants_that(
    account: MockConfigEntry, device: DeviceCoordinator, panel: MockHAClientWebSocket
) -> None:
    other = meet(account, OTHER, OTHER_ADDRESS)
    await ask(panel, "devices/set_live", devices=[device_id(device)], live=True)
    assert (device.live, other.live) == (True, False)
    await ask(panel, "devices/set_live", devices=[device_id(device)], live=False)
    assert not device.live


async def test_a_timeline_tells_what_happened(
    account: MockConfigEntry, device: DeviceCoordinator, panel: MockHAClientWebSocket
) -> None:
    now = time.time()
    await keep(
        account,
        log_of(said("before"), at=now - 5000, seconds=1000),
        log_of(said("one"), said("two"), at=now - 3000, seconds=3000),
        Capture(CaptureKind.CORE_DUMP, SENSOR, CRASH_DUMP, now - 2000),
        log_of(said("after the restart", level=Level.ERROR), at=now - 1500, seconds=400),
        log_of(said("newer"), at=now - 1000, seconds=900, device=NEWER),
        metrics(3700.0, at=now - 100),
    )
    timeline = await ask(panel, "devices/timeline", device=device_id(device), since=now - 4000)
    marks = [(mark["kind"], round(mark["at"] - now)) for mark in timeline["marks"]]
    assert ("log", -3000) in marks
    assert ("log", -5000) not in marks
    assert ("core_dump", -2000) in marks
    assert ("reboot", -1900) in marks
    assert ("firmware", -1000) in marks
    assert marks == sorted(marks, key=lambda mark: mark[1])
    levels = {
        round(mark["at"] - now): mark["levels"]
        for mark in timeline["marks"]
        if mark["kind"] == "log"
    }
    assert (levels[-3000], levels[-1500]) == ({"info": 2}, {"error": 1})
    said_of = {mark["kind"]: mark["text"] for mark in timeline["marks"]}
    assert said_of["firmware"] in {"4.24.2 → 4.25.0", "4.25.0 → 4.24.2"}
    assert said_of["core_dump"] == "0x0000007A"
    why = {mark["kind"]: mark["why"] for mark in timeline["marks"]}
    assert (why["core_dump"], why["log"], why["reboot"]) == ("data_bus_error", "", "")
    assert [each["name"] for each in timeline["metrics"]] == ["battery_mv"]


async def test_nobody_has_no_timeline(
    account: MockConfigEntry, panel: MockHAClientWebSocket
) -> None:
    await panel.send_json_auto_id(
        {"type": "ulogger/devices/timeline", "device": "nobody", "since": 0}
    )
    error = (await panel.receive_json())["error"]
    assert (error["code"], error["translation_key"]) == ("not_found", "device_gone")


async def test_a_session_that_failed_says_of_what_in_a_word_that_is_translated(
    account: MockConfigEntry, device: DeviceCoordinator, panel: MockHAClientWebSocket
) -> None:
    began = dt_util.utcnow()
    device.timeline.append(SessionRecord(began, 1.5, "link_lost", "the link went down"))
    [mark] = (await ask(panel, "devices/timeline", device=device_id(device), since=0))["marks"]
    assert (mark["kind"], mark["why"]) == ("failed_session", "link_lost")
    assert mark["text"] == "the link went down"
