"""Gateways that hear the same devices: each with its scheduler, all on one virtual clock.

A device takes one connection and is silent meanwhile. What a gateway does is what the integration
does: the scheduler says who begins, `AgentSession` collects, failures back off by chance.
"""

import asyncio
from dataclasses import dataclass, field
from random import Random

from custom_components.ulogger.agent.errors import AgentError
from custom_components.ulogger.agent.memory import TransferMemory
from custom_components.ulogger.agent.session import AgentSession
from custom_components.ulogger.collecting.schedule import FIRST_RETRY, START_SPREAD
from custom_components.ulogger.model.backoff import Backoff, never
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.radio.presence import is_quiet
from custom_components.ulogger.radio.scheduler import LOOK_AGAIN, Candidate, Scheduler
from custom_components.ulogger.radio.slots import Path, Scanner
from custom_components.ulogger.radio.urgency import Urgency
from demo.device.firmware import Firmware
from demo.device.link import SimulatedClient
from demo.device.log_memory import LogMemory
from demo.device.radio import Air
from demo.device.samples import sample_frames

CONNECT = (0.7, 2.5)
"""Seconds that a connection takes to come up."""
CONNECT_TIMEOUT = 20.0
"""Seconds that an attempt lasts to connect to a device that has another host."""
ADVERTISES_EVERY = 0.1


class SharedDevice:
    """A device that always has something: when it was emptied, it logs as much again."""

    def __init__(self, number: int, refill: int) -> None:
        loop = asyncio.get_running_loop()
        self.identity = DeviceIdentity(42, f"S{number:03}", "Sensor", "1.0", "abc")
        self.firmware = Firmware(self.identity, schedule=loop)
        self.silent_since: float | None = None
        self.logged = b""
        self.collected = b""
        self._refill = refill
        self._seed = number
        self.log_on()

    @property
    def address(self) -> str:
        return self.identity.serial

    def log_on(self) -> None:
        """Log, until the log is full enough."""
        self._seed += 1000
        frames = sample_frames(self._refill, seed=self._seed)
        if self.firmware.append_log(frames):
            self.logged += frames


@dataclass(eq=False)
class OneGateway:
    """One gateway with some slots, and the devices that it hears."""

    devices: list[SharedDevice]
    random: Random
    slots: int = 3
    interval: float = 60.0
    scheduler: Scheduler = field(default_factory=Scheduler)
    sessions: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    in_a_row: int = 0

    def __post_init__(self) -> None:
        self._wake = asyncio.Event()
        self._memories = {each.address: TransferMemory() for each in self.devices}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard: dict[str, int] = {}
        self._taken: set[str] = set()
        for each in self.devices:
            self.scheduler.plan(self._candidate(each), Urgency.USUAL, not_before=0.0)

    async def run(self) -> None:
        """Collect for ever."""
        loop = asyncio.get_running_loop()
        while True:
            scanner = Scanner("proxy", self.slots, frozenset(self._taken))
            self.scheduler.begin_what_may(loop.time(), [scanner])
            moment = self.scheduler.wake_at(loop.time())
            self._wake.clear()
            try:
                # What fell silent is heard again at some time: as the advertisement would tell.
                limit = min(moment or loop.time() + LOOK_AGAIN, loop.time() + 1.0)
                async with asyncio.timeout_at(max(limit, loop.time() + 0.01)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _candidate(self, device: SharedDevice) -> Candidate:
        loop = asyncio.get_running_loop()

        def paths() -> list[Path]:
            silence = 0.0 if device.silent_since is None else loop.time() - device.silent_since
            return [] if is_quiet(silence, ADVERTISES_EVERY, 0.0) else [Path("proxy", -60.0)]

        def begin(_: Path) -> None:
            self._taken.add(device.address)
            task = asyncio.create_task(self._session(candidate, device))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        candidate = Candidate(lambda: device.address, paths, begin)
        return candidate

    async def _session(self, candidate: Candidate, device: SharedDevice) -> None:
        good = False
        try:
            good = await self._collect(device)
        finally:
            self._taken.discard(device.address)
            self.scheduler.ended(candidate)
            self._plan(candidate, device, good=good)
            self._wake.set()

    def _plan(self, candidate: Candidate, device: SharedDevice, *, good: bool) -> None:
        now = asyncio.get_running_loop().time()
        if good:
            self.sessions += 1
            self.failures[device.address] = 0
            delay = self.interval - self.random.uniform(0, START_SPREAD)
        else:
            failures = self.failures[device.address] = self.failures.get(device.address, 0) + 1
            self.in_a_row = max(self.in_a_row, failures)
            delay = Backoff(FIRST_RETRY, self.interval, never).delay(failures)
            delay *= self.random.uniform(0.9, 1.1)
        self.scheduler.plan(candidate, Urgency.USUAL, not_before=now + delay)

    async def _collect(self, device: SharedDevice) -> bool:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.random.uniform(*CONNECT))
        if not device.firmware.advertising:
            await asyncio.sleep(CONNECT_TIMEOUT)
            return False
        session: AgentSession | None = None
        client = SimulatedClient(
            device.firmware,
            Air(interval=0.015, seed=self.random.randrange(1000)),
            disconnected=lambda: session and session.link_lost(),
        )
        await client.connect()
        device.silent_since = loop.time()
        try:
            session = AgentSession(client, memory=self._memories[device.address])
            async for pending in session.captures(device.identity):
                async with pending as capture:
                    device.firmware.committed(capture.kind, capture.data)
                device.collected += LogMemory.frames_of(capture.data)
                device.log_on()
        except AgentError:
            return False
        finally:
            await client.disconnect()
            device.silent_since = None
        return True
