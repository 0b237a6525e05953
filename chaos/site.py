"""A UDMI site that is away, frozen, strict, deaf or forgetful, and what it has of each capture."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Final

from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.cloud.service import LocalCloud
from demo.folder import Filed
from demo.udmi.checking import Message
from demo.udmi.comparing import LEVELS
from demo.udmi.door import Way
from demo.udmi.site import LocalSite

from .device import TracedDevice
from .ledger import Ledger
from .verdict import Evidence, Outage

STOPPED, FROZEN, REFUSES, MUTE, UNLISTS = "stopped", "frozen", "refuses", "mute", "unlists"
WAYS: Final = (STOPPED, FROZEN, REFUSES, MUTE, UNLISTS)
_PLACE: Final = re.compile(r"capture (\d+)(?:, frame (\d+))?\b")
_CRASH: Final = -1
"""Stands for the entry of a core dump among the numbers of frames."""


class FrailSite:
    """A local site with one gateway, the times when it took nothing, and what came."""

    def __init__(self, directory: Path, devices: int) -> None:
        # A token of a gateway whose clock is a day off would be refused, and rightly so.
        self.site = LocalSite(directory, way=Way.BASIC)
        for number in range(1, devices + 1):
            self.site.expect(f"BLE-{number}", {"system": {"min_loglevel": 100}})
        self.dead: list[Outage] = []
        self.evidence = Evidence()
        self._seen = 0
        self._came: dict[int, dict[int, list[float]]] = {}
        self._wanted: dict[int, set[int]] = {}

    @contextlib.asynccontextmanager
    async def unusable(self, how: str) -> AsyncIterator[None]:
        """Have it be unusable inside, in one of the ``WAYS``."""
        start = time.time()
        site = self.site
        listed = list(site.gateway.config["gateway"]["proxy_ids"])
        try:
            if how == STOPPED:
                await site.broker.astop()
            elif how == FROZEN:
                site.broker.freeze()
            elif how == REFUSES:
                site.gate.refusing = True
                await site.gate.drop()
            elif how == MUTE:
                site.gate.mute = True
            else:
                await site.configure(site.gateway_id, gateway={"proxy_ids": []})
            yield
        finally:
            if how == STOPPED:
                await asyncio.shield(asyncio.create_task(site.broker.astart()))
            elif how == FROZEN:
                site.broker.thaw()
            elif how == MUTE:
                # What was acknowledged and not heard is on nobody's way any more.
                site.gate.mute = False
                await asyncio.shield(asyncio.create_task(site.gate.drop()))
            elif how == UNLISTS:
                wanted = {"proxy_ids": listed}
                await asyncio.shield(
                    asyncio.create_task(site.configure(site.gateway_id, gateway=wanted))
                )
            site.gate.refusing = False
            outage = Outage(start, time.time())
            self.dead.append(outage)
            self.evidence.outages.append(outage)

    def came(self) -> dict[int, dict[int, list[float]]]:
        """Return of each capture when each of its frames came (Unix seconds), once or more."""
        messages = self.site.messages
        for message in messages[self._seen :]:
            self._note(message)
        self._seen = len(messages)
        return self._came

    def _note(self, message: Message) -> None:
        if message.rest != "events/system" or message.document is None:
            return
        for entry in message.document.get("logentries", ()):
            if found := _PLACE.match(entry.get("detail", "")):
                number = _CRASH if found[2] is None else int(found[2])
                frames = self._came.setdefault(int(found[1]), {})
                frames.setdefault(number, []).append(message.at)

    def complete(self, filed: Mapping[int, Filed]) -> set[int]:
        """Return the captures of which all entries are there."""
        came = self.came()
        return {
            capture_id
            for capture_id, file in filed.items()
            if self._frames(file) <= came.get(capture_id, {}).keys()
        }

    def _frames(self, file: Filed) -> set[int]:
        """Return the numbers of the frames of a capture that become entries."""
        if file.capture_id not in self._wanted:
            wanted = {_CRASH}
            if file.kind is CaptureKind.LOG:
                capture = Capture(file.kind, DeviceIdentity(0, file.serial), file.data, 0.0)
                wanted = {each.number for each in read(capture).frames if each.level in LEVELS}
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
        ledger.foreign += [*self.site.invalid, *self.site.gate.faulty]
        arrivals = []
        for capture_id, frames in self.came().items():
            if (file := filed.get(capture_id)) is None:
                ledger.foreign.append(f"entries of capture {capture_id}, which is in no folder")
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
