"""script/demo --activity: what it counts, and what is too much."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from demo.activity import Told, count, report

SINCE = datetime(2026, 11, 21, 12, tzinfo=UTC)


def told(brought: int = 1, captures: int = 1, logged: int = 0, **lines: int) -> Told:
    found = Told(collections=max(brought, 1), brought=brought, captures=captures, logged=logged)
    found.lines.update(lines)
    return found


def faults(**phases: Told) -> list[str]:
    alive, quiet, after = (
        {"A1": phases[name]} if name in phases else {} for name in ("alive", "quiet", "after")
    )
    outcome = report(10, alive, quiet, after)
    assert outcome["ok"] is not bool(outcome["faults"])
    assert json.loads(json.dumps(outcome)) == outcome
    return outcome["faults"]


def test_one_line_for_a_collection_is_well_whatever_it_brought() -> None:
    crashed = told(3, 4, 2, device_event=1)
    assert faults(alive=crashed, quiet=told(0, 0), after=told(0, 0)) == []


def test_new_firmware_is_news_beside_the_collection() -> None:
    updated = told(1, 1, 1, device_event=1)
    assert faults(alive=updated) == ["A1: 2 lines about 1 collections"]
    updated.firmware = 1
    assert faults(alive=updated) == []


def test_more_lines_than_collections_are_too_many() -> None:
    assert faults(alive=told(1, 1, 2)) == ["A1: 2 lines about 1 collections"]
    assert faults(alive=told(1, 2, 1, device_event=1)) == ["A1: 2 lines about 1 collections"]


def test_a_line_of_what_is_only_shown_is_one_too_many() -> None:
    for key in ("state", "last_upload", "last_crash", "firmware_version", "in_range"):
        assert faults(alive=told(3, 3, **{key: 1})) == [f"A1: 1 lines of {key}"]


def test_a_collection_without_anything_and_a_reload_have_none() -> None:
    assert faults(quiet=told(0, 0, last_upload=1)) == ["A1: 1 of last_upload though nothing came"]
    assert faults(after=told(0, 0, 1, in_range=2)) == ["A1: 2 of in_range, 1 of logged by a reload"]


def device(key: str, name: str, serial: str | None, by_user: str | None = None) -> dict[str, Any]:
    return {
        "id": key,
        "name": name,
        "name_by_user": by_user,
        "serial_number": serial,
        "config_entries": ["entry"],
    }


def entity(name: str, of: str, key: str | None) -> dict[str, Any]:
    return {"entity_id": name, "device_id": of, "translation_key": key, "unique_id": f"id-{name}"}


def session(began: str, captures: int) -> dict[str, Any]:
    return {"began": f"2026-11-21T{began}:00+00:00", "captures": captures}


class SaidApi:
    """Home Assistant, as far as it is asked here."""

    def __init__(self) -> None:
        self.since = ""

    async def command(self, kind: str, **fields: Any) -> Any:
        self.since = fields.get("start_time", self.since)
        return {
            "config/device_registry/list": [
                device("a", "Pump", "A1", by_user="The pump"),
                device("b", "uLogger 42", None),
                {**device("c", "Lamp", "L"), "config_entries": ["other"]},
            ],
            "config/entity_registry/list": [
                entity("sensor.pump_last_upload", "a", "last_upload"),
                entity("sensor.pump_volts", "a", None),
                entity("event.pump", "a", "device_event"),
                entity("binary_sensor.cloud", "b", "cloud_connection"),
                entity("light.lamp", "c", "lamp"),
            ],
            "logbook/get_events": [
                {"entity_id": "sensor.pump_last_upload", "state": "now"},
                {"entity_id": "sensor.pump_volts", "state": "3"},
                {
                    "entity_id": "event.pump",
                    "state": "now",
                    "attributes": {"event_type": "firmware_changed"},
                },
                {"entity_id": "binary_sensor.cloud", "state": "on"},
                {"entity_id": "light.lamp", "state": "on"},
                {"name": "The pump", "domain": "ulogger", "message": "logged an error"},
                {"name": "Home Assistant", "domain": "homeassistant", "message": "started"},
            ],
        }[kind]

    async def request(self, method: str, path: str) -> Any:
        assert (method, path) == ("GET", "/api/diagnostics/config_entry/entry")
        sessions = [session("11:59", 3), session("12:01", 2), session("12:02", 0)]
        return {"data": {"devices": [{"identity": {"serial": "A1"}, "sessions": sessions}]}}


async def test_lines_are_counted_by_device_and_entity_beside_what_was_collected() -> None:
    api = SaidApi()
    found = await count(api, "entry", SINCE)  # type: ignore[arg-type]
    assert api.since == "2026-11-21T12:00:00+00:00"
    lines = Counter(last_upload=1, device_event=1, **{"id-sensor.pump_volts": 1})
    assert found["A1"] == Told(2, 1, 2, 1, lines, 1)
    assert found["uLogger 42"].lines == {"cloud_connection": 1}
    assert found.keys() == {"A1", "uLogger 42"}
