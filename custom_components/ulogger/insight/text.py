"""Captures as text for people: what a frame says, and what is to be said about a core dump."""

from typing import Final

from ..capture.core_dump import CoreDump
from ..capture.frames import Frame
from ..firmware.symbols import CodePlace, Symbols
from .faults import causes_of

UNREADABLE: Final = "unreadable frame"
"""What is shown of a frame whose payload can't be read."""


def core_dump_lines(dump: CoreDump, image: Symbols | None = None) -> list[str]:
    """Return what is known of a crash: device, place, cause, registers, memory."""
    device = dump.header.device
    lines = [f"core dump of {dump.header.length} bytes, version {dump.header.version}"]
    if dump.header.known:
        lines.append(
            f"device {device.serial} ({device.device_type}), application {device.application_id}, "
            f"firmware {device.git_version} ({device.git_hash})"
        )
    if dump.opaque:
        return [*lines, "the format of its contents is unknown"]
    for name in ("pc", "lr"):
        address = dump.registers[name]
        place = image.place(address, returning=name == "lr") if image else None
        lines.append(f"{name} {address:#010x}{_place(place)}")
    lines += [
        f"{name} {value:#010x}{_causes(name, value)}" for name, value in dump.fault_status.items()
    ]
    lines += [f"{name} {value:#010x}" for name, value in dump.registers.items()]
    lines += [f"{name} {value:#010x}" for name, value in dump.float_registers.items()]
    lines += [f"memory {region.start:#010x}..{region.end:#010x}" for region in dump.regions]
    return lines


def describe(frame: Frame) -> str:
    """Return what a frame says without an image, on one line and without control characters."""
    if frame.malformed:
        return UNREADABLE
    if frame.is_heartbeat:
        return "heartbeat"
    if (metric := frame.metric) is not None:
        return printable(f"{metric.name} = {metric.value}")
    values = " ".join(repr(argument.value) for argument in frame.arguments)
    return printable(f"{frame.address:#010x} {values}")


def _place(place: CodePlace | None) -> str:
    """Return what an image says of an address."""
    if place is None or place.function is None:
        return ""
    location = f" ({place.location})" if place.location else ""
    return printable(f" in {place.function}{location}")


def _causes(register: str, value: int) -> str:
    """Return what the bits of a fault status register mean."""
    names = causes_of(register, value)
    return f" {', '.join(names)}" if names else ""


def printable(text: str) -> str:
    """Keep a device from writing control sequences to whoever reads its log."""
    text = text.rstrip()
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)
