"""What devices logged, searched over all captures that are kept of them."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from homeassistant.core import HomeAssistant

from ..coordinator import DeviceCoordinator
from ..insight.log_lines import as_fields, moment
from ..insight.reading import LogFrame
from ..insight.search import LARGEST_PAGE, Hit, Query, Search, Source
from ..model.capture import CaptureKind
from ..outbox.model import Row
from .gateway import Gateway
from .summary_file import SummaryRow

AT_A_TIME: Final = 0.2
"""Seconds after which a search lets go of its thread, and goes on when it is its turn again."""


type _Run = Callable[[Callable[[], list[Hit]]], Awaitable[list[Hit]]]


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A frame that was found, whose it is, the capture that it came in, and what firmware ran."""

    device: DeviceCoordinator
    row: Row
    version: str
    frame: LogFrame

    def as_dict(self) -> dict[str, Any]:
        """Return it for an answer."""
        return {
            "device": self.device.identity.serial,
            "capture": self.row.capture_id,
            "captured": moment(self.row.captured_at),
            **as_fields(self.frame),
        }


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Some of what was found, the newest first, and whether there is more."""

    lines: tuple[FoundLine, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of a device, and what is known of it without opening it."""

    device: DeviceCoordinator
    gateway: Gateway
    rows: list[Row]
    summaries: list[SummaryRow]


class LogSearch:
    """A search under way; ``opened`` of ``captures`` were looked at so far.

    The captures that came last are first, and in each of them what was logged last.
    """

    def __init__(
        self, run: _Run | None, found: list[tuple[DeviceCoordinator, Row, str]], search: Search
    ) -> None:
        self._run = run
        self._found = found
        self._search = search

    @classmethod
    async def async_begin(
        cls, hass: HomeAssistant, devices: Sequence[DeviceCoordinator], query: Query
    ) -> Self:
        """Find out what there is to search; raises OutboxError where the disk fails."""
        kept = [await _kept(device) for device in devices]
        if not kept:
            return cls(None, [], Search((), query))
        found, search = await hass.async_add_executor_job(_begin, kept, query)
        # Each device's captures are loaded by its own account; any of them may lend its threads.
        return cls(kept[0].gateway.readings.async_with_captures, found, search)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to find."""
        return self._run is None or self._search.done

    @property
    def opened(self) -> int:
        """How many captures were looked at."""
        return len(self._found) if self.done else self._search.opened

    @property
    def captures(self) -> int:
        """How many captures there are."""
        return len(self._found)

    async def async_more(self, most: int, seconds: float = AT_A_TIME) -> list[FoundLine]:
        """Search for some seconds at most; returns up to ``most`` further lines, maybe none."""
        if self._run is None:
            return []
        hits = await self._run(partial(_search, self._search, most, seconds))
        return [FoundLine(*self._found[hit.capture_id], hit.frame) for hit in hits]


async def async_search_logs(
    hass: HomeAssistant, devices: Sequence[DeviceCoordinator], query: Query
) -> FoundPage:
    """Return one page of what devices logged; raises OutboxError where the disk fails."""
    search = await LogSearch.async_begin(hass, devices, query)
    limit = max(1, min(query.limit, LARGEST_PAGE))
    start = (max(query.page, 1) - 1) * limit
    lines: list[FoundLine] = []
    while not search.done and len(lines) <= start + limit:
        lines += await search.async_more(start + limit + 1 - len(lines))
    return FoundPage(tuple(lines[start:][:limit]), len(lines) > start + limit)


async def _kept(device: DeviceCoordinator) -> _Kept:
    gateway: Gateway = device.account.entry.runtime_data
    key = device.identity.key
    rows = await device.account.outbox.listing(key)
    return _Kept(device, gateway, rows, await gateway.readings.async_summaries(key))


def _begin(
    kept: Sequence[_Kept], query: Query
) -> tuple[list[tuple[DeviceCoordinator, Row, str]], Search]:
    """Return the logs in the order in which they are searched, and the search; blocks.

    In a search a source has its place in that list for a number: accounts count their own.
    """
    found = [
        (each, row, known.get(row.capture_id))
        for each in kept
        for known in [{summary.capture_id: summary for summary in each.summaries}]
        for row in each.rows
        if row.kind is CaptureKind.LOG
    ]
    found.sort(key=lambda one: -one[1].captured_at)
    sources = [
        _source(number, each.gateway, row, summary)
        for number, (each, row, summary) in enumerate(found)
    ]
    versions = (
        summary.git_version if summary else each.device.identity.git_version
        for each, _row, summary in found
    )
    named = [
        (each.device, row, version) for (each, row, _), version in zip(found, versions, strict=True)
    ]
    return named, Search(sources, query)


def _source(number: int, gateway: Gateway, row: Row, known: SummaryRow | None) -> Source:
    """Return a log to search; one that was read before has a summary, which saves opening it."""
    if known is not None and known.captured_at != row.captured_at:
        known = None
    return Source(
        number,
        row.captured_at,
        partial(gateway.readings.load, row.capture_id),
        None,
        None if known is None else known.summary,
        None if known is None else known.before,
        continues=known is not None and known.continues,
        image_of=gateway.images.image_of,
    )


def _search(search: Search, most: int, seconds: float) -> list[Hit]:
    """Search for a while; blocks."""
    until = time.monotonic() + seconds
    return search.more(most, leave=lambda: time.monotonic() > until)
