"""A Pepeunit that is away, frozen, or drops what it acknowledges, and what its log says at last.

A unit's token is good all the time: one that is refused is tried again after ten minutes, and by a
person at once, which takes longer than a storm (`tests/gateway/test_pepeunit.py` has that).
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Final

from demo.cloud.service import LocalCloud
from demo.folder import Filed
from demo.pepeunit.reading import LoggedCapture, frames_of, logged_captures
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit

from .device import TracedDevice
from .ledger import Ledger
from .verdict import Evidence, Outage

STOPPED, FROZEN, DROPPED, DENIED = "stopped", "frozen", "dropped", "denied"
WAYS: Final = (STOPPED, FROZEN, DROPPED, DENIED)
_FRAMES: Final = re.compile(r": (\d+) frames, ")


class FrailPepeunit:
    """A local Pepeunit with one unit, the times when it took nothing, and what came."""

    def __init__(self, directory: Path) -> None:
        self.unit = Unit.make(inputs=["lamp"], outputs=["temperature"])
        self.pepeunit = LocalPepeunit(directory, units=[self.unit])
        self.dead: list[Outage] = []
        self.evidence = Evidence()
        self._clock = time.time() - time.monotonic()

    @contextlib.asynccontextmanager
    async def unusable(self, how: str) -> AsyncIterator[None]:
        """Have it be unusable inside, in one of the ``WAYS``."""
        start = time.time()
        pepeunit = self.pepeunit
        try:
            if how == STOPPED:
                await pepeunit.broker.astop()
            elif how == FROZEN:
                pepeunit.broker.freeze()
            elif how == DROPPED:
                await pepeunit.gate.stop()
            else:
                pepeunit.allow(denied=(self.unit.topic("log"),))
            yield
        finally:
            if how == STOPPED:
                await asyncio.shield(asyncio.create_task(pepeunit.broker.astart()))
            elif how == FROZEN:
                pepeunit.broker.thaw()
            elif how == DROPPED:
                await asyncio.shield(asyncio.create_task(pepeunit.gate.start()))
            else:
                pepeunit.allow()
            outage = Outage(start, time.time())
            self.dead.append(outage)
            self.evidence.outages.append(outage)
            if how == DENIED:
                self.evidence.denials.append(outage)

    def captures(self) -> dict[tuple[str, int], LoggedCapture]:
        """Return what the log has of each capture."""
        captures, _ = logged_captures(self.pepeunit.records(self.unit))
        return captures

    def complete(self) -> set[int]:
        """Return the captures of which everything is there."""
        return {each.capture_id for each in self.captures().values() if is_complete(each)}

    def heads(self) -> Iterable[tuple[int, float]]:
        """Go through the captures each time that one began, with the moment (Unix seconds)."""
        for message in list(self.pepeunit.messages):
            if message.topic == self.unit.topic("log"):
                records = json.loads(message.payload)
                found, _ = logged_captures(records)
                for capture in found.values():
                    if capture.heads:
                        yield capture.capture_id, self._clock + message.at

    def ledger(
        self,
        cloud: LocalCloud,
        devices: Mapping[str, TracedDevice],
        filed: Mapping[int, Filed],
    ) -> Ledger:
        """Return what came as a ledger; the folder's files tell which bytes a number stands for."""
        ledger = Ledger(cloud, dict(devices))
        captures, others = logged_captures(self.pepeunit.records(self.unit))
        ledger.foreign += [f"a record of no capture: {text[:80]}" for text in others]
        ledger.foreign += self.pepeunit.invalid
        for capture in captures.values():
            file = filed.get(capture.capture_id)
            if not is_complete(capture):
                ledger.foreign.append(f"capture {capture.capture_id} is not whole")
            elif file is not None and not capture.is_core_dump:
                wanted = frames_of(file.data)
                if capture.frames[: len(wanted)] != wanted:
                    ledger.foreign.append(f"capture {capture.capture_id} has other frames")
        for capture_id, at in self.heads():
            if (file := filed.get(capture_id)) is not None:
                ledger.note(file.serial, file.kind, file.data, at)
        return ledger


def is_complete(capture: LoggedCapture) -> bool:
    """Whether the log has all frames of a capture, as often as its head."""
    if capture.is_core_dump:
        return True
    found = [int(match[1]) for head in capture.heads if (match := _FRAMES.search(head))]
    if not found:
        return False
    times = len(capture.heads)
    return sorted(number for number, _ in capture.frames) == sorted(list(range(found[0])) * times)


def pick(random: Random) -> str:
    """Choose a way to be unusable."""
    return random.choice(WAYS)
