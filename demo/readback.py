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
from custom_components.ulogger.capture.frames import iter_frames_as_far_as_they_go
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

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
    frames = _frames(device.log)
    end = time.monotonic() + seconds
    while True:
        said = await read_back(api, entry_id, device.identity)
        crashed = said.crash is not None or not device.core_dump
        if crashed and len(said.log_lines) >= frames and said.metrics.keys() >= _names(device.log):
            return said
        if time.monotonic() > end:
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
        _metrics(lines),
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


def _metrics(lines: Iterable[Json]) -> dict[str, int | float]:
    """Return the newest value of each metric, from lines in the order they were logged."""
    metrics = (line["arguments"] for line in lines if line["level"] == "metric")
    return dict(each for each in metrics if len(each) == 2)


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


def _frames(log: bytes) -> int:
    """Count the frames of a log, as far as it can be read."""
    count = 0
    with suppress(CaptureError):
        for _ in iter_frames_as_far_as_they_go(log):
            count += 1
    return count


def _names(log: bytes) -> set[str]:
    """Name the metrics in a log, as far as it can be read."""
    found: set[str] = set()
    with suppress(CaptureError):
        for frame in iter_frames_as_far_as_they_go(log):
            if frame.level is Level.METRIC and (metric := frame.metric) is not None:
                found.add(metric.name)
    return found
