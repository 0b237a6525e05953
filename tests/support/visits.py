"""Logs that a device gave one after another, each with the lines since the one before."""

from collections.abc import Sequence
from dataclasses import dataclass

from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from .made_captures import log
from .outbox_world import CLOCK, NOW


@dataclass(frozen=True)
class Visit:
    """A log that the device gave: how long after the one before, and when its lines were logged.

    ``late`` is by how much later than it was made its first chunk arrived, all in ticks.
    """

    after: int
    lines: tuple[tuple[int, bytes], ...]
    late: int = 0


def given_off(
    visits: Sequence[Visit],
    *,
    start: int = 60_000,
    rate: int = 1000,
    clock: bool = True,
    trailer: bytes = b"",
    device: DeviceIdentity = CLOCK,
) -> list[Capture]:
    """Have a device that booted ``start`` ticks before its first log give these logs."""
    captures = []
    anchor = start
    for visit in visits:
        base, anchor = anchor, anchor + visit.after
        frames, last = [], base
        for at, body in sorted((base + at, body) for at, body in visit.lines):
            frames.append((at - last, body))
            last = at
        made = NOW + anchor / rate
        data = log(
            *frames,
            anchor=anchor,
            rate=rate,
            epoch_us=round(made * 1e6) if clock else 0,
            trailer=trailer,
        )
        captures.append(Capture(CaptureKind.LOG, device, data, made + visit.late / rate))
    return captures


def watched(count: int, device: DeviceIdentity = CLOCK, *, after: int = 2000) -> list[Capture]:
    """Have a device that is watched give one line at a time."""
    visits = [Visit(after, ((100, f"line {number}".encode()),)) for number in range(count)]
    return given_off(visits, device=device)
