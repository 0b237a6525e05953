"""Captures as text for people: lines of a log, and what is to be said about a core dump."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, override

from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..capture.frames import Frame, iter_frames, iter_raw_frames
from ..capture.log_buffer import LogHeader
from ..firmware.symbols import CodePlace, Symbols
from ..model.level import Level
from .faults import causes_of

UNREADABLE: Final = "unreadable frame"
"""What is shown of a frame whose payload can't be read."""

_NEWEST_YEAR = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class LogLine:
    """One frame as a person reads it.

    ``seconds`` count from the device's boot or last anchor, ``at`` is Unix time; each is None
    when the buffer does not tell.
    """

    seconds: float | None
    at: float | None
    level: Level
    module: str
    text: str

    @override
    def __str__(self) -> str:
        time = "-" if self.seconds is None else f"{self.seconds:.3f}"
        if self.at is not None:
            time = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        return f"{time} {self.level.name} {self.module}: {self.text}"


def log_lines(
    buffer: bytes, image: Symbols | None = None, *, base_ticks: int = 0
) -> Iterator[LogLine]:
    """Yield the lines of a whole log buffer.

    Without an image, or where it lacks a format string, a line shows the string's address and
    the arguments. Metrics are readable without one. Times of day need a header with a clock
    and ``base_ticks``, the tick that the first frame counts from: 0 after the device's boot,
    else the anchor tick of the buffer before. When they contradict the header's anchor there
    are none. A buffer that is damaged midway ends with a line that says so.
    Raises CaptureError (also TruncatedCapture) when there is no whole buffer to begin with.
    """
    header = LogHeader.parse(buffer)
    frames = iter_frames(buffer)
    return _lines(
        header, frames, image, base_ticks if _can_date(header, buffer, base_ticks) else None
    )


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


def describe(frame: Frame, image: Symbols | None = None) -> str:
    """Return a frame's text, on one line and without control characters."""
    if frame.malformed:
        return UNREADABLE
    if frame.is_heartbeat:
        return "heartbeat"
    if (metric := frame.metric) is not None:
        return printable(f"{metric.name} = {metric.value}")
    if image is not None and (text := image.render(frame)) is not None:
        return printable(text)
    values = " ".join(repr(argument.value) for argument in frame.arguments)
    return printable(f"{frame.address:#010x} {values}")


def _lines(
    header: LogHeader, frames: Iterator[Frame], image: Symbols | None, base_ticks: int | None
) -> Iterator[LogLine]:
    ticks = 0
    rate = header.tick_rate_hz
    try:
        for frame in frames:
            ticks += frame.ticks
            at = None
            if base_ticks is not None:
                at = header.epoch_us / 1e6 - (header.anchor_tick - base_ticks - ticks) / rate
            module = (image and image.module(frame)) or f"module {frame.module_bit}"
            seconds = ticks / rate if rate else None
            yield LogLine(seconds, at, frame.level, printable(module), describe(frame, image))
    except CaptureError as error:
        yield LogLine(None, None, Level.ERROR, "gateway", f"the rest can't be read: {error}")


def _can_date(header: LogHeader, buffer: bytes, base_ticks: int) -> bool:
    """Whether header and frames agree on a wall clock time that a calendar has."""
    if not header.epoch_us or not header.tick_rate_hz or header.epoch_us / 1e6 > _NEWEST_YEAR:
        return False
    try:
        ticks = base_ticks + sum(frame.ticks for frame in iter_raw_frames(buffer))
    except CaptureError:
        return False
    earliest = header.epoch_us / 1e6 - header.anchor_tick / header.tick_rate_hz
    return base_ticks >= 0 and ticks <= header.anchor_tick and earliest >= 0


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
