"""Compares what a site received of devices with what their captures say."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.level import Level

from ..check import Comparison
from ..device.virtual import VirtualDevice
from .site import Device, LocalSite

LEVELS: Final = {
    Level.DEBUG: 100,
    Level.INFO: 200,
    Level.WARNING: 400,
    Level.ERROR: 500,
    Level.CRITICAL: 600,
}
CRASH: Final = "device.crash"
LOG: Final = "device.log"
DEFAULT_LEVEL: Final = 300

type Said = Counter[tuple[object, ...]]


def proxies(site: LocalSite) -> dict[str, Device]:
    """Return the devices that have told their serial number, by it."""
    found = {}
    for device in site.devices.values():
        if device is not site.gateway and (serial := device.system().get("serial_no")):
            found[str(serial)] = device
    return found


def least_level(device: Device) -> int:
    """Return the level from which on a site wants a device's entries."""
    return int(device.config.get("system", {}).get("min_loglevel", DEFAULT_LEVEL))


def wanted_entries(reading: Reading, least: int) -> Said:
    """Return the entries that a log becomes: text and level of each frame that counts."""
    return Counter(
        (frame.message, LEVELS[frame.level])
        for frame in reading.frames
        if LEVELS.get(frame.level, 0) >= least
    )


def wanted_points(reading: Reading) -> Said:
    """Return the values of points that a log becomes."""
    return Counter(
        (name_of(metric.name), metric.value)
        for metric in reading.metrics
        if name_of(metric.name) and math.isfinite(metric.value)
    )


def name_of(metric: str) -> str:
    """Return the point that a metric becomes."""
    name = re.sub(r"[^a-z0-9]+", "_", metric.lower()).strip("_")
    return f"p_{name}" if name[:1].isdigit() else name


def came_points(events: Iterable[dict[str, Any]]) -> Said:
    """Return all values of points that came."""
    return Counter(
        (name, point["present_value"])
        for event in events
        for name, point in event["points"].items()
    )


def compare_entries(
    devices: Sequence[VirtualDevice], site: LocalSite, image: FirmwareImage | None
) -> Comparison:
    """Look for each metric and for each frame at or above its proxy's level, and each crash."""
    result = Comparison(different=[f"invalid: {each}" for each in site.invalid])
    result.different += [f"invalid: {each}" for each in site.gate.faulty]
    by_serial = proxies(site)
    for device in devices:
        proxy = by_serial.get(device.identity.serial)
        if device.log:
            _compare_log(result, device, proxy, image)
        if device.core_dump:
            _compare_crash(result, device, proxy)
    return result


def _compare_log(
    result: Comparison, device: VirtualDevice, proxy: Device | None, image: FirmwareImage | None
) -> None:
    what = f"log of {device.identity.serial}"
    result.expected += 1
    if proxy is None:
        result.missing.append(what)
        return
    reading = read(Capture(CaptureKind.LOG, device.identity, device.log, 0.0), image)
    entries = wanted_entries(reading, least_level(proxy))
    came: Said = Counter(
        (each["message"], each["level"])
        for each in proxy.entries()
        if f"{each['category']}.".startswith(f"{LOG}.")
    )
    # A value may go up again by itself, at the rate that the site wants.
    points = wanted_points(reading) - came_points(proxy.events("pointset"))
    if missing := (entries - came).total() + points.total():
        result.missing.append(f"{what}: {missing} of {len(reading.frames)} frames")
    elif more := (came - entries).total():
        result.duplicated += more
        result.different.append(f"{what}: {more} entries too many")
    else:
        result.identical += 1
        result.bytes += len(device.log)


def _compare_crash(result: Comparison, device: VirtualDevice, proxy: Device | None) -> None:
    what = f"crash of {device.identity.serial}"
    result.expected += 1
    crashes = [] if proxy is None else [e for e in proxy.entries() if e["category"] == CRASH]
    if not crashes:
        result.missing.append(what)
        return
    result.duplicated += len(crashes) - 1
    if len(crashes) > 1 or crashes[0]["level"] < LEVELS[Level.ERROR]:
        result.different.append(f"{what}: {len(crashes)} entries")
        return
    result.identical += 1
    result.bytes += len(device.core_dump or b"")
