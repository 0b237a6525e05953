"""What an automation gets to know of a crash, without the firmware's image."""

from typing import Any

from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..model.capture import Capture
from .text import core_dump_lines

SAID = ("pc ", "cfsr ", "hfsr ")


def crash_attributes(capture: Capture) -> dict[str, Any]:
    """Give the attributes of a *core_dump* event; a dump of an unknown kind says nothing."""
    try:
        dump = CoreDump.parse(capture.data)
    except CaptureError:
        return {}
    if dump.opaque:
        return {}
    lines = dict.fromkeys(line for line in core_dump_lines(dump) if line.startswith(SAID))
    return {
        "summary": "; ".join(line for line in lines if not line.endswith(" 0x00000000")),
        "pc": f"0x{dump.registers['pc']:08X}",
        "lr": f"0x{dump.registers['lr']:08X}",
        "firmware_version": dump.header.device.git_version,
    }
