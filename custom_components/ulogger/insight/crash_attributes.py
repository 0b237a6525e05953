"""What an automation gets to know of a crash: the report, short enough for a state's attributes."""

from typing import Any, Final

from .crash_report import BacktraceFrame, CrashReport

MOST_FRAMES: Final = 16
"""Functions of the backtrace; the report itself has more."""
LONGEST_TEXT: Final = 255


def crash_attributes(report: CrashReport, summary: str) -> dict[str, Any]:
    """Give the attributes of a *core_dump* event; the ``summary`` says it in a line for people.

    Home Assistant keeps no attributes of more than 16 KiB, so names and backtrace are cut.
    """
    address = report.fault.address
    return {
        "summary": _cut(summary),
        "application": report.device.application_id,
        "firmware_version": _cut(report.device.git_version),
        "git_hash": _cut(report.device.git_hash),
        "fault": _cut(report.fault.text),
        "fault_kind": str(report.fault.kind),
        "fault_address": None if address is None else _hex(address),
        "pc": _hex(report.pc.address),
        "lr": _hex(report.lr.address),
        "function": report.function and _cut(report.function),
        "location": report.location and _cut(report.location),
        "registers": {name: _hex(value) for name, value in report.registers.items()},
        "backtrace": [_frame(frame) for frame in report.backtrace[:MOST_FRAMES]],
        "fingerprint": report.fingerprint,
    }


def _frame(frame: BacktraceFrame) -> dict[str, Any]:
    return {
        "address": _hex(frame.address),
        "function": frame.function and _cut(frame.function),
        "location": frame.location and _cut(frame.location),
        "certainty": str(frame.certainty),
    }


def _hex(value: int) -> str:
    return f"0x{value:08X}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
