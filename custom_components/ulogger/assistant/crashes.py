"""The tools that list crashes and explain one."""

from typing import Any, Final

from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..gateway.log_search import async_search_logs
from ..gateway.readings import Readings
from ..insight.crash_groups import CrashGroup, Occurrence
from ..insight.crash_report import CrashReport, crash_report
from ..insight.log_lines import moment
from ..insight.search import Query
from ..model.capture import Capture
from ..outbox.errors import NoSuchCapture
from .question import Question, mistake

MOST_NAMES: Final = 20
VISIT: Final = 300.0
"""Seconds after a core dump within which the log of the same visit came."""


async def list_crash_groups(question: Question) -> dict[str, Any]:
    """Return the crash groups, the one that was last seen first."""
    state, limit = question.arguments.get("state"), question.arguments["limit"]
    groups = [
        group
        for group in question.gateway.crashes.groups
        if state is None or str(group.state) == state
    ]
    return {
        "crash_groups": [_described(group) for group in groups[:limit]],
        "more": len(groups) > limit,
    }


async def explain_crash(question: Question) -> dict[str, Any]:
    """Return the report of a crash's latest occurrence, and what was logged before."""
    wanted = question.arguments
    group = question.gateway.crashes.groups.get(wanted["crash"])
    if group is None:
        raise mistake("unknown_crash", crash=wanted["crash"])
    serials = {device.identity.serial for device in question.devices}
    seen = [
        each
        for each in group.occurrences.values()
        if "device" not in wanted or each.device in serials
    ]
    report, occurrence = None, None
    for occurrence in sorted(seen, key=lambda each: -each.at):
        report = await _report(question, occurrence)
        if report is not None:
            break
    answer = {"crash_group": _described(group)}
    if report is None or occurrence is None:
        return answer | {
            "report": None,
            "why": "the core dumps of this crash are not kept here any more",
        }
    return answer | {
        "occurred": moment(occurrence.at),
        "report": report.as_dict(),
        "log_before": await _log_before(question, occurrence),
    }


async def _report(question: Question, occurrence: Occurrence) -> CrashReport | None:
    """Read a core dump that is kept; None when it is gone, or tells nothing."""
    gateway = question.gateway
    try:
        capture = await gateway.account.outbox.read(int(occurrence.capture_id))
    except NoSuchCapture:
        return None
    return await question.hass.async_add_executor_job(_read, capture, gateway.readings)


def _read(capture: Capture, readings: Readings) -> CrashReport | None:
    """Make the report; blocks."""
    try:
        return crash_report(CoreDump.parse(capture.data), readings.image_of(capture.device))
    except CaptureError:
        return None


async def _log_before(question: Question, occurrence: Occurrence) -> list[dict[str, Any]]:
    """Return the last lines up to a crash, the latest last; a log comes with the dump's visit."""
    limit = question.arguments["lines"]
    devices = [
        device
        for device in question.gateway.devices.values()
        if device.identity.serial == occurrence.device
    ]
    if not limit or not devices:
        return []
    query = Query(until=occurrence.at + VISIT, limit=limit)
    page = await async_search_logs(question.hass, devices, query)
    return [line.as_dict() for line in reversed(page.lines)]


def _described(group: CrashGroup) -> dict[str, Any]:
    return {
        "crash": group.fingerprint,
        "reason": group.reason,
        "state": str(group.state),
        "count": group.count,
        "first_seen": moment(group.first_seen),
        "last_seen": moment(group.last_seen),
        "devices": list(group.devices)[-MOST_NAMES:],
        "versions": list(group.versions)[-MOST_NAMES:],
    }
