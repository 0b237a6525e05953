"""What happened to one device, and what it measured, on one axis of time."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import probatio
from homeassistant.components.websocket_api import async_register_command
from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.const import ERR_NOT_FOUND
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
from ..insight.crash_groups import CaptureKey
from ..model.capture import CaptureKind
from ..model.level import Level
from ..outbox.errors import OutboxError
from ..outbox.model import Row
from .gateways import devices_of
from .measured import async_read_series
from .messages import Timeline, TimelineMark

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
        connection.send_error(message["id"], ERR_NOT_FOUND, "The device is not collected.")
        return
    gateway: Gateway = device.account.entry.runtime_data
    key, since = device.identity.key, message["since"]
    try:
        rows = await gateway.account.outbox.listing(key, limit=MOST_CAPTURES)
        summaries = await gateway.readings.async_summaries(key, MOST_CAPTURES)
    except OutboxError as err:
        connection.send_error(message["id"], err.reason, str(err))
        return
    late = [each for each in summaries if each.captured_at >= since]
    series = await async_read_series(hass, gateway, late, MOST_READ, MOST_POINTS)
    job = partial(_marks, list(device.timeline), _reasons(gateway, device), rows, summaries, since)
    timeline: Timeline = {
        "device": message["device"],
        "since": since,
        "until": time.time(),
        "marks": await hass.async_add_executor_job(job),
        "metrics": series.messages(since),
    }
    connection.send_result(message["id"], timeline)


def _reasons(gateway: Gateway, device: DeviceCoordinator) -> Mapping[CaptureKey, str]:
    """Return in a line what each kept crash of a device was."""
    return {
        key: each.reason
        for group in gateway.crashes.groups
        if device.identity.serial in group.devices
        for key, each in group.occurrences.items()
    }


def _marks(
    sessions: Sequence[SessionRecord],
    reasons: Mapping[CaptureKey, str],
    rows: Sequence[Row],
    summaries: Sequence[SummaryRow],
    since: float,
) -> list[TimelineMark]:
    """Return what happened, the earliest first; the rows have the newest first."""
    found = [
        *map(_session, sessions),
        *_captures(rows, summaries, reasons),
        *_changes(summaries),
    ]
    found = [mark for mark in found if mark["at"] >= since]
    found.sort(key=lambda mark: mark["at"])
    return found[-MOST_MARKS:]


def _session(session: SessionRecord) -> TimelineMark:
    began = session.began.timestamp()
    text = f"{session.captures} × {session.bytes:,} B".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return {
        "at": began,
        "kind": "session" if session.result == _OK else "failed_session",
        "text": text if session.result == _OK else session.detail or session.result,
        "until": began + session.seconds,
    }


def _captures(
    rows: Iterable[Row], summaries: Iterable[SummaryRow], reasons: Mapping[CaptureKey, str]
) -> Iterable[TimelineMark]:
    known = {(each.capture_id, each.captured_at): each for each in summaries}
    for row in rows:
        summary = known.get((row.capture_id, row.captured_at))
        if row.kind is CaptureKind.CORE_DUMP:
            text = reasons.get(CaptureKey(str(row.capture_id), row.captured_at), "")
        else:
            text = _levels(summary) if summary else ""
        yield {
            "at": row.captured_at,
            "kind": "core_dump" if row.kind is CaptureKind.CORE_DUMP else "log",
            "text": text or f"{row.size} B",
            "until": None,
        }


def _levels(row: SummaryRow) -> str:
    """Say how many frames of which level a log has."""
    levels = zip(Level, row.summary.levels, strict=True)
    return ", ".join(f"{count} {level.name.lower()}" for level, count in levels if count)


def _changes(summaries: Sequence[SummaryRow]) -> Iterable[TimelineMark]:
    """Find restarts and new firmware between logs that follow each other."""
    logs = [each for each in reversed(summaries) if each.kind is CaptureKind.LOG]
    before: SummaryRow | None = None
    for row in logs:
        version = row.git_version
        if before is not None and version and before.git_version != version:
            text = f"{before.git_version} → {version}"
            yield {"at": row.captured_at, "kind": "firmware", "text": text, "until": None}
        before = row
        anchor = row.summary.anchor
        # Ticks that count from 0 although an earlier log is known: the device began anew.
        if anchor is not None and anchor.base == 0 and row.before is not None and not row.continues:
            booted = anchor.at - anchor.tick / anchor.rate_hz
            yield {"at": booted, "kind": "reboot", "text": version, "until": None}
