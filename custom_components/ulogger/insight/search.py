"""Looking through what devices logged, the newest first, without decoding what can't match.

Three sieves, each cheaper than the next: the summary tells whether a capture can hold a match,
the first bytes of a frame tell its level, module and format string, and only what is left has
its arguments read and its text made. A search gives its answers as it finds them and can be left
and taken up again, so that the first ones are there long before the last capture was opened.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, NamedTuple

from ..capture.errors import CaptureError
from ..capture.frames import FrameHead, frame_at, has_string, iter_frame_heads_as_far_as_they_go
from ..capture.log_buffer import LogHeader
from ..firmware.format_strings import may_contain
from ..firmware.symbols import Symbols
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceIdentity
from ..model.level import Level
from .dating import Anchor, timeline
from .reading import FrameReader, LogFrame
from .summary import Summary
from .text import UNREADABLE

LARGEST_PAGE: Final = 1_000
BREATH: Final = 0.0001
"""Seconds between two captures, in which other threads can run."""

_METRICS: Final = Level.METRIC << 5
"""From here on a frame is no line of text; what is shown of it may not be its format string."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; what is None does not matter.

    ``since`` and ``until`` are Unix time; a frame that can't be dated counts as logged when its
    capture arrived. ``level`` is the lowest severity, and METRIC finds metrics alone, which
    have none. ``module`` is a number or a name, ``contains`` a part of what is shown of the
    frame, both whatever their case. ``page`` counts from 1.
    """

    since: float | None = None
    until: float | None = None
    level: Level | None = None
    module: int | str | None = None
    contains: str | None = None
    limit: int = 100
    page: int = 1

    def wants_level(self, level: Level) -> bool:
        """Whether frames of a level are looked for."""
        if self.level is None:
            return True
        if self.level is Level.METRIC or level > Level.CRITICAL:
            return level is self.level
        return level >= self.level

    def wants_time(self, at: float) -> bool:
        """Whether a moment lies in the time that is looked at."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Source:
    """One capture to look through; ``load`` reads it from disk, and may say that it is gone.

    ``before`` and ``continues`` date its frames, as ``dating.timeline`` explains. Where it is
    known only from the capture which ``image`` it needs, ``image_of`` finds it then.
    """

    capture_id: int
    captured_at: float
    load: Callable[[], Capture | None]
    image: Symbols | None = None
    summary: Summary | None = None
    before: Anchor | None = None
    continues: bool = False
    image_of: Callable[[DeviceIdentity], Symbols | None] | None = None


class Hit(NamedTuple):
    """A frame that was found, and the capture that it is in."""

    capture_id: int
    frame: LogFrame


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what was found, the newest first, and whether there is more."""

    hits: tuple[Hit, ...]
    more: bool


@dataclass
class Search:
    """A search under way: sources have to come the newest first."""

    sources: Iterable[Source]
    query: Query
    done: bool = False
    opened: int = 0
    """Captures that were looked at, or that their summary ruled out."""
    _found: Iterator[Hit | None] = field(init=False)

    def __post_init__(self) -> None:
        """Begin, without opening anything yet."""
        self._found = self._steps()

    def more(self, most: int, *, leave: Callable[[], bool] | None = None) -> list[Hit]:
        """Return up to ``most`` further frames; ``done`` tells that there are none after them.

        ``leave`` is asked after each capture that was opened whether to come back with what
        there is. Then other threads have their turn, so that an event loop is not held up.
        """
        hits: list[Hit] = []
        while len(hits) < most:
            try:
                hit = next(self._found)
            except StopIteration:
                self.done = True
                break
            if hit is not None:
                hits.append(hit)
                continue
            time.sleep(BREATH)
            if leave is not None and leave():
                break
        return hits

    def __iter__(self) -> Iterator[Hit]:
        """Yield everything that is found from here on."""
        while not self.done:
            yield from self.more(1)

    def _steps(self) -> Iterator[Hit | None]:
        """Yield what is found, and None after each capture that was opened."""
        for source in self.sources:
            self.opened += 1
            if source.summary is None or _can_hold(source, source.summary, self.query):
                yield from _hits(source, self.query)
                yield None


def search(sources: Iterable[Source], query: Query) -> Page:
    """Return one page of the frames that a query asks for, whatever it asks."""
    limit = max(1, min(query.limit, LARGEST_PAGE))
    start = (max(query.page, 1) - 1) * limit
    hits = tuple(islice(Search(sources, query), start, start + limit + 1))
    return Page(hits[:limit], len(hits) > limit)


def _can_hold(source: Source, summary: Summary, query: Query) -> bool:
    """Whether a capture's summary leaves it open that there is a match in it."""
    if not any(summary.levels[level] for level in Level if query.wants_level(level)):
        return False
    if not summary.modules & _modules_of(source, query):
        return False
    first = source.captured_at if summary.since is None else summary.since
    last = source.captured_at if summary.until is None else summary.until
    return (query.since is None or last >= query.since) and (
        query.until is None or first < query.until
    )


def _hits(source: Source, query: Query) -> Iterator[Hit]:
    """Yield the frames of one capture that match, the newest first."""
    capture = source.load()
    if capture is None or capture.kind is not CaptureKind.LOG:
        return
    if source.image is None and source.image_of is not None:
        source = replace(source, image=source.image_of(capture.device))
    heads: list[FrameHead] = []
    try:
        header = LogHeader.parse(capture.data)
        for head in iter_frame_heads_as_far_as_they_go(capture.data):
            heads.append(head)  # noqa: PERF402 - what came before an error is kept
    except CaptureError:
        if not heads:
            return
    yield from _matching(source, query, capture.data, header, heads)


def _matching(
    source: Source, query: Query, data: bytes, header: LogHeader, heads: list[FrameHead]
) -> Iterator[Hit]:
    total = sum(head.ticks for head in heads)
    dated = timeline(header, total, source.captured_at, source.before, continues=source.continues)
    modules = _modules(query.module, source.image)
    wanted = [
        query.wants_level(level) and modules >> module & 1
        for level in Level
        for module in range(32)
    ]
    timed = query.since is not None or query.until is not None
    reader = FrameReader(source.image)
    sieve = _TextSieve(query.contains, reader)
    ticks = total
    for number in range(len(heads) - 1, -1, -1):
        head = heads[number]
        so_far, ticks = ticks, ticks - head.ticks
        if not (wanted[head.level_and_module] and sieve.may_match(head, data)):
            continue
        if timed and not query.wants_time(dated.at(so_far)[0] if dated else source.captured_at):
            continue
        frame = reader.read(number, frame_at(data, head.offset), so_far, header, dated)
        if sieve.matches(frame):
            yield Hit(source.capture_id, frame)


def wants(query: Query, image: Symbols | None = None) -> Callable[[LogFrame], bool]:
    """Return what tells whether a frame has the level, module and text that are looked for."""
    modules = _modules(query.module, image)
    text = (query.contains or "").casefold()
    return lambda frame: bool(
        query.wants_level(frame.level)
        and modules >> frame.module & 1
        and text in frame.message.casefold()
    )


class _TextSieve:
    """Tells which frames can have a text in them, by their format string alone where possible."""

    def __init__(self, contains: str | None, reader: FrameReader) -> None:
        self._wanted = (contains or "").casefold()
        self._reader = reader
        self._verdicts: dict[int, bool] = {}

    def may_match(self, head: FrameHead, data: bytes) -> bool:
        """Whether a frame of which only the head is known has to be looked at."""
        if not self._wanted or head.level_and_module >= _METRICS:
            return True
        if (verdict := self._verdicts.get(head.address)) is None:
            text = self._reader.format_string(head.address)
            verdict = text is None or self._wanted in UNREADABLE or may_contain(text, self._wanted)
            self._verdicts[head.address] = verdict
        # With a wrong image there may be a string where the format string has a number.
        return verdict or has_string(data, head.offset)

    def matches(self, frame: LogFrame) -> bool:
        """Whether the text is in what is shown of a frame."""
        return not self._wanted or self._wanted in frame.message.casefold()


def _modules_of(source: Source, query: Query) -> int:
    """Return a bit for each module that is looked for; a name means any until there is an image."""
    named = isinstance(query.module, str) and not query.module.isdecimal()
    if named and source.image is None and source.image_of is not None:
        return 0xFFFF_FFFF
    return _modules(query.module, source.image)


def _modules(module: int | str | None, image: Symbols | None) -> int:
    """Return a bit for each module that is looked for."""
    if module is None:
        return 0xFFFF_FFFF
    if isinstance(module, str) and not module.isdecimal():
        names = image.modules if image is not None else {}
        return sum(1 << bit for bit, name in names.items() if name.casefold() == module.casefold())
    number = int(module)
    return 1 << number if 0 <= number < 32 else 0
