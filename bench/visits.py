"""Visits to a device that goes on logging, and over links too short for what it has.

Both are on virtual time, against the simulated firmware: its tick runs from the boot, it reads
its log live, and its headers carry the time. A visit is what the integration makes of one:
subscribe, identify, collect, and connect again at once after StaleTransfer.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from statistics import median
from typing import Any

from custom_components.ulogger.agent.errors import AgentError, StaleTransfer
from custom_components.ulogger.agent.memory import TransferMemory
from custom_components.ulogger.agent.session import RECONNECTIONS, AgentSession
from custom_components.ulogger.model.capture import CaptureFault, CaptureKind
from demo.device.firmware import Firmware
from demo.device.link import SimulatedClient
from demo.device.log_memory import LogMemory, Moment
from demo.device.radio import Air
from demo.device.samples import sample_core_dump, sample_frames

from .hosts import DEVICE

CONNECTING = 0.7
"""Seconds from a connect to the first thing that a client can do: discovery."""
LINE_BYTES = 40
SENSIBLE_PAUSE = (20.0, 90.0)
"""Seconds between two visits."""
CHECKSUM_SESSIONS = 3
SLOW = Air(interval=0.05, packets_up=2, packets_down=2)
MOST_SESSIONS = 40


@dataclass
class Desk:
    """A device, and a gateway's notes of it."""

    firmware: Firmware
    memory: TransferMemory = field(default_factory=TransferMemory)
    connections: int = 0
    chunks: int = 0
    commits: list[CaptureKind] = field(default_factory=list)
    quarantined: int = 0
    frames: bytes = b""

    async def visit(self, air: Air, *, connecting: float = 0.0) -> float:
        """Collect everything; returns when the last erase command was answered."""
        for left in reversed(range(1 + RECONNECTIONS)):
            try:
                return await self._connect(air, connecting)
            except StaleTransfer:
                if not left:
                    raise
        raise AssertionError

    async def _connect(self, air: Air, connecting: float) -> float:
        loop = asyncio.get_running_loop()
        session: AgentSession | None = None

        def lost() -> None:
            if session is not None:
                session.link_lost()

        client = SimulatedClient(self.firmware, air, disconnected=lost)
        await client.connect()
        self.connections += 1
        ended = loop.time()
        try:
            await asyncio.sleep(connecting)
            session = AgentSession(
                client,
                memory=self.memory,
                accept_damaged=self.memory.checksum_failures >= CHECKSUM_SESSIONS - 1,
            )
            await session.subscribe()
            identity = await session.identify()
            async for pending in session.captures(identity):
                async with pending as capture:
                    self.firmware.committed(capture.kind, capture.data)
                    self.commits.append(capture.kind)
                    self.quarantined += capture.fault is CaptureFault.CHECKSUM
                    if capture.kind is CaptureKind.LOG:
                        self.frames += LogMemory.frames_of(capture.data)
                ended = loop.time()
        finally:
            session = None
            self.chunks += client.traffic.notifications
            await client.disconnect()
        return ended


def _desk(log_bytes: int = 0, core_dump: bytes | None = None) -> Desk:
    loop = asyncio.get_running_loop()
    firmware = Firmware(
        DEVICE,
        b"",
        core_dump,
        schedule=loop,
        log_region=max(log_bytes, 16 * 1024),
        clock=lambda: Moment(round(loop.time() * 1000)),
    )
    if log_bytes:
        firmware.append_log(sample_frames(log_bytes))
    return Desk(firmware)


async def busy(every: float, *, visits: int = 60, seed: int = 1) -> dict[str, Any]:
    """Visit a device that logs a line ``every`` so many seconds."""
    loop = asyncio.get_running_loop()
    random = Random(seed)  # noqa: S311
    desk = _desk()
    written = bytearray()

    async def log() -> None:
        number = 0
        while True:
            number += 1
            line = sample_frames(LINE_BYTES, seed * 1_000_000 + number)
            if desk.firmware.append_log(line):
                written.extend(line)
            await asyncio.sleep(every)

    logging = asyncio.create_task(log())
    times: list[float] = []
    failed = stale = 0
    for _ in range(visits):
        await asyncio.sleep(random.uniform(*SENSIBLE_PAUSE))
        began = loop.time()
        try:
            times.append(await desk.visit(Air(), connecting=CONNECTING) - began)
        except StaleTransfer:
            stale += 1
        except AgentError:
            failed += 1
    logging.cancel()
    return {
        "bench": "transfer",
        "case": "visits",
        "line_every_s": every,
        "visits": visits,
        "whole": len(times) - desk.quarantined,
        "failed": failed,
        "stale": stale,
        "quarantined": desk.quarantined,
        "connections": desk.connections,
        "median_s": round(median(times), 2) if times else None,
        "frames_intact": bytes(written).startswith(desk.frames),
        "early_erases": desk.firmware.early_erases,
    }


async def resumed(name: str, air: Air, log_bytes: int, dump_bytes: int) -> dict[str, Any]:
    """Visit until everything is there, or too often."""
    dump = sample_core_dump(DEVICE, dump_bytes) if dump_bytes else None
    desk = _desk(log_bytes - 25, dump)
    sessions = 0
    while (desk.firmware.log or desk.firmware.core_dump) and sessions < MOST_SESSIONS:
        sessions += 1
        try:
            await desk.visit(air)
        except AgentError:
            await asyncio.sleep(1.0)
    return {
        "bench": "transfer",
        "case": "resume",
        "link": name,
        "log": log_bytes,
        "dump": dump_bytes,
        "sessions": sessions,
        "chunks": desk.chunks,
        "least_chunks": -(-log_bytes // 16) + -(-dump_bytes // 16),
        "log_commits": desk.commits.count(CaptureKind.LOG),
        "arrived": not desk.firmware.log and not desk.firmware.core_dump,
        "early_erases": desk.firmware.early_erases,
    }


RESUMED: Sequence[tuple[str, Air, int, int]] = (
    ("10 s, 50 ms, 2 packets", replace(SLOW, cut_after_seconds=10.0), 16_384, 0),
    ("20 s, 50 ms, 2 packets", replace(SLOW, cut_after_seconds=20.0), 16_384, 0),
    ("10 s, 50 ms, 2 packets", replace(SLOW, cut_after_seconds=10.0), 16_384, 60_000),
    ("20 s, 50 ms, 2 packets", replace(SLOW, cut_after_seconds=20.0), 16_384, 60_000),
    ("1100 notifications", Air(cut_after_notifications=1100), 16_384, 60_000),
)
"""Links too short for a log, or for a log and the core dump behind it."""
