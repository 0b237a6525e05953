"""Devices that live: two applications, several versions, lines of all levels, values that move.

They have a past of some hours when Home Assistant first meets them, and go on from there: they
log every few seconds, crash now and then (three of them in the same way), and one gets new
firmware. There is an image for one of the versions; the others show addresses.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from struct import Struct
from typing import Any, Final

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

from .api import ApiError, Json
from .device.firmware import Schedule
from .device.life import FRAME, STRING, TICKS_PER_SECOND, metric_frame
from .device.log_memory import DEFAULT_HEADER, Moment
from .device.virtual import VirtualDevice
from .fleet import EXAMPLE, FIXTURES
from .harness import Harness

APPLICATIONS: Final = (42, 77)
MINUTES: Final = 1
"""How often devices are collected."""
PAST_SECONDS: Final = 6 * 3600.0
PAST_FRAMES: Final = 90
EVERY_SECONDS: Final = 6.0
HAPPENS_EVERY: Final = 25.0
"""Seconds between a crash and an update."""
NEWER: Final = "1.4.0"
OTHER_FIXTURES: Final = FIXTURES.parent / "v3-crash"

_INT, _UINT = 0x14, 0x24
_HEAD = Struct("<BIB")
_TEXTS = Struct("<HH")
_DUMP_STRINGS: Final = {
    "git_hash": slice(16, 60),
    "device_type": slice(60, 128),
    "serial": slice(128, 196),
    "git_version": slice(196, 264),
}
_APPLICATION: Final = slice(12, 16)

MAIN, SYSTEM, COMM, SENSOR, POWER = range(5)
STARTED, DEFAULTS, TEMPERATURE, LINK, BROWN_OUT = 0x41C, 0x448, 0x470, 0x484, 0x4B8
"""Where the image's format strings lie."""


def line_frame(
    level: Level, module: int, address: int, *arguments: int | str, ticks: int = 0
) -> bytes:
    """Return the frame of a line as the agent's macro writes it."""
    kinds = bytearray()
    values = b""
    for each in arguments:
        if isinstance(each, str):
            kinds.append(STRING)
        else:
            kinds.append(_INT if each < 0 else _UINT)
            values += (each & 0xFFFF_FFFF).to_bytes(4, "little")
    payload = _HEAD.pack(level << 5 | module, address, len(arguments)) + kinds + values
    texts = [each.encode() for each in arguments if isinstance(each, str)]
    if texts:
        joined = b"".join(len(text).to_bytes(2, "little") + text for text in texts)
        payload += _TEXTS.pack(len(texts), len(joined)) + joined
    return FRAME.pack(len(payload), ticks) + payload


class Clock:
    """A device's clocks: ticks since a start that lies in the past, and the time of day."""

    def __init__(self, schedule: Schedule, since: float) -> None:
        """Have started ``since`` seconds before now."""
        self._schedule = schedule
        self._started = schedule.time() - since

    @property
    def ticks(self) -> int:
        """Ticks since the start."""
        return round((self._schedule.time() - self._started) * TICKS_PER_SECOND)

    def __call__(self) -> Moment:
        """Tell the moment for a header."""
        return Moment(self.ticks, round(time.time() * 1e6))

    def restart(self) -> None:
        """Begin anew, as a device does after a crash."""
        self._started = self._schedule.time()


@dataclass
class Mood:
    """What a device tells of itself, drawn from its own random numbers."""

    random: Random
    count: int = 0
    battery: float = 3050.0
    phase: float = field(default=0.0)

    def frames(self, ticks: int) -> Iterator[bytes]:
        """Yield what is logged at one time, the first of it some ticks after the last."""
        self.count += 1
        self.battery -= self.random.uniform(0.0, 0.6)
        warmth = 21.5 + 3.5 * math.sin(self.count / 14.0 + self.phase)
        tenths = round(warmth * 10)
        yield line_frame(
            Level.DEBUG, SENSOR, TEMPERATURE, tenths // 10, tenths % 10, self.count, ticks=ticks
        )
        if self.count % 4 == 0:
            yield metric_frame("temperature_c", round(warmth, 1), 0)
            yield metric_frame("battery_mv", round(self.battery, 1), 0)
        if self.count % 6 == 0:
            yield metric_frame("rssi", self.random.randrange(-85, -50), 0)
        chance = self.random.random()
        if chance < 0.10:
            yield line_frame(Level.INFO, COMM, LINK, "up", self.random.randrange(16))
        elif chance < 0.16:
            yield line_frame(Level.WARNING, COMM, LINK, "weak", self.random.randrange(16, 64))
        elif chance < 0.19:
            yield line_frame(Level.ERROR, COMM, LINK, "down", self.random.randrange(64, 256))
        elif chance < 0.20:
            yield line_frame(Level.CRITICAL, POWER, BROWN_OUT, round(self.battery * 0.9))


class LivingDevice:
    """A device and what it does while nobody looks."""

    def __init__(self, device: VirtualDevice, clock: Clock, mood: Mood, dump: bytes) -> None:
        """Have a device live; ``dump`` is what it leaves behind when it crashes."""
        self.device = device
        self._clock = clock
        self._mood = mood
        self._dump = dump
        self._logged = clock.ticks

    def log(self) -> None:
        """Log what there is to tell now."""
        now, anchor = self._clock.ticks, self.device.firmware.anchor_tick
        # What is logged after a log was taken counts from when that was.
        since = anchor if self._logged < anchor <= now else self._logged
        self._logged = now
        for frame in self._mood.frames(now - since):
            self.device.firmware.append_log(frame)

    def crash(self) -> None:
        """Leave a core dump behind, and start again."""
        self.device.firmware.crash(self._dump)
        self._restart()

    def update(self, version: str) -> None:
        """Start again with other firmware."""
        identity = replace(self.device.identity, git_version=version, git_hash="5ca1ab1e")
        self.device.identity = self.device.firmware.identity = identity
        self._restart()

    def _restart(self) -> None:
        self._clock.restart()
        self._logged = 0
        self.device.cut()
        self.device.firmware.append_log(line_frame(Level.INFO, MAIN, STARTED, 4))
        self.device.firmware.append_log(line_frame(Level.WARNING, SYSTEM, DEFAULTS, "net.cfg", 60))

    async def live(self) -> None:
        """Log for ever."""
        while True:
            await asyncio.sleep(EVERY_SECONDS * self._mood.random.uniform(0.8, 1.2))
            self.log()


def make_living_fleet(count: int = 6) -> list[LivingDevice]:
    """Make devices; from the seventh on they are like those before."""
    return [_living(number) for number in range(count)]


async def live(devices: list[LivingDevice]) -> None:
    """Let devices live: they log, the first one crashes again, the last gets new firmware."""
    async with asyncio.TaskGroup() as group:
        for each in devices:
            group.create_task(each.live())
        group.create_task(_happenings(devices))


async def make_ready(demo: Harness, entry: Json) -> None:
    """Add the image of one version, approve both applications, have devices collected often."""
    entry_id = entry["entry_id"]
    image = await asyncio.to_thread((FIXTURES / "firmware.elf").read_bytes)
    key = ImageKey(EXAMPLE.git_version, EXAMPLE.git_hash, EXAMPLE.application_id)
    await demo.add_image(entry_id, image, key)
    path = "/api/config/config_entries/options/flow"
    form = await demo.api.request("POST", path, {"handler": entry_id})
    sections: dict[str, Any] = {each["name"]: {} for each in form["data_schema"]}
    sections["collection"] = {"collect_interval": MINUTES}
    sections["approval"] = {"applications": [str(each) for each in APPLICATIONS]}
    done = await demo.api.request("POST", f"{path}/{form['flow_id']}", sections)
    if done["type"] != "create_entry":
        raise ApiError(f"The options were not taken: {done}")


async def _happenings(devices: list[LivingDevice]) -> None:
    """Let something happen now and then, each time to a device whose log was just taken.

    What was logged before a restart counts ticks of another start, and could not be dated.
    """
    happenings: list[tuple[LivingDevice, Callable[[], None]]] = [
        (devices[0], devices[0].crash),
        (devices[-1], lambda: devices[-1].update(NEWER)),
        (devices[0], devices[0].crash),
    ]
    for living, happen in happenings:
        await asyncio.sleep(HAPPENS_EVERY)
        while living.device.firmware.log or living.device.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        happen()


def _living(number: int) -> LivingDevice:
    kinds = (EXAMPLE, EXAMPLE, EXAMPLE, _OTHER_VERSION, _PUMP, _PUMP)
    kind = kinds[number % len(kinds)]
    serial = EXAMPLE.serial if number == 0 else f"{kind.serial[:8]}{0x11 + number:04X}"
    identity = replace(kind, serial=serial)
    seldom = kind is not EXAMPLE
    source = OTHER_FIXTURES if seldom else FIXTURES
    dump = with_identity((source / "core_dump.bin").read_bytes(), identity)
    mood = Mood(Random(number), battery=3050.0 - 45.0 * number, phase=float(number))
    clock = Clock(asyncio.get_running_loop(), PAST_SECONDS)
    crashed = kind is EXAMPLE or kind is _OTHER_VERSION
    device = VirtualDevice(
        f"C0:DE:00:00:{number >> 8:02X}:{number & 255:02X}",
        identity,
        _past(mood, clock),
        dump if crashed else None,
        name="uLogger Example" if number == 0 else f"uLogger Example {number + 1}",
        rssi=-48 - (number * 7) % 40,
        clock=clock,
    )
    return LivingDevice(device, clock, mood, dump)


_OTHER_VERSION: Final = replace(EXAMPLE, git_version="4.25.0", git_hash="0ff1ce5")
_PUMP: Final = DeviceIdentity(77, "C4FE0000", "PumpGuard", "1.3.0", "b01dface")


def _past(mood: Mood, clock: Clock) -> bytes:
    """Return a log of the hours before now."""
    began = line_frame(Level.INFO, MAIN, STARTED, 1)
    gap = round(PAST_SECONDS * TICKS_PER_SECOND / PAST_FRAMES)
    frames = began + b"".join(frame for _ in range(PAST_FRAMES) for frame in mood.frames(gap))
    moment = clock()
    header: LogHeader = replace(
        DEFAULT_HEADER,
        sequence_number=moment.tick,
        anchor_tick=moment.tick,
        epoch_us=moment.epoch_us,
        used_bytes=len(frames),
        checksum=xor_checksum(frames),
    )
    return header.pack() + frames


def with_identity(core_dump: bytes, identity: DeviceIdentity) -> bytes:
    """Return the dump as if another device had written it; its checksum begins behind that."""
    changed = bytearray(core_dump)
    changed[_APPLICATION] = identity.application_id.to_bytes(4, "little")
    for name, place in _DUMP_STRINGS.items():
        text: bytes = getattr(identity, name).encode()
        changed[place] = text.ljust(place.stop - place.start, b"\0")
    return bytes(changed)
