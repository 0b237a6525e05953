"""What the panel asks about crashes: the groups as they change, occurrences, and one crash."""

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import probatio
from homeassistant.components.websocket_api import async_register_command
from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.decorators import (
    async_response,
    require_admin,
    websocket_command,
)
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback

from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..coordinator import DeviceCoordinator
from ..firmware.compact_image import CompactImage
from ..firmware.unwind import Certainty
from ..gateway.gateway import Gateway
from ..gateway.log_search import async_search_logs
from ..insight.crash_groups import SET_BY_PEOPLE, CrashState
from ..insight.crash_groups import CrashGroup as Group
from ..insight.crash_groups import Occurrence as Crash
from ..insight.crash_report import BacktraceFrame, CrashReport, crash_report
from ..insight.faults import set_bits
from ..insight.search import Query
from ..insight.text import printable
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceKey
from ..outbox.errors import OutboxError
from .downloads import capture_path, core_path
from .frames import as_message
from .gateways import Names, follow, loaded, of_account
from .logs import signed
from .messages import CrashDetails, CrashGroup, CrashOccurrence, Frame, Symbol
from .refusals import send_failure, send_not_found

DAYS: Final = 14
DAY: Final = 86_400.0
MOST_MEMORY: Final = 256 * 1024
"""Bytes of a core dump's memory that are sent; a dump can be larger than a browser likes."""
MOST_REGIONS: Final = 64
MOST_SYMBOLS: Final = 2_000
MOST_NAMES: Final = 50
"""Devices and versions that are named of a group: those that crashed last."""
LED_TO_IT: Final = 20
VISIT: Final = 300.0
"""Seconds after a core dump within which the log of the same session came."""
SOON: Final = 0.2
"""Seconds in which several changes become one."""
_WORD: Final = 4

_ACCOUNT: Final[dict[str | probatio.Marker, Any]] = {
    probatio.Required("account"): probatio.All(str, probatio.Length(max=64)),
}
_GROUP: Final[dict[str | probatio.Marker, Any]] = {
    **_ACCOUNT,
    probatio.Required("fingerprint"): probatio.All(str, probatio.Length(max=64)),
}


@callback
def async_register_crash_commands(hass: HomeAssistant) -> None:
    """Offer the commands."""
    for command in (subscribe, occurrences, get_crash, set_state):
        async_register_command(hass, command)


@require_admin
@websocket_command({probatio.Required("type"): "ulogger/crashes/subscribe"})
@callback
def subscribe(hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]) -> None:
    """Send all crash groups, again after each change."""
    timer: list[asyncio.TimerHandle] = []
    sent: list[list[CrashGroup]] = []
    names = Names(hass)

    @callback
    def send() -> None:
        timer.clear()
        now = time.time()
        groups: list[CrashGroup] = []
        for gateway in loaded(hass):
            called = {key: names.name_of(each) for key, each in gateway.devices.items()}
            groups += [
                _group(gateway.account.entry_id, group, called, now)
                for group in gateway.crashes.groups
            ]
        groups.sort(key=lambda group: -group["last_seen"])
        if sent != [groups]:
            sent[:] = [groups]
            connection.send_event(message["id"], groups)

    @callback
    def soon() -> None:
        if not timer:
            timer.append(hass.loop.call_later(SOON, send))

    @callback
    def attach(gateway: Gateway) -> CALLBACK_TYPE:
        soon()
        return gateway.account.changed.add(soon)

    stop = follow(hass, attach)

    @callback
    def end() -> None:
        stop()
        for handle in timer:
            handle.cancel()

    connection.subscriptions[message["id"]] = end
    connection.send_result(message["id"])
    for handle in timer:
        handle.cancel()
    send()


def _group(account: str, group: Group, called: Mapping[DeviceKey, str], now: float) -> CrashGroup:
    days = [0] * DAYS
    for each in group.occurrences.values():
        ago = int((now - each.at) // DAY)
        if 0 <= ago < DAYS:
            days[DAYS - 1 - ago] += 1
    return {
        "account": account,
        "fingerprint": group.fingerprint,
        "reason": group.reason,
        "fault_kind": group.fault_kind,
        "place": group.place,
        "state": str(group.state),  # type: ignore[typeddict-item]
        "count": group.count,
        "first_seen": group.first_seen,
        "last_seen": group.last_seen,
        "devices": [
            called.get((group.application_id, serial), serial)
            for serial in list(group.devices)[-MOST_NAMES:]
        ],
        "versions": list(group.versions)[-MOST_NAMES:],
        "days": days,
    }


@require_admin
@websocket_command({probatio.Required("type"): "ulogger/crashes/occurrences", **_GROUP})
@async_response
async def occurrences(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    """Return the occurrences of a group, the latest first."""
    gateway = of_account(hass, message["account"])
    group = None if gateway is None else gateway.crashes.groups.get(message["fingerprint"])
    if gateway is None or group is None:
        send_not_found(connection, message["id"], "crash_gone")
        return
    kept = {
        (row.capture_id, row.captured_at)
        for row in await gateway.account.outbox.listing()
        if row.kind is CaptureKind.CORE_DUMP
    }
    names = Names(hass)
    found = [
        _occurrence(gateway, each, names, is_kept=(int(each.capture_id), each.at) in kept)
        for each in group.occurrences.values()
    ]
    found.sort(key=lambda occurrence: -occurrence["at"])
    connection.send_result(message["id"], found)


def _occurrence(gateway: Gateway, crash: Crash, names: Names, *, is_kept: bool) -> CrashOccurrence:
    device = gateway.devices.get((crash.application_id, crash.device))
    return {
        "account": gateway.account.entry_id,
        "capture": int(crash.capture_id) if is_kept else None,
        "device": None if device is None else names.id_of(device),
        "device_name": crash.device if device is None else names.name_of(device),
        "version": crash.version,
        "at": crash.at,
        "reason": crash.reason,
        "fault_kind": crash.fault_kind,
        "place": crash.place,
    }


@require_admin
@websocket_command(
    {
        probatio.Required("type"): "ulogger/crashes/set_state",
        **_GROUP,
        probatio.Required("state"): probatio.In(sorted(str(state) for state in SET_BY_PEOPLE)),
    }
)
@async_response
async def set_state(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    """Set what people made of a group; on disk when the answer comes."""
    gateway, fingerprint = of_account(hass, message["account"]), message["fingerprint"]
    if gateway is None or gateway.crashes.groups.get(fingerprint) is None:
        send_not_found(connection, message["id"], "crash_gone")
        return
    await gateway.crashes.async_set_state(fingerprint, CrashState(message["state"]))
    connection.send_result(message["id"])


@require_admin
@websocket_command(
    {
        probatio.Required("type"): "ulogger/crashes/get",
        **_ACCOUNT,
        probatio.Required("capture"): int,
    }
)
@async_response
async def get_crash(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    """Return all that is known of one crash."""
    if (gateway := of_account(hass, message["account"])) is None:
        send_not_found(connection, message["id"], "account_not_loaded")
        return
    try:
        capture = await gateway.account.outbox.read(message["capture"])
        dump, report, image = await hass.async_add_executor_job(_read, gateway, capture)
    except OutboxError as err:
        send_failure(connection, message["id"], err, gateway.entry.title)
        return
    except CaptureError:
        report = None
    if report is None:
        send_not_found(connection, message["id"], "core_dump_unreadable")
        return
    names = Names(hass)
    device = gateway.devices.get(capture.device.key)
    led_to_it = [] if device is None else await _led_to_it(hass, device, capture, names)
    occurrence: CrashOccurrence = {
        "account": message["account"],
        "capture": message["capture"],
        "device": None if device is None else names.id_of(device),
        "device_name": capture.device.serial if device is None else names.name_of(device),
        "version": report.device.git_version,
        "at": capture.captured_at,
        "reason": report.reason,
        "fault_kind": str(report.fault.kind),
        "place": report.place,
    }
    links = _Links(
        signed(hass, capture_path(message["account"], message["capture"])),
        signed(hass, core_path(message["account"], message["capture"])),
    )
    job = partial(_details, dump, report, image, occurrence, led_to_it, links)
    connection.send_result(message["id"], await hass.async_add_executor_job(job))


def _read(
    gateway: Gateway, capture: Capture
) -> tuple[CoreDump, CrashReport | None, CompactImage | None]:
    dump = CoreDump.parse(capture.data)
    image = gateway.images.image_of(dump.header.device)
    return dump, crash_report(dump, image), image


async def _led_to_it(
    hass: HomeAssistant, device: DeviceCoordinator, capture: Capture, names: Names
) -> list[Frame]:
    """Return the last lines up to a crash, the latest last; a log comes in the dump's session."""
    page = await async_search_logs(
        hass, [device], Query(until=capture.captured_at + VISIT, limit=LED_TO_IT)
    )
    return [
        as_message(
            line.frame,
            account=device.account.entry_id,
            capture_id=line.capture_id,
            captured_at=line.captured_at,
            device=names.id_of(device),
            firmware=line.version,
        )
        for line in reversed(page.lines)
    ]


class _Links(NamedTuple):
    """Signed paths of a core dump: as it came, and for a debugger."""

    capture: str
    core: str


def _details(  # noqa: PLR0917
    dump: CoreDump,
    report: CrashReport,
    image: CompactImage | None,
    occurrence: CrashOccurrence,
    led_to_it: list[Frame],
    links: _Links,
) -> CrashDetails:
    """Put a crash into a message; blocks."""
    memory = _memory(dump)
    return {
        "occurrence": occurrence,
        "application_id": report.device.application_id,
        "git_hash": report.device.git_hash,
        "fault": report.fault.text,
        "fault_address": report.fault.address,
        "bits": [
            {"register": each.register.upper(), "bit": each.bit, "name": each.name}
            for each in set_bits(report.fault_status)
        ],
        "registers": {**report.registers, **report.fault_status},
        "backtrace": [
            {
                "address": frame.address,
                "function": frame.function,
                "location": frame.location,
                "certainty": str(frame.certainty),
                "inlined": frame.inlined,
            }
            for frame in report.backtrace or _without_image(report)
        ],
        "has_image": image is not None,
        "memory": [
            {"start": start, "data": base64.b64encode(data).decode()} for start, data in memory
        ],
        "symbols": [] if image is None else _symbols(image, memory),
        "led_to_it": led_to_it,
        "download": links.capture,
        "core": links.core,
    }


def _without_image(report: CrashReport) -> list[BacktraceFrame]:
    """Return what a dump tells by itself: where it stopped, and where that would return to."""
    return [
        BacktraceFrame(report.pc.address, None, None, None, Certainty.EXACT),
        BacktraceFrame(report.lr.address & ~1, None, None, None, Certainty.CANDIDATE),
    ]


def _memory(dump: CoreDump) -> list[tuple[int, bytes]]:
    """Return the memory that a dump holds, as much of it as is sent."""
    found, left = [], MOST_MEMORY
    for region in dump.regions[:MOST_REGIONS]:
        data = region.data[:left]
        left -= len(data)
        if data:
            found.append((region.start, data))
    return found


def _symbols(image: CompactImage, memory: Sequence[tuple[int, bytes]]) -> list[Symbol]:
    """Name the words in memory that point into functions."""
    found: list[Symbol] = []
    for start, data in memory:
        first = -start % _WORD
        for offset in range(first, len(data) - _WORD + 1, _WORD):
            value = int.from_bytes(data[offset : offset + _WORD], "little")
            if not value & 1 or not image.is_code(value):
                continue
            if (function := image.function_at(value)) is not None:
                name = printable(function.name)
                found.append({"address": start + offset, "size": _WORD, "name": name})
                if len(found) == MOST_SYMBOLS:
                    return found
    return found
