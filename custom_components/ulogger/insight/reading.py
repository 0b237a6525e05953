"""A reading: what a capture says, frame by frame, as far as it can be read.

Readings are derived from captures whenever they are needed and are never kept on disk. Damage
ends them with its reason; reading raises nothing, whatever the bytes are.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from ..capture.core_dump import CoreDumpHeader, check_core_dump
from ..capture.errors import CaptureError, ChecksumMismatch
from ..capture.frames import Argument, Frame, iter_frames_as_far_as_they_go
from ..capture.log_buffer import LogHeader, check_log
from ..firmware.format_strings import render
from ..firmware.symbols import Symbols
from ..model.capture import Capture, CaptureKind
from ..model.level import Level
from .dating import Anchor, Timeline, timeline
from .text import describe, printable

LONGEST_TEXT: Final = 1024
"""Characters of a frame's text; what is longer is cut."""
MOST_TEXT: Final = 500_000
"""Characters of format strings and texts in one reading, so that a hostile image is borne."""


class Damage(NamedTuple):
    """Why a reading ends before its capture does, or can't be relied on."""

    reason: str
    """The error's reason, as in ``capture.errors``."""
    message: str


class MetricReading(NamedTuple):
    """A named number that a device measured; ``at`` is Unix time where it is known."""

    name: str
    value: int | float
    at: float | None
    uncertainty: float | None


class LogFrame(NamedTuple):
    """One frame as it is read.

    ``number`` counts from 0 within the capture. ``seconds`` go from the device's boot or last
    anchor, ``at`` is Unix time and right within ``uncertainty`` seconds; each is None where the
    buffer does not tell. ``module_name`` and ``text`` need a firmware image that has them; text
    is on one line and without control characters.
    """

    number: int
    frame: Frame
    seconds: float | None
    at: float | None
    uncertainty: float | None
    module_name: str | None
    text: str | None

    @property
    def level(self) -> Level:
        """How important it is."""
        return self.frame.level

    @property
    def module(self) -> int:
        """The number of the module that logged it."""
        return self.frame.module_bit

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Its values, with their types."""
        return self.frame.arguments

    @property
    def address(self) -> int:
        """Where its format string lies in the firmware image."""
        return self.frame.address

    @property
    def metric(self) -> MetricReading | None:
        """The metric that it carries, if it does; one without a name or a finite value is none."""
        metric = self.frame.metric
        if metric is None or not math.isfinite(metric.value):
            return None
        name = printable(metric.name).strip()
        if not name:
            return None
        return MetricReading(name, metric.value, self.at, self.uncertainty)

    @property
    def message(self) -> str:
        """What is shown to a person, with an image or without."""
        if self.text is None or self.frame.metric or self.frame.is_heartbeat:
            return describe(self.frame)
        return self.text


@dataclass(frozen=True, slots=True)
class Reading:
    """What a capture says.

    A core dump has no frames. ``anchor`` is what the next log of the same device is dated by.
    """

    kind: CaptureKind
    header: LogHeader | CoreDumpHeader | None
    frames: tuple[LogFrame, ...] = ()
    damage: Damage | None = None
    anchor: Anchor | None = None

    @property
    def metrics(self) -> Iterator[MetricReading]:
        """The metrics in the order in which they were logged."""
        return (metric for frame in self.frames if (metric := frame.metric) is not None)

    @property
    def levels(self) -> Mapping[Level, int]:
        """How many frames there are of each level that occurs."""
        return Counter(frame.level for frame in self.frames)


def read(
    capture: Capture,
    image: Symbols | None = None,
    before: Anchor | None = None,
    *,
    continues: bool = False,
) -> Reading:
    """Return what a capture says.

    ``before`` and ``continues`` tell of the log that was taken off the device before, as
    ``dating.timeline`` explains; an image that is not this firmware's gives wrong text.
    """
    if capture.kind is not CaptureKind.LOG:
        return _read_core_dump(capture.data)
    try:
        header = LogHeader.parse(capture.data)
    except CaptureError as error:
        return Reading(capture.kind, None, damage=_damage(error))
    frames, damage = _frames(capture.data)
    dated = None
    if damage is None or damage.reason != ChecksumMismatch.reason:
        total = sum(frame.ticks for frame in frames)
        dated = timeline(header, total, capture.captured_at, before, continues=continues)
    reader = FrameReader(image)
    since = accumulate(frame.ticks for frame in frames)
    read_frames = tuple(
        reader.read(number, frame, ticks, header, dated)
        for number, (frame, ticks) in enumerate(zip(frames, since, strict=True))
    )
    return Reading(capture.kind, header, read_frames, damage, dated and dated.anchor)


class FrameReader:
    """Puts times, names and text to the frames of one log."""

    def __init__(self, image: Symbols | None) -> None:
        self._image = image
        self._formats: dict[int, str | None] = {}
        self._modules = (
            {} if image is None else {bit: printable(name) for bit, name in image.modules.items()}
        )
        self._left = MOST_TEXT

    def read(
        self, number: int, frame: Frame, ticks: int, header: LogHeader, dated: Timeline | None
    ) -> LogFrame:
        """Return a frame so many ticks after the tick that the log's first one counts from."""
        at, uncertainty = dated.at(ticks) if dated else (None, None)
        seconds = ticks / header.tick_rate_hz if header.tick_rate_hz else None
        name = self._modules.get(frame.module_bit)
        text = None if self._image is None else self.text(frame)
        return LogFrame(number, frame, seconds, at, uncertainty, name, text)

    def format_string(self, address: int) -> str | None:
        """Return the format string at an address, None where there is no image or no string."""
        if address not in self._formats:
            found = None if self._image is None else self._image.format_string(address)
            self._left -= len(found or "")
            self._formats[address] = found
        return self._formats[address]

    def text(self, frame: Frame) -> str | None:
        """Return a frame's text, None where the image has none or there is too much of it."""
        if self._image is None or frame.malformed or self._left <= 0:
            return None
        found = self.format_string(frame.address)
        if found is None:
            return None
        text = render(found, frame.arguments)
        self._left -= len(text) + len(found) // 8
        return printable(text[:LONGEST_TEXT])


def _frames(buffer: bytes) -> tuple[list[Frame], Damage | None]:
    """Read frames as far as they go, and say why not further."""
    frames: list[Frame] = []
    try:
        for frame in iter_frames_as_far_as_they_go(buffer):
            frames.append(frame)  # noqa: PERF402 - what came before an error is kept
        check_log(buffer)
    except CaptureError as error:
        return frames, _damage(error)
    return frames, None


def _read_core_dump(data: bytes) -> Reading:
    try:
        return Reading(CaptureKind.CORE_DUMP, check_core_dump(data))
    except CaptureError as error:
        damage = _damage(error)
    try:
        return Reading(CaptureKind.CORE_DUMP, CoreDumpHeader.parse(data), damage=damage)
    except CaptureError:
        return Reading(CaptureKind.CORE_DUMP, None, damage=damage)


def _damage(error: CaptureError) -> Damage:
    return Damage(error.reason, str(error))
