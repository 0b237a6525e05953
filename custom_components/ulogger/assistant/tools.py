"""The tools: what each is called, what it takes, what it does, and whether it acts."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import probatio
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import llm

from ..insight.crash_groups import CrashState
from ..model.level import LEVELS
from . import crashes, logs
from .question import Question
from .versions import compare_versions

MOST_LINES: Final = 200
_READS: Final = llm.ToolAnnotations(
    read_only=True, destructive=False, idempotent=True, open_world=False
)
_ACTS: Final = llm.ToolAnnotations(
    read_only=False, destructive=False, idempotent=True, open_world=True
)
_SERIAL: Final = probatio.All(str, probatio.Length(min=1, max=128))
_TEXT: Final = probatio.All(str, probatio.Length(min=1, max=256))
_TIME: Final = probatio.All(str, cv.datetime)


class ToolDescription(NamedTuple):
    """One tool."""

    name: str
    title: str
    description: str
    parameters: probatio.Schema
    annotations: llm.ToolAnnotations
    answer: Callable[[Question], Awaitable[dict[str, Any]]]


def _optional(name: str, description: str, default: Any = probatio.UNDEFINED) -> probatio.Optional:
    return probatio.Optional(name, description=description, default=default)


def _required(name: str, description: str) -> probatio.Required:
    return probatio.Required(name, description=description)


def _number(low: int, high: int) -> probatio.All[int]:
    return probatio.All(int, probatio.Range(min=low, max=high))


TOOLS: Final = (
    ToolDescription(
        "list_devices",
        "List devices",
        "List the account's devices: serial, type, application, firmware version, whether each "
        "is in range, when it was last collected, its log level, and what is kept of it.",
        probatio.Schema({}),
        _READS,
        logs.list_devices,
    ),
    ToolDescription(
        "search_logs",
        "Search logs",
        "Search what devices logged, over all captures that are kept, the newest line first. A "
        "line without a text shows the address of its format string and its arguments: then the "
        "firmware image is not here.",
        probatio.Schema(
            {
                _optional("device", "Serial of a device; all devices if left out."): _SERIAL,
                _optional("since", "Only lines at this time or later, ISO 8601."): _TIME,
                _optional("until", "Only lines before this time, ISO 8601."): _TIME,
                _optional("level", "The lowest severity; metric finds metrics alone."): probatio.In(
                    (*LEVELS, "metric")
                ),
                _optional("module", "A module's number (0 to 31) or name."): _TEXT,
                _optional("contains", "Text within the message, whatever its case."): _TEXT,
                _optional("limit", "Most lines of an answer.", 50): _number(1, MOST_LINES),
                _optional("page", "Which page of them, from 1.", 1): _number(1, 10_000),
            }
        ),
        _READS,
        logs.search_logs,
    ),
    ToolDescription(
        "list_crash_groups",
        "List crash groups",
        "List crashes that are one and the same over devices and versions: fingerprint, reason, "
        "count, first and last seen, devices, versions and state.",
        probatio.Schema(
            {
                _optional("state", "Only groups in this state."): probatio.In(
                    tuple(str(state) for state in CrashState)
                ),
                _optional("limit", "Most groups, the last seen first.", 20): _number(1, 100),
            }
        ),
        _READS,
        crashes.list_crash_groups,
    ),
    ToolDescription(
        "explain_crash",
        "Explain a crash",
        "Everything known of a crash: the fault in plain words, registers, the backtrace with "
        "functions and source lines (frames marked candidate may be left over from earlier "
        "calls), and the last lines that the device logged.",
        probatio.Schema(
            {
                _required("crash", "Fingerprint of the crash's group."): _TEXT,
                _optional(
                    "device", "Serial of a device that crashed so; the latest if left out."
                ): (_SERIAL),
                _optional("lines", "How many lines of the log.", 50): _number(0, MOST_LINES),
            }
        ),
        _READS,
        crashes.explain_crash,
    ),
    ToolDescription(
        "compare_versions",
        "Compare firmware versions",
        "Compare two firmware versions: devices that run each, lines per level in the captures "
        "that are kept, and which crashes are new, gone or in both.",
        probatio.Schema(
            {
                _required("version", "The one version, as devices tell it."): _TEXT,
                _required("other", "The version that it is compared with."): _TEXT,
            }
        ),
        _READS,
        compare_versions,
    ),
    ToolDescription(
        "set_log_level",
        "Set a device's log level",
        "Have a device log at a level for some time, at once or when it is next connected. This "
        "changes what the device does and uses its memory and battery.",
        probatio.Schema(
            {
                _required("device", "Serial of the device."): _SERIAL,
                _required("level", "The lowest level that it logs."): probatio.In(LEVELS),
                _optional("minutes", "For how long.", 60): _number(1, 7 * 24 * 60),
                _optional("modules", "Numbers or names of modules; all if left out.", list): [
                    _TEXT
                ],
            }
        ),
        _ACTS,
        logs.set_log_level,
    ),
)
