"""The faults: what each does, how long it holds, and how often it comes.

What has to have happened for the verdict to be worth anything happens by construction, however fast
the machine is: each destination is unusable once while nothing else is wrong, until the others have
got logs meanwhile, and Home Assistant is killed once. What comes beside and after that is drawn;
every kind of work draws from numbers of its own, so that a seed means the same on any machine.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from random import Random

from demo.device.virtual import DEMO_AIR

from .clesyde import pick as pick_for_thing
from .collector import pick as pick_for_collector
from .pepeunit import DENIED, pick
from .site import pick as pick_for_site
from .world import World

RECOVERY_SECONDS = 120.0
AIM_SECONDS = 5.0
REPETITIONS = 3
REPEAT_SECONDS = 12.0
LONE_SECONDS = 10.0
LONE_LOGS = 3
SLOW_AT_LEAST = 31.0
"""A freeze longer than the gateway waits for an acknowledgement."""
SHIFTS = (-86_400.0, -3600.0, -90.0, 0.0, 90.0, 3600.0, 86_400.0)

DENIABLE = ("binlog", "boot", "core-dump", "metrics")

type Fault = Callable[[], Awaitable[None]]
type Say = Callable[[str], None]


class Storm:
    """Does heavy faults one after another, and light ones meanwhile, until a moment comes."""

    def __init__(self, world: World, say: Say) -> None:
        self.faults: Counter[str] = Counter()
        self.recoveries: list[tuple[float, str]] = []
        self.stuck: list[str] = []
        self._world = world
        self._say = say
        seeds = [world.random.random() for _ in range(7)]
        self._random, self._light_random, self._repeat_random, *others = map(Random, seeds)
        self._folder_random, self._collector_random, self._unit_random, self._thing_random = others
        self._ends = asyncio.Lock()
        self._heavy: dict[str, tuple[int, Fault]] = {
            "home_assistant_kill": (5, self._kill),
            "home_assistant_restart": (1, self._restart),
            "broker_stop": (3, self._stop_broker),
            "broker_freeze": (3, self._freeze_broker),
            "broker_denies": (3, self._deny),
            "broker_slow": (1, self._slow_broker),
            "proxy_restart": (1, self._restart_proxy),
        }
        if world.disk.available:
            self._heavy["disk_full"] = (2, self._fill_disk)
        self._light: dict[str, tuple[int, Fault]] = {
            "link_cut": (5, self._cut_link),
            "link_stall": (2, self._stall_link),
            "device_reset": (2, self._reset_device),
            "device_crash": (3, self._crash_device),
            "device_clock": (1, self._set_device_clock),
        }
        self._folder_ways = world.folder.ways
        if world.clock.available:
            self._light["home_assistant_clock"] = (1, self._set_clock)

    async def run(self, seconds: float) -> None:
        """Go on for so long at least; every fault that was begun is ended."""
        end = time.monotonic() + seconds
        beside = [asyncio.create_task(work()) for work in (self._lightly, self._repeat)]
        try:
            await self._one_destination_each(min(LONE_SECONDS, seconds / 6))
            beside.append(asyncio.create_task(self._spoil_folder()))
            beside.append(asyncio.create_task(self._spoil_collector()))
            beside.append(asyncio.create_task(self._spoil_pepeunit()))
            beside.append(asyncio.create_task(self._spoil_clesyde()))
            beside.append(asyncio.create_task(self._spoil_site()))
            await self._do("home_assistant_kill", self._heavy)
            while (left := end - time.monotonic()) > 0:
                await asyncio.sleep(min(left, self._random.uniform(1, 6)))
                if time.monotonic() < end:
                    await self._one_of(self._heavy, self._random)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
        for task in beside:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _repeat(self) -> None:
        """Have one device after another restart and be emptied, and again, with nothing new."""
        world = self._world
        while True:
            device = self._repeat_random.choice(world.devices)
            for _ in range(REPETITIONS):
                self.faults["device_repeats"] += 1
                device.repeat()
                await world.wait_for(partial(getattr, device, "empty"), REPEAT_SECONDS)

    async def _one_destination_each(self, seconds: float) -> None:
        """Have one destination dead and then the other one, with nothing wrong at the other."""
        world = self._world
        self.faults["broker_stop"] += 1
        self._say("broker_stop alone")
        broker = world.demo.broker
        async with world.outage(unreachable=True):
            await broker.astop()
            await self._until_others_came(seconds, world.beside_the_cloud)
            await broker.astart()
        await world.wait_for(world.caught_up, world.patience(RECOVERY_SECONDS))
        async with self._unusable_folder("alone"):
            await self._until_others_came(seconds, world.in_cloud)
        async with self._unusable_collector("alone"):
            await self._until_others_came(seconds, world.in_cloud)
        async with self._unusable_pepeunit("alone"):
            await self._until_others_came(seconds, world.in_cloud)
        async with self._unusable_clesyde("alone"):
            await self._until_others_came(seconds, world.in_cloud)
        async with self._unusable_site("alone"):
            await self._until_others_came(seconds, world.in_cloud)

    async def _until_others_came(self, seconds: float, came: Callable[[float], int]) -> None:
        """Wait so long at least, and until others have logs that were released meanwhile."""
        since = time.time()
        await asyncio.sleep(seconds)
        patience = self._world.patience(RECOVERY_SECONDS)
        if not await self._world.wait_for(lambda: came(since) >= LONE_LOGS, patience):
            self.stuck.append(f"no {LONE_LOGS} logs came beside a dead destination")

    @asynccontextmanager
    async def _unusable_folder(self, remark: str = "") -> AsyncIterator[None]:
        how = self._folder_random.choice(self._folder_ways)
        self.faults[f"folder_{how}"] += 1
        self._say(f"folder_{how} {remark}".rstrip())
        async with self._world.folder.unusable(how):
            yield

    async def _spoil_folder(self) -> None:
        """Have the folder be unusable for a while, again and again, whatever else goes on."""
        while True:
            await asyncio.sleep(self._folder_random.uniform(5, 40))
            async with self._unusable_folder():
                await asyncio.sleep(self._folder_random.uniform(8, 20))

    @asynccontextmanager
    async def _unusable_collector(self, remark: str = "") -> AsyncIterator[None]:
        how = pick_for_collector(self._collector_random)
        self.faults[f"collector_{how}"] += 1
        self._say(f"collector_{how} {remark}".rstrip())
        async with self._world.frail_collector.unusable(how):
            yield

    async def _spoil_collector(self) -> None:
        """Have the collector be unusable for a while, again and again, whatever else goes on."""
        while True:
            await asyncio.sleep(self._collector_random.uniform(10, 40))
            async with self._unusable_collector():
                await asyncio.sleep(self._collector_random.uniform(5, 15))

    @asynccontextmanager
    async def _unusable_pepeunit(self, remark: str = "") -> AsyncIterator[None]:
        how = pick(self._unit_random)
        self.faults[f"pepeunit_{how}"] += 1
        self._say(f"pepeunit_{how} {remark}".rstrip())
        # A broker that drops silently from a start on is not found out (see `Echoes`): that is
        # known, and not looked for here.
        apart = self._ends if how == DENIED else nullcontext()
        async with apart, self._world.frail_unit.unusable(how):
            yield

    async def _spoil_pepeunit(self) -> None:
        """Have Pepeunit be unusable for a while, again and again, whatever else goes on."""
        while True:
            await asyncio.sleep(self._unit_random.uniform(10, 40))
            async with self._unusable_pepeunit():
                await asyncio.sleep(self._unit_random.uniform(5, 15))

    @asynccontextmanager
    async def _unusable_clesyde(self, remark: str = "") -> AsyncIterator[None]:
        how = pick_for_thing(self._thing_random)
        self.faults[f"clesyde_{how}"] += 1
        self._say(f"clesyde_{how} {remark}".rstrip())
        async with self._world.frail_thing.unusable(how):
            yield

    async def _spoil_clesyde(self) -> None:
        """Have Clesyde be unusable for a while, again and again, whatever else goes on."""
        while True:
            await asyncio.sleep(self._thing_random.uniform(10, 40))
            async with self._unusable_clesyde():
                await asyncio.sleep(self._thing_random.uniform(5, 15))

    @asynccontextmanager
    async def _unusable_site(self, remark: str = "") -> AsyncIterator[None]:
        how = pick_for_site(self._random)
        self.faults[f"udmi_{how}"] += 1
        self._say(f"udmi_{how} {remark}".rstrip())
        async with self._world.frail_site.unusable(how):
            yield

    async def _spoil_site(self) -> None:
        """Have the UDMI site be unusable for a while, again and again, whatever else goes on."""
        while True:
            await asyncio.sleep(self._random.uniform(10, 40))
            async with self._unusable_site():
                await asyncio.sleep(self._random.uniform(5, 15))

    async def _lightly(self) -> None:
        while True:
            await asyncio.sleep(self._light_random.expovariate(0.5))
            await self._one_of(self._light, self._light_random)

    async def _one_of(self, table: dict[str, tuple[int, Fault]], random: Random) -> None:
        weights = [weight for weight, _ in table.values()]
        (kind,) = random.choices(list(table), weights)
        await self._do(kind, table)

    async def _do(self, kind: str, table: dict[str, tuple[int, Fault]]) -> None:
        self.faults[kind] += 1
        if table is self._heavy:
            self._say(kind)
        await table[kind][1]()

    @asynccontextmanager
    async def _recovery(self, kind: str, *, alone: bool = False) -> AsyncIterator[None]:
        """After the fault, sometimes wait until a new capture arrives, and note how long it took.

        ``alone`` may have nobody press a button meanwhile: Home Assistant begins by itself, at
        the latest when a device's interval is over.
        """
        world = self._world
        yield
        if self._random.random() < 0.25:
            return
        if alone and self._random.random() < 0.4:
            world.may_press.clear()
        try:
            since = time.monotonic()
            world.arrived.clear()
            async with asyncio.timeout(patience := world.patience(RECOVERY_SECONDS)):
                await world.arrived.wait()
            self.recoveries.append((time.monotonic() - since, kind))
        except TimeoutError:
            self.stuck.append(f"nothing arrived within {patience:.0f} s after {kind}")
            self.recoveries.append((patience, kind))
        finally:
            world.may_press.set()

    async def _kill(self) -> None:
        """Kill at any moment, or right when a capture arrives, is erased or is on its way."""
        await self._aim()
        async with self._recovery("home_assistant_kill", alone=True), self._ends:
            await self._world.kill()
            await asyncio.sleep(self._random.choice((0.0, self._random.uniform(0, 4))))
            await self._world.start_again()

    async def _aim(self) -> None:
        world = self._world
        aims: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: asyncio.sleep(0),
            self._arrival,
            self._arrival,
            self._erasure,
            lambda: world.wait_for(lambda: any(d.connected for d in world.devices), AIM_SECONDS),
        )
        try:
            async with asyncio.timeout(AIM_SECONDS):
                await self._random.choice(aims)()
        except TimeoutError:
            return
        await asyncio.sleep(self._random.choice((0.0, 0.0, self._random.uniform(0, 0.05))))

    async def _arrival(self) -> None:
        self._world.arrived.clear()
        await self._world.arrived.wait()

    async def _erasure(self) -> None:
        device = self._random.choice(self._world.devices)
        device.erasing.clear()
        await device.erasing.wait()

    async def _restart(self) -> None:
        async with self._recovery("home_assistant_restart", alone=True), self._ends:
            await self._world.stop_hass()
            await self._world.start_again()

    async def _stop_broker(self) -> None:
        broker = self._world.demo.broker
        async with self._recovery("broker_stop"), self._world.outage(unreachable=True):
            await broker.astop()
            await self._hold(1, 12)
            await broker.astart()

    async def _freeze_broker(self) -> None:
        broker = self._world.demo.broker
        long = self._random.random() < 0.2
        async with self._recovery("broker_freeze"), self._world.outage(unreachable=True):
            broker.freeze()
            await self._hold(SLOW_AT_LEAST if long else 1, 40 if long else 12)
            broker.thaw()

    async def _deny(self) -> None:
        """Have a policy forbid one or two kinds of messages: the broker closes on each."""
        kinds = self._random.sample(DENIABLE, self._random.choice((1, 1, 2)))
        denial = self._world.denial(*(f"{kind}/#" for kind in kinds))
        async with self._recovery("broker_denies"), denial:
            await self._hold(5, 40)

    async def _slow_broker(self) -> None:
        """Have acknowledgements come late, and connections end with many under way."""
        gate = self._world.demo.gate
        async with self._recovery("broker_slow"), self._world.outage():
            gate.acknowledges_after = self._random.uniform(0.5, 4)
            try:
                await self._hold(5, 20)
            finally:
                gate.acknowledges_after = 0.0

    async def _fill_disk(self) -> None:
        async with self._recovery("disk_full"), self._world.full_disk():
            await self._hold(4, 15)

    async def _restart_proxy(self) -> None:
        async with self._recovery("proxy_restart"):
            self._world.demo.radio.drop()

    async def _hold(self, shortest: float, longest: float) -> None:
        """Let a fault last, and sometimes kill Home Assistant in the middle of it."""
        seconds = self._random.uniform(shortest, longest)
        if self._random.random() < 0.7:
            await asyncio.sleep(seconds)
            return
        await asyncio.sleep(seconds / 2)
        self.faults["home_assistant_kill"] += 1
        self._say("home_assistant_kill within it")
        async with self._ends:
            await self._world.kill()
            await self._world.start_again()
        await asyncio.sleep(seconds / 2)

    # Light ones

    async def _stall_link(self) -> None:
        """Have the link of a device carry nothing for a while, soon after it has come up."""
        device = self._light_random.choice(self._world.devices)
        seconds, after = self._light_random.uniform(1, 6), self._light_random.uniform(0, 1)
        if await self._world.wait_for(lambda: device.connected, AIM_SECONDS):
            await asyncio.sleep(after)
            device.stall(seconds)

    async def _cut_link(self) -> None:
        """Cut a link that stands, or one of the next after some bytes."""
        busy = [device for device in self._world.devices if device.connected]
        if busy and self._light_random.random() < 0.5:
            self._light_random.choice(busy).cut()
            return
        device = self._light_random.choice(self._world.devices)
        device.air = replace(DEMO_AIR, cut_after=self._light_random.randrange(20, 4000))
        connections = device.connections
        try:
            await self._world.wait_for(lambda: device.connections > connections, AIM_SECONDS)
        finally:
            device.air = DEMO_AIR

    async def _reset_device(self) -> None:
        self._light_random.choice(self._world.devices).reset()

    async def _crash_device(self) -> None:
        self._light_random.choice(self._world.devices).crash()

    async def _set_device_clock(self) -> None:
        self._light_random.choice(self._world.devices).clock_shift = self._light_random.choice(
            SHIFTS
        )

    async def _set_clock(self) -> None:
        self._world.clock.set(self._light_random.choice(SHIFTS))
