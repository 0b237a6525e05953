"""Reads what is in the outbox of a Home Assistant that does not run, from a copy."""

import asyncio
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.outbox.model import CaptureState, DeliveryState, Row
from custom_components.ulogger.outbox.outbox import Outbox

from .device import TracedDevice
from .ledger import Content, content_of


async def _run(work: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(work, *arguments)


@dataclass(slots=True)
class Held:
    """What an outbox has of each device's frames, and of each content by its captures."""

    frames: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    captures: dict[Content, set[int]] = field(default_factory=lambda: defaultdict(set))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An outbox at one moment: rows, oldest first, the content and the frames behind each row."""

    rows: list[Row] = field(default_factory=list)
    contents: dict[int, Content] = field(default_factory=dict)
    frames: dict[int, frozenset[int]] = field(default_factory=dict)
    damaged: bool = False

    def waiting(self, destination: str | None = None) -> set[Content]:
        """Return what has not been recorded as delivered to a destination, or to all of them."""
        if destination is not None:
            return set(self.still_for(destination).captures)
        return {
            self.contents[row.capture_id]
            for row in self.rows
            if row.state is not CaptureState.DELIVERED
        }

    def still_for(self, destination: str) -> Held:
        """Return what one destination has yet to get, or has refused; a fault excuses all."""
        held = Held()
        for row in self.rows:
            there = row.deliveries.get(destination)
            if row.fault is None and (there is None or there.state is DeliveryState.DELIVERED):
                continue
            held.frames[row.key[1]] |= self.frames.get(row.capture_id, frozenset())
            held.captures[self.contents[row.capture_id]].add(row.capture_id)
        return held

    def delivered(self, destination: str) -> set[int]:
        """Return the captures that are recorded as delivered to a destination."""
        return {
            row.capture_id
            for row in self.rows
            if (there := row.deliveries.get(destination)) is not None
            and there.state is DeliveryState.DELIVERED
        }


class OutboxReader(Held):
    """Takes snapshots of the outboxes in a directory; a body is read once and remembered.

    ``frames`` are all that were ever seen there, ``captures`` how often each content was.
    """

    def __init__(self, directory: Path, devices: Mapping[str, TracedDevice]) -> None:
        super().__init__()
        self._directory = directory
        self._devices = devices
        self._contents: dict[int, Content] = {}
        self._numbers: dict[int, frozenset[int]] = {}

    async def snapshot(self) -> Snapshot:
        """Copy and read the outbox; the process that had it must have ended."""
        with tempfile.TemporaryDirectory(prefix="ulogger-chaos-") as temporary:
            path = await asyncio.to_thread(self._copy, Path(temporary))
            return Snapshot() if path is None else await self._read(path)

    def _copy(self, target: Path) -> Path | None:
        # Summaries of the captures lie beside it, in "*.readings.sqlite".
        files = [each for each in self._directory.glob("*.sqlite*") if each.name.count(".") == 1]
        for file in files:
            shutil.copy(file, target)
        return next((target / file.name for file in files if file.suffix == ".sqlite"), None)

    async def _read(self, path: Path) -> Snapshot:
        outbox = await Outbox.open(path, _run)
        try:
            rows = (await outbox.listing())[::-1]
            for row in rows:
                if row.capture_id in self._contents:
                    continue
                data = (await outbox.read(row.capture_id)).data
                serial = row.key[1]
                content = content_of(serial, row.kind, data)
                self._contents[row.capture_id] = content
                self.captures[content].add(row.capture_id)
                if row.kind is CaptureKind.LOG:
                    numbers = frozenset(self._devices[serial].frames_in(data) or ())
                    self._numbers[row.capture_id] = numbers
                    self.frames[serial].update(numbers)
            contents = {row.capture_id: self._contents[row.capture_id] for row in rows}
            return Snapshot(rows, contents, self._numbers, outbox.recovered is not None)
        finally:
            await outbox.close()
