"""A collector that is away, overloaded, strict or hangs up, and what it has of each capture."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from random import Random
from typing import Final

from aiohttp import web

from custom_components.ulogger.cloud.otlp.gauges import measured
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.cloud.service import LocalCloud
from demo.folder import Filed
from demo.otlp import LocalCollector, Record

from .device import TracedDevice
from .ledger import Ledger
from .verdict import Evidence, Outage

STOPPED, OVERLOADED, REFUSES, LEADS_AWAY, HANGS_UP = (
    "stopped",
    "overloaded",
    "refuses",
    "leads_away",
    "hangs_up",
)
WAYS: Final = (STOPPED, OVERLOADED, REFUSES, LEADS_AWAY, HANGS_UP)
_STATUSES: Final = {OVERLOADED: 503, REFUSES: 401, LEADS_AWAY: 307}
_CRASH: Final = -1
"""Stands for the record of a core dump among the numbers of frames."""


class FrailCollector:
    """A local collector, the times when it took nothing, and what came."""

    def __init__(self) -> None:
        self.collector = LocalCollector()
        self.dead: list[Outage] = []
        self.evidence = Evidence()
        self._seen = 0
        self._came: dict[int, dict[int, list[float]]] = {}
        self._wanted: dict[int, set[int]] = {}

    @contextlib.asynccontextmanager
    async def unusable(self, how: str) -> AsyncIterator[None]:
        """Have it be unusable inside, in one of the ``WAYS``."""
        start = time.time()
        try:
            if how == STOPPED:
                await self.collector.stop()
            elif how == HANGS_UP:
                self.collector.hangs_up = True
            else:
                status = _STATUSES[how]

                async def answer(_request: web.Request, _number: int) -> web.Response:
                    headers = {"Retry-After": "2", "Location": "http://127.0.0.1:9/v1/logs"}
                    return web.Response(status=status, headers=headers)

                self.collector.answer = answer
            yield
        finally:
            if how == STOPPED:
                await asyncio.shield(asyncio.create_task(self.collector.start()))
            self.collector.answer = None
            self.collector.hangs_up = False
            outage = Outage(start, time.time())
            self.dead.append(outage)
            self.evidence.outages.append(outage)

    def came(self) -> dict[int, dict[int, list[float]]]:
        """Return of each capture when each of its frames came (Unix seconds), once or more."""
        records = self.collector.received.records
        for record in records[self._seen :]:
            self._note(record)
        self._seen = len(records)
        return self._came

    def _note(self, record: Record) -> None:
        capture_id = record.attributes.get("ulogger.capture.id", 0)
        number = record.attributes.get("ulogger.frame.number", _CRASH)
        self._came.setdefault(capture_id, {}).setdefault(number, []).append(record.at)

    def complete(self, filed: Mapping[int, Filed]) -> set[int]:
        """Return the captures of which all records are there."""
        came = self.came()
        return {
            capture_id
            for capture_id, file in filed.items()
            if self._frames(file) <= came.get(capture_id, {}).keys()
        }

    def _frames(self, file: Filed) -> set[int]:
        """Return the numbers of the frames of a capture that become records."""
        if file.capture_id not in self._wanted:
            wanted = {_CRASH}
            if file.kind is CaptureKind.LOG:
                capture = Capture(file.kind, DeviceIdentity(0, file.serial), file.data, 0.0)
                frames = read(capture).frames
                wanted = {frame.number for frame in frames if measured(frame) is None}
            self._wanted[file.capture_id] = wanted
        return self._wanted[file.capture_id]

    def ledger(
        self,
        cloud: LocalCloud,
        devices: Mapping[str, TracedDevice],
        filed: Mapping[int, Filed],
    ) -> Ledger:
        """Return what came as a ledger; the folder's files tell which bytes a number stands for."""
        ledger = Ledger(cloud, dict(devices))
        ledger.foreign += self.collector.received.invalid
        arrivals = []
        for capture_id, frames in self.came().items():
            if (file := filed.get(capture_id)) is None:
                ledger.foreign.append(f"records of capture {capture_id}, which is in no folder")
                continue
            if extra := frames.keys() - self._frames(file):
                ledger.foreign.append(f"capture {capture_id} has frames {sorted(extra)[:5]} more")
            for copy in range(max(map(len, frames.values()))):
                at = min(times[copy] for times in frames.values() if len(times) > copy)
                arrivals.append((at, file))
        for at, file in sorted(arrivals, key=lambda each: each[0]):
            ledger.note(file.serial, file.kind, file.data, at)
        return ledger


def pick(random: Random) -> str:
    """Choose a way to be unusable."""
    return random.choice(WAYS)
