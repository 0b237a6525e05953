"""How much of a capture a collector has, over restarts.

Only captures stand here that need several requests. Those that have had all of them answered stay
for a while: the note that they are delivered is on its way to the disk.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, override

from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import STORAGE_DIR, Store

from ..cloud.otlp.progress import Progress, Sent
from ..const import DOMAIN
from ..model.capture import Capture

STORAGE_VERSION: Final = 1
MOST_DONE: Final = 64
"""Captures of which all is there; more than are under way at any time."""


class SentParts(Progress):
    """One destination's, in a file of its own."""

    def __init__(self, hass: HomeAssistant, entry_id: str, destination_id: str) -> None:
        name = f"{_prefix(entry_id)}{destination_id}"
        self._store: Store[dict[str, Any]] = Store(
            hass, STORAGE_VERSION, name, private=True, atomic_writes=True
        )
        self._sent: dict[int, tuple[float, Sent]] = {}
        self._done: dict[int, None] = {}
        self._saving = asyncio.Lock()

    @staticmethod
    def of(records: int, gauges: int) -> Sent:
        """Return how much of a capture is there, as it is noted."""
        return Sent(records, gauges)

    async def async_load(self, there: Collection[int]) -> None:
        """Recall what was sent of the captures that are still there."""
        stored = await self._store.async_load() or {}
        for capture_id, fields in stored.items():
            try:
                captured_at, records, gauges = fields
                if int(capture_id) in there:
                    sent = Sent(max(0, int(records)), max(0, int(gauges)))
                    self._sent[int(capture_id)] = (float(captured_at), sent)
            except TypeError, ValueError:
                continue

    async def async_remove(self) -> None:
        """Delete the file."""
        await self._store.async_remove()

    @staticmethod
    async def async_tidy(hass: HomeAssistant, entry_id: str, kept: Collection[str]) -> None:
        """Delete the files of an account's destinations that are there no longer."""
        for gone in await hass.async_add_executor_job(_others, hass, entry_id, kept):
            await SentParts(hass, entry_id, gone).async_remove()

    @override
    def sent(self, capture: Capture, capture_id: int) -> Sent:
        # An outbox that was lost counts from 1 again.
        captured_at, sent = self._sent.get(capture_id, (capture.captured_at, Sent()))
        return sent if captured_at == capture.captured_at else Sent()

    @override
    async def note(self, capture: Capture, capture_id: int, sent: Sent) -> None:
        self._sent[capture_id] = (capture.captured_at, sent)
        self._done.pop(capture_id, None)
        await self._save()

    @override
    async def done(self, capture_id: int) -> None:
        if capture_id in self._sent:
            self._done[capture_id] = None
            while len(self._done) > MOST_DONE:
                oldest = next(iter(self._done))
                del self._done[oldest], self._sent[oldest]

    async def _save(self) -> None:
        # Two devices may have something to note, and each writes the whole file.
        async with self._saving:
            await self._store.async_save(
                {str(each): [at, *sent] for each, (at, sent) in self._sent.items()}
            )


def _prefix(entry_id: str) -> str:
    return f"{DOMAIN}.sent.{entry_id}."


def _others(hass: HomeAssistant, entry_id: str, kept: Collection[str]) -> list[str]:
    """Name the destinations that have a file and are not among those that are kept; blocks."""
    prefix = _prefix(entry_id)
    found = Path(hass.config.path(STORAGE_DIR)).glob(f"{prefix}*")
    return [name for path in found if (name := path.name.removeprefix(prefix)) not in kept]
