"""Compares what arrived, wherever that is, with what the devices held, byte for byte."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from custom_components.ulogger.model.capture import CaptureKind

from .cloud.service import LocalCloud
from .device.virtual import VirtualDevice

TOKEN = slice(1, 5)
EPOCH = slice(13, 21)
ERASE_SECONDS = 15.0
LOOK_EVERY = 0.5

type Held = tuple[str, CaptureKind, bytes]
"""A capture: the serial of the device, its kind, and its bytes."""


def comparable(log: bytes) -> bytes:
    """Return a log with the fields that a gateway may fill in, token and epoch, blanked."""
    plain = bytearray(log)
    fields = (TOKEN, EPOCH) if log and log[0] >= 4 else (TOKEN,)
    for part in fields:
        length = len(plain[part])
        plain[part] = bytes(length)
    return bytes(plain)


@dataclass(slots=True)
class Comparison:
    """What is where it should be, and what is not."""

    expected: int = 0
    identical: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    logs_without_token: int = 0
    duplicated: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything that the devices held is in the cloud as they held it."""
        return self.identical == self.expected and not self.different and not self.missing


def compare(devices: list[VirtualDevice], cloud: LocalCloud) -> Comparison:
    """Look each device's log up by its token's device, and each dump by its content."""
    result = Comparison()
    logs: dict[str, list[bytes]] = {}
    for message in cloud.of("binlog"):
        if message.token == 0:
            result.logs_without_token += 1
        owner = cloud.device_of(message)
        logs.setdefault(owner.serial if owner else "", []).append(message.payload)
    for unnamed in logs.pop("", []):
        result.different.append(f"a log of {len(unnamed)} bytes whose token names no device")
    dumps = Counter(message.payload for message in cloud.of("core-dump"))
    for device in devices:
        serial = device.identity.serial
        if device.log:
            wanted = comparable(device.log)
            came = logs.get(serial, [])
            alike = sum(comparable(log) == wanted for log in came)
            _note(result, f"log of {serial}", len(wanted), alike)
            result.different += [
                f"log of {serial}: {len(log)} bytes for {len(wanted)}"
                for log in came
                if comparable(log) != wanted
            ]
    held = Counter(device.core_dump for device in devices if device.core_dump)
    for dump, count in held.items():
        came_count = dumps.pop(dump, 0)
        for number in range(count):
            _note(result, f"core dump of {len(dump)} bytes", len(dump), came_count > number)
        result.duplicated += max(0, came_count - count)
    result.different += [f"a core dump of {len(dump)} bytes that no device held" for dump in dumps]
    return result


def compare_untouched(
    devices: list[VirtualDevice], held: Iterable[Held], faulty: Iterable[str] = ()
) -> Comparison:
    """Look for each capture where nothing may have been filled in.

    ``faulty`` describes what is there and can't be one.
    """
    result = Comparison(different=list(faulty))
    there = Counter(held)
    for device in devices:
        serial = device.identity.serial
        for kind, data in (
            (CaptureKind.LOG, device.log),
            (CaptureKind.CORE_DUMP, device.core_dump),
        ):
            if data:
                count = there.pop((serial, kind, data), 0)
                _note(result, f"{kind.value} of {serial}", len(data), count)
    result.different += [
        f"{kind.value} of {serial}: {len(data)} bytes that it did not hold"
        for serial, kind, data in there
    ]
    return result


def _note(result: Comparison, what: str, size: int, alike: int) -> None:
    result.expected += 1
    if alike:
        result.identical += 1
        result.bytes += size
        result.duplicated += alike - 1
    else:
        result.missing.append(what)


async def wait_until_delivered(
    devices: list[VirtualDevice], cloud: LocalCloud, seconds: float
) -> Comparison:
    """Wait until nothing is missing and the devices have erased, or the time is over."""
    try:
        await cloud.wait_until(lambda: not compare(devices, cloud).missing, seconds)
        async with asyncio.timeout(ERASE_SECONDS):
            for device in devices:
                await device.emptied.wait()
    except TimeoutError:
        pass
    return compare(devices, cloud)


async def wait_until_there(
    devices: list[VirtualDevice], look: Callable[[], Awaitable[Comparison]], seconds: float
) -> Comparison:
    """Look again and again until nothing is missing, or the time is over."""
    end = time.monotonic() + seconds
    try:
        async with asyncio.timeout(seconds):
            for device in devices:
                await device.emptied.wait()
    except TimeoutError:
        return await look()
    while (comparison := await look()).missing and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_EVERY)
    return comparison


def report(
    destinations: Mapping[str, Comparison],
    kept: Comparison | None,
    devices: list[VirtualDevice],
    *,
    started: float,
    log_problems: list[str],
) -> dict[str, Any]:
    """Put the outcome into the words of the report's last line.

    What is said of captures is uLogger's, or of another destination without it, or of what
    is ``kept`` where there is no destination.
    """
    comparisons = [*destinations.values(), *([kept] if kept is not None else [])]
    first = comparisons[0]
    described: dict[str, Any] = {}
    for name, each in destinations.items():
        described[name] = {"captures": each.identical, "identical": each.ok}
        if each is not first and (faults := each.missing + each.different):
            described[name]["faults"] = faults
    only_here = {} if kept is None else {"kept": kept.identical}
    return {
        "identical": all(each.ok for each in comparisons),
        "devices": len(devices),
        "captures": first.identical,
        "expected": first.expected,
        "bytes": first.bytes,
        "seconds": round(time.monotonic() - started, 2),
        "erased": all(device.empty for device in devices),
        "missing": first.missing,
        "different": first.different,
        "duplicated": first.duplicated,
        "logs_without_token": first.logs_without_token,
        "log_problems": log_problems,
        "destinations": described,
        **only_here,
    }
