"""What happened to one device, and what it measured, on one axis of time."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import probatio
from homeassistant.components.websocket_api import async_register_command
from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.decorators import (
    async_response,
    require_admin,
    websocket_command,
)
from homeassistant.core import HomeAssistant, callback

from ..collecting.device_state import SessionRecord
from ..coordinator import DeviceCoordinator
from ..gateway.gateway import Gateway
from ..gateway.summary_file import SummaryRow
from ..insight.crash_groups import CaptureKey, Occurrence
from ..model.capture import CaptureKind
from ..model.level import Level
from ..outbox.errors import OutboxError
from ..outbox.model import Row
from .gateways import Names, devices_of
from .measured import async_read_series
from .messages import MarkKind, Timeline, TimelineMark
from .refusals import send_failure, send_not_found

MOST_CAPTURES: Final = 2_000
"""Captures of a device that a timeline looks at: the newest ones."""
MOST_READ: Final = 200
"""Captures that are read for metrics."""
MOST_POINTS: Final = 500
MOST_MARKS: Final = 2_000
_OK: Final = "ok"


@callback
def async_register_timeline_command(hass: HomeAssistant) -> None:
    """Offer the command."""
    async_register_command(hass, get_timeline)


@require_admin
@websocket_command(
    {
        probatio.Required("type"): "ulogger/devices/timeline",
        probatio.Required("device"): probatio.All(str, probatio.Length(min=1, max=64)),
        probatio.Required("since"): probatio.All(
            probatio.Any(int, float), probatio.Range(min=0, max=1e11)
        ),
    }
)
@async_response
async def get_timeline(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    """Return what happened to a device since a time."""
    device = next(iter(devices_of(hass, [message["device"]])), None)
    if device is None:
        send_not_found(connection, message["id"], "device_gone")
        return
    gateway: Gateway = device.account.entry.runtime_data
    key, since = device.identity.key, message["since"]
    try:
        rows = await gateway.account.outbox.listing(key, limit=MOST_CAPTURES)
        summaries = await gateway.readings.async_summaries(key, MOST_CAPTURES)
    except OutboxError as err:
        send_failure(connection, message["id"], err, Names(hass).name_of(device))
        return
    late = [each for each in summaries if each.captured_at >= since]
    series = await async_read_series(hass, gateway, late, MOST_READ, MOST_POINTS)
    job = partial(_marks, list(device.timeline), _crashes(gateway, device), rows, summaries, since)
    timeline: Timeline = {
        "device": message["device"],
        "since": since,
        "until": time.time(),
        "marks": await hass.async_add_executor_job(job),
        "metrics": series.messages(since),
    }
    connection.send_result(message["id"], timeline)


def _crashes(gateway: Gateway, device: DeviceCoordinator) -> Mapping[CaptureKey, Occurrence]:
    """Return each kept crash of a device."""
    return {
        key: each
        for group in gateway.crashes.groups
        if device.identity.serial in group.devices
        for key, each in group.occurrences.items()
    }


def _marks(
    sessions: Sequence[SessionRecord],
    crashes: Mapping[CaptureKey, Occurrence],
    rows: Sequence[Row],
    summaries: Sequence[SummaryRow],
    since: float,
) -> list[TimelineMark]:
    """Return what happened, the earliest first; the rows have the newest first."""
    found = [
        *map(_session, sessions),
        *_captures(rows, summaries, crashes),
        *_changes(summaries),
    ]
    found = [mark for mark in found if mark["at"] >= since]
    found.sort(key=lambda mark: mark["at"])
    return found[-MOST_MARKS:]


def _session(session: SessionRecord) -> TimelineMark:
    began = session.began.timestamp()
    until = began + session.seconds
    if session.result != _OK:
        text = session.detail or session.result
        return _mark("failed_session", began, text, until, why=session.result)
    text = f"{session.captures} × {session.bytes:,} B".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return _mark("session", began, text, until)


def _mark(
    kind: MarkKind, at: float, text: str, until: float | None = None, *, why: str = ""
) -> TimelineMark:
    return {"at": at, "kind": kind, "text": text, "until": until, "why": why, "levels": {}}


def _captures(
    rows: Iterable[Row],
    summaries: Iterable[SummaryRow],
    crashes: Mapping[CaptureKey, Occurrence],
) -> Iterable[TimelineMark]:
    known = {(each.capture_id, each.captured_at): each for each in summaries}
    for row in rows:
        summary = known.get((row.capture_id, row.captured_at))
        size = f"{row.size} B"
        if row.kind is CaptureKind.CORE_DUMP:
            crash = crashes.get(CaptureKey(str(row.capture_id), row.captured_at))
            yield _mark(
                "core_dump",
                row.captured_at,
                crash.place or crash.reason if crash else size,
                why=crash.fault_kind if crash else "",
            )
        else:
            mark = _mark("log", row.captured_at, size)
            yield {**mark, "levels": _levels(summary)} if summary else mark


def _levels(row: SummaryRow) -> dict[str, int]:
    """Say how many frames of which level a log has."""
    levels = zip(Level, row.summary.levels, strict=True)
    return {level.name.lower(): count for level, count in levels if count}


def _changes(summaries: Sequence[SummaryRow]) -> Iterable[TimelineMark]:
    """Find restarts and new firmware between logs that follow each other."""
    logs = [each for each in reversed(summaries) if each.kind is CaptureKind.LOG]
    before: SummaryRow | None = None
    for row in logs:
        version = row.git_version
        if before is not None and version and before.git_version != version:
            text = f"{before.git_version} → {version}"
            yield _mark("firmware", row.captured_at, text)
        before = row
        anchor = row.summary.anchor
        # Ticks that count from 0 although an earlier log is known: the device began anew.
        if anchor is not None and anchor.base == 0 and row.before is not None and not row.continues:
            booted = anchor.at - anchor.tick / anchor.rate_hz
            yield _mark("reboot", booted, version)
