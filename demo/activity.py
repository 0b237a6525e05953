"""What Home Assistant's activity says of devices, beside what was collected of them.

At most one line for a collection that brought something, crashes and errors included, none for one
that brought nothing, none when the account is reloaded. New firmware is news beside that: one line
each time.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from custom_components.ulogger.const import DOMAIN

from .api import Api, Json
from .harness import Harness
from .living import MINUTES, LivingDevice

NEWS: Final = "device_event"
"""The entity that tells of what has happened to a device."""
UPDATED: Final = {"event_type": "firmware_changed"}
SETTLE_SECONDS: Final = 10.0
SESSION_SECONDS: Final = 20.0
"""How long a collection of an idle device takes at most."""


@dataclass
class Told:
    """What happened to a device, and what was said of it."""

    collections: int = 0
    brought: int = 0
    captures: int = 0
    firmware: int = 0
    lines: Counter[str] = field(default_factory=Counter)
    logged: int = 0

    def as_dict(self) -> Json:
        """Return it as the report has it."""
        return {**vars(self), "lines": dict(sorted(self.lines.items()))}

    def faults(self) -> Iterator[str]:
        """Say of what there are too many lines."""
        for key, count in self.lines.items():
            if key != NEWS:
                yield f"{count} lines of {key}"
        told = self.lines[NEWS] - self.firmware + self.logged
        if told > self.brought:
            yield f"{told} lines about {self.brought} collections"


async def count(api: Api, entry_id: str, since: datetime) -> dict[str, Told]:
    """Return by serial number what was collected, and said, from a moment on."""
    registry = await api.command("config/device_registry/list")
    devices = {each["id"]: each for each in registry if entry_id in each["config_entries"]}
    entities = {
        each["entity_id"]: each
        for each in await api.command("config/entity_registry/list")
        if each["device_id"] in devices
    }
    serials = {
        each["name_by_user"] or each["name"]: each["serial_number"] or each["name"]
        for each in devices.values()
    }
    told: dict[str, Told] = {serial: Told() for serial in serials.values()}
    for line in await api.command("logbook/get_events", start_time=since.isoformat()):
        if entity := entities.get(line.get("entity_id", "")):
            device = devices[entity["device_id"]]
            serial = device["serial_number"] or device["name"]
            told[serial].lines[entity["translation_key"] or entity["unique_id"]] += 1
            told[serial].firmware += line.get("attributes") == UPDATED
        elif line.get("domain") == DOMAIN:
            told[serials[line["name"]]].logged += 1
    path = f"/api/diagnostics/config_entry/{entry_id}"
    for device in (await api.request("GET", path))["data"]["devices"]:
        there = told[device["identity"]["serial"]]
        for session in device["sessions"]:
            if datetime.fromisoformat(session["began"]) >= since:
                there.collections += 1
                there.captures += session["captures"]
                there.brought += session["captures"] > 0
    return told


async def watch(
    demo: Harness,
    entry_id: str,
    living: list[LivingDevice],
    life: asyncio.Task[None],
    minutes: float,
    *,
    began: datetime,
) -> Json:
    """Let devices live for some minutes, then be silent, then reload the account; report.

    What happened since `began` counts. `life` is ended when the devices fall silent.
    """
    await asyncio.sleep(minutes * 60)
    life.cancel()
    async with asyncio.timeout(120 * MINUTES):
        while not all(each.device.empty for each in living):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    await asyncio.sleep(SETTLE_SECONDS)
    alive = await count(demo.api, entry_id, began)
    fell_silent = datetime.now(UTC)
    await asyncio.sleep(60 * MINUTES + SESSION_SECONDS)
    silent = await count(demo.api, entry_id, fell_silent)
    reloaded = datetime.now(UTC)
    await demo.api.request("POST", f"/api/config/config_entries/entry/{entry_id}/reload")
    await asyncio.sleep(SETTLE_SECONDS)
    after = await count(demo.api, entry_id, reloaded)
    return report(minutes, alive, silent, after)


def report(
    minutes: float, alive: dict[str, Told], silent: dict[str, Told], after: dict[str, Told]
) -> Json:
    """Put together what is told of devices that live, that have nothing, and by a reload."""
    faults = [
        f"{serial}: {fault}"
        for serial, each in alive.items()
        if each.collections
        for fault in each.faults()
    ]
    for serial, each in silent.items():
        if not each.brought and (each.lines or each.logged):
            faults.append(f"{serial}: {_lines(each)} though nothing came")
    for serial, each in after.items():
        if not each.brought and (each.lines or each.logged):
            faults.append(f"{serial}: {_lines(each)} by a reload")
    return {
        "minutes": minutes,
        "devices": {serial: each.as_dict() for serial, each in alive.items()},
        "collections_without_anything": sum(
            each.collections - each.brought for each in silent.values()
        ),
        "faults": faults,
        "ok": not faults,
    }


def _lines(told: Told) -> str:
    said: dict[str, Any] = dict(told.lines)
    if told.logged:
        said["logged"] = told.logged
    return ", ".join(f"{number} of {key}" for key, number in said.items())
