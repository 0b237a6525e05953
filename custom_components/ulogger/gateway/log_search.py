"""What devices logged, searched over all captures that are kept of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from homeassistant.core import HomeAssistant

from ..coordinator import DeviceCoordinator
from ..insight.log_lines import as_fields, moment
from ..insight.reading import LogFrame
from ..insight.search import LARGEST_PAGE, Hit, Query, Search, Source
from .gateway import Gateway
from .summary_file import SummaryRow

AT_A_TIME: Final = 0.2
"""Seconds after which a search lets go of its thread, and goes on when it is its turn again."""
FETCHED: Final = 200
"""Captures of which is fetched at a time what is known of them."""

type _Log = tuple[float, int, int]
"""When a log was captured, the place of its device among those searched, and the capture's ID."""


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A frame that was found, whose it is, what firmware ran, and the capture that it came in."""

    device: DeviceCoordinator
    version: str
    capture_id: int
    captured_at: float
    frame: LogFrame

    def as_dict(self) -> dict[str, Any]:
        """Return it for an answer."""
        return {
            "device": self.device.identity.serial,
            "capture": self.capture_id,
            "captured": moment(self.captured_at),
            **as_fields(self.frame),
        }


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Some of what was found, the newest first, and whether there is more."""

    lines: tuple[FoundLine, ...]
    more: bool


class LogSearch:
    """A search under way; ``opened`` of ``captures`` were looked at so far.

    The captures that came last are first, and in each of them what was logged last. What is known
    of captures is fetched for some of them at a time: objects that live long are what makes Python
    stop the whole of Home Assistant to look for garbage.
    """

    def __init__(self, devices: Sequence[DeviceCoordinator], query: Query) -> None:
        self._devices = devices
        # For as long as this lasts, even where the account is unloaded meanwhile.
        self._gateways: list[Gateway] = [device.account.entry.runtime_data for device in devices]
        self._logs: list[_Log] = []
        self._query = query
        self._fetched = 0
        self._search = Search((), query, done=True)
        self._versions: list[str] = []

    @classmethod
    async def async_begin(
        cls, hass: HomeAssistant, devices: Sequence[DeviceCoordinator], query: Query
    ) -> Self:
        """Find out what there is to search; raises OutboxError where the disk fails."""
        search = cls(devices, query)
        kept = [await device.account.outbox.logs(device.identity.key) for device in devices]
        search._logs = await hass.async_add_executor_job(_newest_first, kept)
        return search

    @property
    def done(self) -> bool:
        """Whether there is nothing left to find."""
        return self._search.done and self._fetched == len(self._logs)

    @property
    def opened(self) -> int:
        """How many captures were looked at."""
        if self._search.done:
            return self._fetched
        return self._fetched - len(self._versions) + self._search.opened

    @property
    def captures(self) -> int:
        """How many captures there are."""
        return len(self._logs)

    async def async_more(self, most: int, seconds: float = AT_A_TIME) -> list[FoundLine]:
        """Search for some seconds at most; returns up to ``most`` further lines, maybe none."""
        until = time.monotonic() + seconds
        lines: list[FoundLine] = []
        while len(lines) < most and not self.done:
            if self._search.done:
                await self._fetch()
            lines += await self._some(most - len(lines), until)
            if time.monotonic() >= until:
                break
        return lines

    async def _some(self, most: int, until: float) -> list[FoundLine]:
        """Search what was fetched."""
        first = self._fetched - len(self._versions)
        # Each device's captures are loaded by its own account; any of them may lend its threads.
        readings = self._gateways[self._logs[first][1]].readings
        hits = await readings.async_with_captures(partial(_search, self._search, most, until))
        return [self._line(first, hit) for hit in hits]

    def _line(self, first: int, hit: Hit) -> FoundLine:
        """Say whose a frame is; in a search, a source has its place here for a number."""
        captured_at, device, capture_id = self._logs[hit.capture_id]
        version = self._versions[hit.capture_id - first]
        return FoundLine(self._devices[device], version, capture_id, captured_at, hit.frame)

    async def _fetch(self) -> None:
        """Fetch what is known of the next captures."""
        begin = self._fetched
        logs = self._logs[begin : begin + FETCHED]
        known: dict[tuple[int, int], SummaryRow] = {}
        for device in {device for _, device, _ in logs}:
            ids = [capture_id for _, whose, capture_id in logs if whose == device]
            rows = await self._gateways[device].readings.async_summaries_of(ids)
            known |= {(device, capture_id): row for capture_id, row in rows.items()}
        sources, self._versions = [], []
        for number, (captured_at, device, capture_id) in enumerate(logs, begin):
            summary = known.get((device, capture_id))
            sources.append(
                _source(number, self._gateways[device], captured_at, capture_id, summary)
            )
            self._versions.append(
                summary.git_version if summary else self._devices[device].identity.git_version
            )
        self._search = Search(sources, self._query)
        self._fetched += len(logs)


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


def _newest_first(kept: Sequence[Sequence[tuple[float, int]]]) -> list[_Log]:
    """Return the logs in the order in which they are searched."""
    logs = [
        (captured_at, device, capture_id)
        for device, those in enumerate(kept)
        for captured_at, capture_id in those
    ]
    logs.sort(key=lambda log: (-log[0], log[1], -log[2]))
    return logs


def _source(
    number: int, gateway: Gateway, captured_at: float, capture_id: int, known: SummaryRow | None
) -> Source:
    """Return a log to search; one that was read before has a summary, which saves opening it."""
    if known is not None and known.captured_at != captured_at:
        known = None
    return Source(
        number,
        captured_at,
        partial(gateway.readings.load, capture_id),
        None,
        None if known is None else known.summary,
        None if known is None else known.before,
        continues=known is not None and known.continues,
        image_of=gateway.images.image_of,
    )


def _search(search: Search, most: int, until: float) -> list[Hit]:
    """Search for a while; blocks."""
    return search.more(most, leave=lambda: time.monotonic() > until)
