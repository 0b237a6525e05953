"""The tools that list crashes and explain one."""

from typing import Any, Final

from ..gateway.log_search import async_search_logs
from ..insight.crash_groups import CrashGroup, Occurrence
from ..insight.log_lines import moment
from ..insight.search import Query
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
        raise mistake(
            "no_such_crash", account=question.gateway.entry.title, fingerprint=wanted["crash"]
        )
    serials = {device.identity.serial for device in question.devices}
    seen = [
        each
        for each in group.occurrences.values()
        if "device" not in wanted or each.device in serials
    ]
    report, occurrence = None, None
    for occurrence in sorted(seen, key=lambda each: -each.at):
        report = await question.gateway.crashes.async_report(occurrence)
        if report is not None:
            break
    answer = {"crash_group": _described(group)}
    if report is None or occurrence is None:
        why = "its core dumps are not kept here any more" if seen else "the device did not crash so"
        return answer | {"report": None, "why": why}
    return answer | {
        "occurred": moment(occurrence.at),
        "report": report.as_dict(),
        "log_before": await _log_before(question, occurrence),
    }


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
