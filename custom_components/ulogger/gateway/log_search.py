"""What devices logged, searched over all captures that are kept of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from homeassistant.core import HomeAssistant

from ..coordinator import DeviceCoordinator
from ..insight.log_lines import as_fields, moment
from ..insight.reading import LogFrame
from ..insight.search import LARGEST_PAGE, Query, Search, Source
from ..model.capture import CaptureKind
from ..outbox.model import Row
from .gateway import Gateway

AT_A_TIME: Final = 0.2
"""Seconds after which a search lets go of its thread, and goes on when it is its turn again."""


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A frame that was found, whose it is, and the capture that it came in."""

    device: DeviceCoordinator
    row: Row
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


async def async_search_logs(
    hass: HomeAssistant, devices: Sequence[DeviceCoordinator], query: Query
) -> FoundPage:
    """Return one page of what devices logged; raises OutboxError where the disk fails."""
    found: list[tuple[DeviceCoordinator, Row]] = []
    sources: list[Source] = []
    for device in devices:
        for row, source in await _sources(device):
            found.append((device, row))
            sources.append(source)
    order = sorted(range(len(found)), key=lambda number: -found[number][1].captured_at)
    # In a search a source has its place in the list for a number: accounts count their own.
    search = Search([_numbered(sources[number], number) for number in order], query)
    limit = max(1, min(query.limit, LARGEST_PAGE))
    start = (max(query.page, 1) - 1) * limit
    hits = []
    while not search.done and len(hits) <= start + limit:
        most = start + limit + 1 - len(hits)
        hits += await hass.async_add_executor_job(_search, search, most)
    lines = tuple(FoundLine(*found[hit.capture_id], hit.frame) for hit in hits[start:][:limit])
    return FoundPage(lines, len(hits) > start + limit)


def _search(search: Search, most: int) -> list[Any]:
    """Search for a while; blocks."""
    until = time.monotonic() + AT_A_TIME
    return search.more(most, leave=lambda: time.monotonic() > until)


async def _sources(device: DeviceCoordinator) -> list[tuple[Row, Source]]:
    """Return a device's logs; one that was read before has a summary, which saves opening it."""
    gateway: Gateway = device.account.entry.runtime_data
    readings = gateway.readings
    key = device.identity.key
    rows = await device.account.outbox.listing(key)
    summaries = {row.capture_id: row for row in await readings.async_summaries(key)}
    sources = []
    for row in rows:
        if row.kind is not CaptureKind.LOG:
            continue
        known = summaries.get(row.capture_id)
        if known is not None and known.captured_at != row.captured_at:
            known = None
        source = Source(
            row.capture_id,
            row.captured_at,
            partial(readings.load, row.capture_id),
            None,
            known and known.summary,
            known and known.before,
            continues=known is not None and known.continues,
            image_of=readings.image_of,
        )
        sources.append((row, source))
    return sources


def _numbered(source: Source, number: int) -> Source:
    return replace(source, capture_id=number)
