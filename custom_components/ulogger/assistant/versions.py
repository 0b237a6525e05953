"""The tool that compares two firmware versions by what devices logged and how they crashed."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from ..insight.crash_groups import CrashGroup
from ..insight.versions import is_newer
from ..model.capture import CaptureKind
from ..model.level import Level
from .question import Question

MOST_CAPTURES: Final = 5_000
"""Captures that are looked at, the newest ones."""
_LEVELS: Final = tuple(level for level in Level if level <= Level.METRIC)


async def compare_versions(question: Question) -> dict[str, Any]:
    """Return both versions side by side, and which crashes tell them apart."""
    gateway = question.gateway
    version, other = question.arguments["version"], question.arguments["other"]
    rows = await gateway.readings.async_summaries(None, MOST_CAPTURES)
    groups = list(gateway.crashes.groups)
    sides = {}
    for name in (version, other):
        ours = [row for row in rows if row.git_version == name]
        logs = [row.summary for row in ours if row.kind is CaptureKind.LOG]
        frames = sum(summary.frames for summary in logs)
        errors = sum(summary.errors for summary in logs)
        sides[name] = {
            "devices_running_it": [
                device.identity.serial
                for device in question.devices
                if device.identity.git_version == name
            ],
            "devices_with_captures": sorted({serial for _, serial in (row.key for row in ours)}),
            "logs": len(logs),
            "core_dumps": len(ours) - len(logs),
            "lines": frames,
            "lines_by_level": {
                level.name.lower(): sum(summary.levels[level] for summary in logs)
                for level in _LEVELS
            },
            "errors_per_1000_lines": round(1000 * errors / frames, 2) if frames else None,
            "damaged_logs": sum(summary.damage is not None for summary in logs),
        }
    return {
        "versions": sides,
        "captures_looked_at": len(rows),
        "newer": _newer(version, other),
        "crashes_only_in": {
            version: _names(groups, lambda group: version in group.versions, other),
            other: _names(groups, lambda group: other in group.versions, version),
        },
        "crashes_in_both": [
            _name(group) for group in groups if {version, other} <= group.versions.keys()
        ],
    }


def _newer(version: str, other: str) -> str | None:
    """Return the newer one, None where their names do not tell."""
    answer = is_newer(version, other)
    return None if answer is None or version == other else (version if answer else other)


def _names(
    groups: Sequence[CrashGroup], seen: Callable[[CrashGroup], bool], other: str
) -> list[dict[str, Any]]:
    return [_name(group) for group in groups if seen(group) and other not in group.versions]


def _name(group: CrashGroup) -> dict[str, Any]:
    return {"crash": group.fingerprint, "reason": group.reason, "state": str(group.state)}
