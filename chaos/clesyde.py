"""A Clesyde whose broker is stopped, frozen or restarted, and what came of captures at last."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Final

from demo.clesyde.platform import Arrival, LocalClesyde
from demo.cloud.service import LocalCloud
from demo.harness import CRASHES, LOGS, THING

from .device import TracedDevice
from .ledger import Ledger
from .verdict import Evidence, Outage

STOPPED, FROZEN, RESTARTED = "stopped", "frozen", "restarted"
WAYS: Final = (STOPPED, FROZEN, RESTARTED)


class FrailClesyde:
    """A local Clesyde, the times when it took nothing, and what came."""

    def __init__(self, directory: Path) -> None:
        self.clesyde = LocalClesyde(directory)
        self.dead: list[Outage] = []
        self.evidence = Evidence()

    @contextlib.asynccontextmanager
    async def unusable(self, how: str) -> AsyncIterator[None]:
        """Have it be unusable inside, in one of the ``WAYS``."""
        start = time.time()
        broker = self.clesyde.broker
        try:
            if how == STOPPED:
                await broker.astop()
            elif how == FROZEN:
                broker.freeze()
            else:
                await broker.arestart()
            yield
        finally:
            if how == FROZEN:
                broker.thaw()
            elif how == STOPPED:
                await asyncio.shield(asyncio.create_task(broker.astart()))
            outage = Outage(start, time.time())
            self.dead.append(outage)
            self.evidence.outages.append(outage)

    def numbers(self) -> set[int]:
        """Return the captures of which everything is there."""
        return {number for number, *_ in self._whole()}

    def ledger(self, cloud: LocalCloud, devices: Mapping[str, TracedDevice]) -> Ledger:
        """Return what came as a ledger."""
        ledger = Ledger(cloud, dict(devices))
        ledger.foreign += self.clesyde.faulty
        for _, serial, kind, data, at in self._whole():
            ledger.note(serial, kind, data, at)
        return ledger

    def _whole(self) -> list[Arrival]:
        if (device := self.clesyde.devices.get(THING)) is None:
            return []
        return self.clesyde.arrivals(device, LOGS, CRASHES)


def pick(random: Random) -> str:
    """Choose a way to be unusable."""
    return random.choice(WAYS)
