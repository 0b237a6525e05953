"""A busy account in a real Home Assistant, for as long as you like: nothing may grow.

Twelve devices log on and are collected every few seconds over three scanners with three slots
each, one connection in ten failing and links breaking now and then; one device is watched live,
people ask for uploads, and the account is reloaded once in a while. The disk's limits and the
hourly tidying are brought on every few seconds, so that they are reached within minutes.

After a warm-up (40 % of the time) heap, resident memory, file descriptors, tasks, timers,
connection slots, callbacks and objects of ours have to stay as they are: the slope over the rest of
the time may come to no more than ``LIMITS`` allow, unless it is noise (see `bench.growth`). Exits 1
when one grows, and when the account stands still, for then there is nothing that could grow.

    script/soak                   ten minutes
    script/soak --minutes 60 --json
    script/soak --plant           leak something of each kind, and see that it is found
"""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from habluetooth import get_manager
from homeassistant.components import bluetooth
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import CALLBACK_TYPE, Event, HomeAssistant, callback
from homeassistant.util import dt as dt_util

from custom_components.ulogger.agent import session
from custom_components.ulogger.collecting.shared_radio import shared_radio
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.device.samples import sample_core_dump, sample_frames
from demo.device.virtual import VirtualDevice
from tests.support.road import Adapter

from .fleet_cost import (
    AIR,
    APPLICATION,
    PATIENCE,
    SCANNERS,
    FailingAdapter,
    add_account,
    advertise,
    rss_mb,
)
from .growth import AT, Limit, Verdict, judge
from .idle import address, home_assistant

DEVICES = 12
INTERVAL_MINUTES = 0.05
SAMPLE_EVERY = 2.0
SAMPLES = 60
"""So many at least, however short the time is: fewer leave it open what is noise."""
TIDY_EVERY = 5.0
RELOAD_EVERY = 45.0
LINES_EVERY = 0.2
PLANT_EVERY = 0.2
PLANTED = 5
PLANTED_BYTES = 400_000
PLANTED_OBJECTS = 1_000
LIMITS = {
    "rss_mb": Limit(0.01, 3.0),
    "heap_blocks": Limit(0.02, 2000),
    "own_objects": Limit(0.05, 200),
    "file_descriptors": Limit(besides=3),
    "tasks": Limit(besides=6),
    "timers": Limit(0.05, 8),
    "slots_taken": Limit(besides=3),
    "callbacks": Limit(besides=2),
}


class Soak:
    """Devices that live, people that ask, and what is measured of it."""

    def __init__(self, hass: HomeAssistant, seconds: float, *, plant: bool = False) -> None:
        self.hass = hass
        self._leaks = Leaks(hass) if plant else None
        self.samples: list[dict[str, float]] = []
        self.seconds = seconds
        self._random = Random(1)  # noqa: S311 - keeps no secret
        self._adapters: list[Adapter] = [
            FailingAdapter(number, self._random) for number in range(SCANNERS)
        ]
        self._devices = [
            VirtualDevice(
                address(number),
                DeviceIdentity(APPLICATION, f"{number:06}", "Sensor", "1.0.0", "bc53443"),
                air=AIR,
                # A newer agent remembers all that it gave, for a restart that never comes here.
                agent="older",
            )
            for number in range(DEVICES)
        ]

    async def run(self) -> dict[str, Verdict]:
        """Run for the time that was given, and say what grew."""
        removals = []
        for adapter in self._adapters:
            adapter.devices = {device.address: device for device in self._devices}
            removals += [bluetooth.async_register_scanner(self.hass, adapter)]
            removals += [adapter.async_setup()]
        work = [asyncio.create_task(advertise(self._adapters, self._devices))]
        self._entry = await add_account(self.hass, self._devices)
        self.hass.config_entries.async_update_entry(
            self._entry,
            options={
                **self._entry.options,
                "collect_interval": INTERVAL_MINUTES,
                "retention_mb": 1,
                "undelivered_budget_mb": 1,
            },
        )
        await self.hass.config_entries.async_setup(self._entry.entry_id)
        work += [
            asyncio.create_task(each) for each in (self._log(), self._people(), self._sample())
        ]
        if self._leaks is not None:
            work.append(asyncio.create_task(self._leaks.leak(self._adapters[0])))
        ended, _ = await asyncio.wait(
            work, timeout=self.seconds, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in ended:
            task.result()
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        if self._leaks is not None:
            self._leaks.mend()
        await self.hass.config_entries.async_unload(self._entry.entry_id)
        for remove in removals:
            remove()
        return judge(self.samples, LIMITS)

    @property
    def _at_work(self) -> bool:
        return self._entry.state is ConfigEntryState.LOADED

    async def _log(self) -> None:
        """Have devices log, crash and lose their links."""
        number = 0
        while True:
            await asyncio.sleep(LINES_EVERY)
            number += 1
            device = self._random.choice(self._devices)
            device.firmware.append_log(sample_frames(self._random.randint(500, 4000), seed=number))
            if not number % 50:
                device.firmware.crash(sample_core_dump(device.identity, 3000, seed=number))
            if not number % 17:
                self._random.choice(self._devices).cut()

    async def _people(self) -> None:
        """Ask, watch, reload, and have tidied what is tidied once an hour."""
        began = time.monotonic()
        reloads = tidied = 0.0
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic() - began
            if now // RELOAD_EVERY > reloads:
                reloads = now // RELOAD_EVERY
                await self.hass.config_entries.async_reload(self._entry.entry_id)
            if not self._at_work:
                continue
            gateway = self._entry.runtime_data
            devices = list(gateway.devices.values())
            devices[0].set_live(live=int(now) % 20 < 10)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(10):
                    await self._random.choice(devices[1:]).async_collect()
            if now // TIDY_EVERY > tidied:
                tidied = now // TIDY_EVERY
                await gateway.account._sweep(dt_util.utcnow())  # noqa: SLF001
                await gateway.readings._tidy(dt_util.utcnow())  # noqa: SLF001

    async def _sample(self) -> None:
        """Measure every now and then."""
        while True:
            await asyncio.sleep(min(SAMPLE_EVERY, self.seconds / SAMPLES))
            self.samples.append(self._measured())

    @property
    def sessions(self) -> int:
        """How many sessions there were."""
        return sum(device.connections for device in self._devices)

    @property
    def stalled(self) -> bool:
        """Whether there was no session any longer in the last third of the time."""
        counts = [sample["sessions"] for sample in self.samples]
        return not counts or counts[-1] == counts[len(counts) * 2 // 3]

    def _measured(self) -> dict[str, float]:
        for device in self._devices:
            device.erased.clear()
        gc.collect()
        # What the C library keeps for later is nobody's leak.
        ctypes.CDLL(None).malloc_trim(0)
        memory = rss_mb()
        loop = asyncio.get_running_loop()
        timers = [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined] # noqa: SLF001
        own = sum(
            str(type(each).__module__).startswith("custom_components.ulogger")
            for each in gc.get_objects()
        )
        manager = get_manager()
        tables = (
            manager._allocations_callbacks,  # noqa: SLF001
            manager._scanner_registration_callbacks,  # noqa: SLF001
            manager._advertisement_callbacks,  # noqa: SLF001
            self.hass.bus._listeners,  # noqa: SLF001
        )
        return {
            AT: loop.time(),
            "sessions": self.sessions,
            "rss_mb": round(memory, 2),
            "heap_blocks": sys.getallocatedblocks(),
            "own_objects": own,
            "file_descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - of this process
            "tasks": len(asyncio.all_tasks()),
            "timers": len(timers),
            "slots_taken": sum(len(adapter.allocated) for adapter in self._adapters),
            "callbacks": sum(len(each) for table in tables for each in table.values())
            + len(shared_radio(self.hass)._listening),  # noqa: SLF001
        }


class Leaks:
    """Something of each kind that is never given back, to see that it is found."""

    def __init__(self, hass: HomeAssistant) -> None:
        self._hass = hass
        self._memory: list[Any] = []
        self._files: list[int] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._callbacks: list[CALLBACK_TYPE] = []

    async def leak(self, adapter: Adapter) -> None:
        """Leak for ever; the slots are those of one scanner, so that the others go on."""
        loop = asyncio.get_running_loop()
        number = 0
        while True:
            await asyncio.sleep(PLANT_EVERY)
            number += 1
            self._memory.append(os.urandom(PLANTED_BYTES))
            self._memory += [
                DeviceIdentity(APPLICATION, f"{number}-{each}") for each in range(PLANTED_OBJECTS)
            ]
            for _ in range(PLANTED):
                self._files.append(os.open(os.devnull, os.O_RDONLY))
                self._tasks.append(asyncio.create_task(asyncio.Event().wait()))
                self._timers.append(loop.call_later(86_400, int))
                self._callbacks.append(self._hass.bus.async_listen("soak_planted", _ignore))
                adapter.allocated.append(f"planted {number}")

    def mend(self) -> None:
        """Give everything back, so that Home Assistant can stop."""
        for task in self._tasks:
            task.cancel()
        for timer in self._timers:
            timer.cancel()
        for remove in self._callbacks:
            remove()
        for file in self._files:
            os.close(file)


@callback
def _ignore(_event: Event[Any]) -> None:
    """Be called back, which never happens."""


async def soak(seconds: float, *, plant: bool = False) -> dict[str, Any]:
    """Run, and make the report."""
    with tempfile.TemporaryDirectory(prefix="ulogger-soak-") as temporary:
        directory = Path(temporary) / "config"
        await asyncio.to_thread(directory.mkdir)
        async with home_assistant(directory) as hass:
            with patch.multiple(session, **PATIENCE):
                running = Soak(hass, seconds, plant=plant)
                verdicts = await running.run()
    return {
        "soak": "ulogger",
        "minutes": round(seconds / 60, 2),
        "sessions": running.sessions,
        "samples": len(running.samples),
        "stalled": running.stalled,
        "measures": {
            name: {key: _rounded(value) for key, value in asdict(verdict).items()}
            for name, verdict in verdicts.items()
        },
        "grows": sorted(name for name, verdict in verdicts.items() if verdict.grows),
    }


def show(report: dict[str, Any]) -> None:
    """Tell a report to a person."""
    print(f"{report['minutes']} minutes, {report['sessions']} sessions")
    for name, each in report["measures"].items():
        sign = "GROWS" if each["grows"] else "flat"
        rise = f"{each['rise']:+.1f} of {each['allowed']:.1f} allowed"
        print(f"{name:18} {each['first']:>12.1f} -> {each['last']:>12.1f}  {sign} ({rise})")
    if report["stalled"]:
        print("no session in the last third of the time: this says nothing")


def _rounded(value: float | bool) -> float | bool:  # noqa: FBT001
    return value if isinstance(value, bool) else round(value, 2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 1 when something grows."""
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")
    parser.add_argument("--plant", action="store_true", help="leak something of each kind")
    options = parser.parse_args(argv)
    try:
        report = asyncio.run(soak(options.minutes * 60, plant=options.plant))
    except ValueError as error:
        parser.error(str(error))
    if options.json:
        print(json.dumps(report))
    else:
        show(report)
    return 1 if report["grows"] or report["stalled"] else 0


if __name__ == "__main__":
    sys.exit(main())
