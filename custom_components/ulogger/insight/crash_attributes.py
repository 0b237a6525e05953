"""What an automation gets to know of a crash, without the firmware's image."""

from typing import Any, Final

from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..model.capture import Capture
from .crash_report import CrashReport, crash_report
from .faults import causes_of

_SUMMARISED: Final = ("cfsr", "hfsr")


def crash_attributes(capture: Capture) -> dict[str, Any]:
    """Give the attributes of a *core_dump* event; a dump of an unknown kind says nothing."""
    try:
        report = crash_report(CoreDump.parse(capture.data))
    except CaptureError:
        return {}
    if report is None:
        return {}
    return {
        "summary": _summary(report),
        "pc": f"0x{report.pc.address:08X}",
        "lr": f"0x{report.lr.address:08X}",
        "firmware_version": report.device.git_version,
    }


def _summary(report: CrashReport) -> str:
    """Return the program counter and the fault status, as far as they are not 0."""
    said = [f"pc {report.pc.address:#010x}"] if report.pc.address else []
    for name in _SUMMARISED:
        if value := report.fault_status.get(name, 0):
            causes = ", ".join(causes_of(name, value))
            said.append(f"{name} {value:#010x}{f' {causes}' if causes else ''}")
    return "; ".join(said)
