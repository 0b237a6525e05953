"""Devices whose every frame and dump is unlike any other, so that each can be traced."""

import asyncio
import time
from random import Random
from struct import Struct
from typing import override

from custom_components.ulogger.capture.model import CaptureKind, DeviceIdentity
from demo.device.log_memory import Moment
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


class TracedDevice(VirtualDevice):
    """A device that logs on and on; ``frames`` and ``dumps`` number what it has written.

    Every second one has a clock of its own; every third one has an older agent, which erases
    what was logged during a transfer together with what was transferred.
    """

    def __init__(self, number: int, random: Random) -> None:
        self.number = number
        self.frames: dict[bytes, int] = {}
        self.dumps: dict[bytes, int] = {}
        self.resets = 0
        self.clock_shift = 0.0
        self.erasing = asyncio.Event()
        self._random = random
        self._has_clock = number % 2 == 1
        self._booted = asyncio.get_running_loop().time()
        self._last_tick = 0
        identity = DeviceIdentity(APPLICATION, f"CHAOS{number:04}", "Chaos", "1.0.0", "c4a05")
        super().__init__(
            f"C0:DE:0C:A0:{number >> 8:02X}:{number & 255:02X}",
            identity,
            name=f"uLogger Chaos {number}",
            rssi=-50 - number % 40,
            agent="older" if number % 3 == 2 else "newer",
            clock=self._moment,
        )

    def _moment(self) -> Moment:
        epoch = time.time() + self.clock_shift if self._has_clock else 0.0
        return Moment(self._tick(), round(epoch * 1_000_000))

    def _tick(self) -> int:
        seconds = asyncio.get_running_loop().time() - self._booted
        return round(seconds * TICKS_PER_SECOND)

    def write(self, count: int) -> None:
        """Log so many frames, as far as there is room."""
        for _ in range(count):
            number = len(self.frames)
            text = b"x" * self._random.randrange(40)
            payload = _PAYLOAD.pack(
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
            payload += text
            tick = self._tick()
            frame = _FRAME.pack(len(payload), tick - self._last_tick) + payload
            if not self.firmware.append_log(frame):
                return
            self._last_tick = tick
            self.frames[payload] = number

    def crash(self) -> bool:
        """Restart with a core dump; False when an older one waits."""
        if self.firmware.core_dump is not None:
            return False
        self.reset()
        size = self._random.randrange(SMALLEST_DUMP, LARGEST_DUMP)
        seed = self.number << 32 | len(self.dumps)
        dump = sample_core_dump(self.identity, size, seed)
        self.dumps[dump] = len(self.dumps)
        self.firmware.crash(dump)
        return True

    @override
    def reset(self) -> None:
        super().reset()
        self.resets += 1
        self._booted = asyncio.get_running_loop().time()
        self._last_tick = 0

    @override
    def _erases(self, kind: CaptureKind, content: bytes) -> bool:
        self.erasing.set()
        return super()._erases(kind, content)

    async def live(self) -> None:
        """Log a few frames now and then, for ever."""
        while True:
            await asyncio.sleep(self._random.expovariate(1.0))
            self.write(self._random.randrange(1, 8))
