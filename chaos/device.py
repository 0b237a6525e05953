"""Devices that repeat themselves on purpose, and of which every frame can be traced all the same.

After every restart the same lines are logged, and every other crash leaves the very same core
dump. What tells one from the other is known here alone: the frames in memory are numbered in the
order they were written, and no two buffers that a device ever offers carry the same tick.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from struct import Struct
from typing import Final, override

from custom_components.ulogger.capture.frames import iter_raw_frames
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.device.firmware import Generation
from demo.device.log_memory import DEFAULT_HEADER, Moment
from demo.device.samples import sample_core_dump
from demo.device.virtual import VirtualDevice

APPLICATION = 42
TICKS_PER_SECOND = 1000
SMALLEST_DUMP, LARGEST_DUMP = 600, 6000
_FRAME = Struct("<HI")
_PAYLOAD = Struct("<BIBBBBHIHHH")
_INFO = 1 << 5
_FORMAT = 0x2000_0040
_UINT16, _UINT32, _STRING = 0x22, 0x24, 0x80


REGION = 16 * 1024
BOOT_LINES = 2
QUIET_SECONDS = 12.0
"""How long a device may be silent after a restart: then it offers the boot's lines and no more."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A version of the firmware agent, as far as its buffers and its erasing go."""

    generation: Generation
    header_version: int
    trailer: bytes = b""


AGENTS: Final = (
    Agent("newer", 4, b"seal"),
    Agent("older", 4),
    Agent("older", 3),
    Agent("older", 2),
)


def mark_of(log: bytes) -> int:
    """Return what no other buffer of the same device has: its tick, or its sequence number."""
    header = LogHeader.parse(log)
    return header.anchor_tick if header.has_anchor else header.sequence_number


class TracedDevice(VirtualDevice):
    """A device that logs on and on; ``frames`` and ``dumps`` are the payloads it has written.

    ``written_frames`` are those of logs as they lie in memory, the first one written first;
    ``offers`` tells, by their marks, which of them were in the buffers that it could offer;
    ``releases`` when (Unix seconds) which of them were erased together, ``dumps_left`` how often
    it has left the same dump. The agents of `AGENTS` take turns.
    Two in three devices have a clock of their own, if their agent can tell the time.
    """

    def __init__(self, number: int, random: Random) -> None:
        self.number = number
        self.frames: set[bytes] = set()
        self.dumps: dict[bytes, int] = {}
        self.dumps_left: Counter[bytes] = Counter()
        self.offers: dict[int, tuple[int, ...]] = {}
        self.written_frames: list[bytes] = []
        self.resets = 0
        self.clock_shift = 0.0
        self.erasing = asyncio.Event()
        self.releases: list[tuple[float, tuple[int, ...]]] = []
        self._random = random
        self._agent = AGENTS[number % len(AGENTS)]
        self._has_clock = number % 3 > 0
        self._booted = asyncio.get_running_loop().time()
        self._quiet_until = 0.0
        self._last_tick = 0
        self._written = 0
        self._held: tuple[int, ...] = ()
        self._consumed: tuple[int, ...] = ()
        identity = DeviceIdentity(APPLICATION, f"CHAOS{number:04}", "Chaos", "1.0.0", "c4a05")
        super().__init__(
            f"C0:DE:0C:A0:{number >> 8:02X}:{number & 255:02X}",
            identity,
            name=f"uLogger Chaos {number}",
            rssi=-50 - number % 40,
            agent=self._agent.generation,
            clock=self._moment,
        )
        header = replace(DEFAULT_HEADER, version=self._agent.header_version)
        self.firmware.write_as(header, self._agent.trailer)
        self._boot()

    def _moment(self) -> Moment:
        """Tell the time for a buffer, at a tick that no other buffer had or will have."""
        tick = max(self._tick(), 1)
        while tick in self.offers:
            tick += 1
        self.offers[tick] = self._held
        epoch = time.time() + self.clock_shift if self._has_clock else 0.0
        return Moment(tick, round(epoch * 1_000_000))

    def _tick(self) -> int:
        seconds = asyncio.get_running_loop().time() - self._booted
        return round(seconds * TICKS_PER_SECOND)

    def _boot(self) -> None:
        """Log what is logged at every start, at the same ticks and then perhaps nothing more."""
        loop = asyncio.get_running_loop()
        self._booted = loop.time()
        self._last_tick = 0
        for line in range(BOOT_LINES):
            self._log(self._payload(0xFFFF_FFFF - line, b"boot"), 0)
        self._quiet_until = loop.time() + self._random.choice((0.0, QUIET_SECONDS))

    def write(self, count: int) -> None:
        """Log so many frames, as far as there is room."""
        for _ in range(count):
            payload = self._payload(self._written, b"x" * self._random.randrange(40))
            tick = max(self._tick(), self._last_tick)
            if not self._log(payload, tick - self._last_tick):
                return
            self._last_tick = tick
            self._written += 1

    def _payload(self, number: int, text: bytes) -> bytes:
        return (
            _PAYLOAD.pack(
                _INFO,
                _FORMAT,
                3,
                _UINT16,
                _UINT32,
                _STRING,
                self.number,
                number,
                1,
                2 + len(text),
                len(text),
            )
            + text
        )

    def _log(self, payload: bytes, ticks: int) -> bool:
        frame = _FRAME.pack(len(payload), ticks) + payload
        if not self.firmware.append_log(frame):
            return False
        self.frames.add(payload)
        self._held += (len(self.written_frames),)
        self.written_frames.append(frame)
        return True

    def crash(self) -> bool:
        """Restart with a core dump, an old one or a new; False when an older one waits."""
        if self.firmware.core_dump is not None:
            return False
        self.reset()
        alike = self.dumps and self._random.random() < 0.5
        self._leave(self._random.choice(list(self.dumps)) if alike else self._new_dump())
        return True

    def repeat(self) -> None:
        """Restart and say no more for a while; now and then leave the first dump once more."""
        self.reset()
        self._quiet_until = asyncio.get_running_loop().time() + QUIET_SECONDS
        if self.firmware.core_dump is None and self._random.random() < 0.7:
            self._leave(next(iter(self.dumps), None) or self._new_dump())

    def _new_dump(self) -> bytes:
        size = self._random.randrange(SMALLEST_DUMP, LARGEST_DUMP)
        seed = self.number << 32 | len(self.dumps)
        return sample_core_dump(self.identity, size, seed)

    def _leave(self, dump: bytes) -> None:
        self.dumps.setdefault(dump, len(self.dumps))
        self.dumps_left[dump] += 1
        self.firmware.crash(dump)

    @override
    def reset(self) -> None:
        super().reset()
        self.resets += 1
        consumed, self._consumed = self._consumed, ()
        while sum(len(self.written_frames[each]) for each in consumed + self._held) > REGION:
            consumed = consumed[1:]
        self._held = consumed + self._held
        self._boot()

    @override
    def _erases(self, kind: CaptureKind, content: bytes) -> bool:
        self.erasing.set()
        if kind is CaptureKind.LOG and content:
            self.releases.append((time.time(), self.frames_in(content) or ()))
        if self._agent.generation == "older":
            self._held = ()
        elif kind is CaptureKind.LOG:
            count = sum(1 for _ in iter_raw_frames(content))
            self._consumed += self._held[:count]
            self._held = self._held[count:]
        if not self._held:
            self._last_tick = max(self._last_tick, self.firmware.anchor_tick)
        return super()._erases(kind, content)

    @property
    def written(self) -> int:
        """How many frames it has written, those of its starts included."""
        return len(self.written_frames)

    def frames_in(self, log: bytes) -> tuple[int, ...] | None:
        """Tell which frames a buffer has, whole or cut off in front; None if it was never made."""
        offered = self.offers.get(mark_of(log))
        count = sum(1 for _ in iter_raw_frames(log))
        if offered is None or count > len(offered):
            return None
        return offered[len(offered) - count :]

    async def live(self) -> None:
        """Log a few frames now and then, for ever."""
        while True:
            await asyncio.sleep(self._random.expovariate(1.0))
            if asyncio.get_running_loop().time() >= self._quiet_until:
                self.write(self._random.randrange(1, 8))
