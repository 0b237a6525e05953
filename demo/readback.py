"""What Home Assistant says of a device's captures, asked as a browser or an automation asks."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from custom_components.ulogger.account.device_registry import device_identifier
from custom_components.ulogger.capture.core_dump import CoreDumpHeader
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.const import DEFAULT_METRIC_LIMIT, DOMAIN
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.gateway.metric_hours import metric_key
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.insight.units import measure
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from .api import Api, Json
from .device.virtual import VirtualDevice

PAGE: Final = 1_000
MOST_GROUPS: Final = 500
LOOK_EVERY: Final = 0.5
CRASH_FIELDS: Final = ("fault", "function", "location", "fingerprint", "backtrace")


@dataclass
class Said:
    """What Home Assistant says of the captures of one device.

    ``log_lines`` are in the order in which they were logged, ``metrics`` have the newest value of
    each name, and ``crash`` is the report of the latest core dump.
    """

    log_lines: list[str] = field(default_factory=list)
    metrics: dict[str, int | float] = field(default_factory=dict)
    crash: Json | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it for the report."""
        return {"log_lines": self.log_lines, "metrics": self.metrics, "crash": self.crash}


def image_keys(device: VirtualDevice) -> list[ImageKey]:
    """Return of which firmware an image is: what a device says of itself, and its core dump."""
    identities = [device.identity]
    with suppress(CaptureError):
        identities.append(CoreDumpHeader.parse(device.core_dump or b"").device)
    keys = [ImageKey(each.git_version, each.git_hash, each.application_id) for each in identities]
    return [key for key in dict.fromkeys(keys) if key.version or key.git_hash]


async def wait_until_read(api: Api, entry_id: str, device: VirtualDevice, seconds: float) -> Said:
    """Ask until Home Assistant has read all that a device gave, or the time is over."""
    reading = read(Capture(CaptureKind.LOG, device.identity, device.log or b"", 0.0))
    names = {metric.name for metric in reading.metrics}
    shown = min(len(names), DEFAULT_METRIC_LIMIT)
    end = time.monotonic() + seconds
    while True:
        said = await read_back(api, entry_id, device.identity)
        crashed = said.crash is not None or not device.core_dump
        logged = len(said.log_lines) >= len(reading.frames)
        if (crashed and logged and len(said.metrics) >= shown) or time.monotonic() > end:
            return said
        await asyncio.sleep(LOOK_EVERY)


async def read_back(api: Api, entry_id: str, device: DeviceIdentity) -> Said:
    """Ask Home Assistant for the lines, metrics and crash of a device."""
    device_id = await _device_id(api, entry_id, device)
    if device_id is None:
        return Said()
    lines = await _lines(api, device_id)
    return Said(
        [_as_line(line) for line in lines],
        await _metrics(api, entry_id, device, lines),
        await _crash(api, entry_id, device.serial),
    )


async def _device_id(api: Api, entry_id: str, device: DeviceIdentity) -> str | None:
    """Return the ID of a device in Home Assistant's registry, None while it is not there."""
    identifier = list(device_identifier(device))
    for each in await api.command("config/device_registry/list"):
        if entry_id in each["config_entries"] and identifier in each["identifiers"]:
            found: str = each["id"]
            return found
    return None


async def _lines(api: Api, device_id: str) -> list[Json]:
    """Return everything that a device logged, the oldest line first."""
    lines: list[Json] = []
    page = 0
    more = True
    while more:
        page += 1
        answer = await _ask(api, "get_logs", device_id=[device_id], limit=PAGE, page=page)
        lines += answer["lines"]
        more = answer["more"]
    return lines[::-1]


def _as_line(line: Json) -> str:
    """Return a line for people: time, level, module, message."""
    when = line["time"] or ("-" if line["seconds"] is None else f"{line['seconds']:.3f}")
    module = line["module"] or f"module {line['module_number']}"
    return f"{when} {line['level'].upper()} {module}: {line['message']}"


async def _metrics(
    api: Api, entry_id: str, device: DeviceIdentity, lines: Iterable[Json]
) -> dict[str, int | float]:
    """Return the states of the sensors that a device's metrics became.

    Of one that Home Assistant shows in another unit it is what was logged last.
    """
    logged = {
        line["arguments"][0]: line["arguments"][1]
        for line in lines
        if line["level"] == "metric" and len(line["arguments"]) == 2
    }
    prefix = f"{entry_id}-{device_identifier(device)[1]}-{metric_key('')}"
    states = await api.states()
    metrics: dict[str, int | float] = {}
    for entry in await api.command("config/entity_registry/list"):
        name = entry["unique_id"].removeprefix(prefix)
        state = states.get(entry["entity_id"])
        if name == entry["unique_id"] or state is None:
            continue
        value = _number(state["state"])
        if state["attributes"].get("unit_of_measurement") != measure(name).unit:
            value = logged.get(name, value)
        if value is not None:
            metrics[name] = value
    return metrics


def _number(state: str) -> int | float | None:
    """Return a state's number, None where it is unknown or unavailable."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(state)
    return None


async def _crash(api: Api, entry_id: str, serial: str) -> Json | None:
    """Return the latest crash of a device."""
    answer = await _ask(api, "get_crashes", config_entry_id=entry_id, limit=MOST_GROUPS)
    groups = [group for group in answer["crashes"] if serial in group["devices"]]
    if not groups:
        return None
    latest = max(groups, key=lambda group: str(group["devices"][serial]))
    answer = await _ask(
        api, "get_crashes", config_entry_id=entry_id, fingerprint=latest["fingerprint"]
    )
    report = answer["crashes"][0]["report"]
    return None if report is None else {name: report[name] for name in CRASH_FIELDS}


async def _ask(api: Api, action: str, **data: Any) -> Json:
    """Run an action of the integration, and return what it answers."""
    answer: Json = (await api.call(DOMAIN, action, answer=True, **data))["service_response"]
    return answer
