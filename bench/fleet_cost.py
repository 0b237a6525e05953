"""What a fleet costs a real Home Assistant: ``python -m bench.fleet_cost DEVICES ours|naive``.

The devices hang on three scanners in this process, all due at the start. Prints one JSON object.
"""

import asyncio
import gc
import json
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, override
from unittest.mock import patch

from bleak.exc import BleakError
from habluetooth import get_manager
from homeassistant.components import bluetooth
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store

from custom_components.ulogger.account.approval import with_application
from custom_components.ulogger.account.store import STORAGE_VERSION, DeviceRecord
from custom_components.ulogger.agent import session
from custom_components.ulogger.collecting import schedule
from custom_components.ulogger.collecting.shared_radio import SharedRadio, shared_radio
from custom_components.ulogger.const import CONNECTION_NONE, DOMAIN
from custom_components.ulogger.model.backoff import Backoff, never
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.device.radio import Air
from demo.device.samples import sample_log
from demo.device.virtual import VirtualDevice
from tests.support.road import Adapter

from .idle import address, home_assistant
from .naive import NaiveScheduler

APPLICATION = 42
SLOTS = 3
SCANNERS = 3
FAILING = 0.1
PER_SECOND = 10
LOG_BYTES = (1024, 16 * 1024)
AIR = Air(interval=0.0075, packets_up=32, packets_down=32)
"""A fast link, for what is measured is our processor's time and not the air's."""
PATIENCE: dict[str, Any] = {"PATIENCE": (0.2, 0.2), "AFTER_A_LOG": (0.3, 0.3)}
BASELINE_SECONDS = 5.0
SETTLE_SECONDS = 3.0
SECONDS_EACH = 3.0
"""How long collecting a device may take on a slow machine, all of them one after another."""
LEAST_PATIENCE = 480.0


class FailingAdapter(Adapter):
    """Three slots, and one connection in ten that comes to nothing."""

    def __init__(self, number: int, random: Random) -> None:
        super().__init__(f"DE:50:00:00:01:{number:02X}")
        self.slots = SLOTS
        self._chance = random
        self.connecting = self._fail_at_times

    async def _fail_at_times(self, _address: str) -> None:
        if self._chance.random() < FAILING:
            raise BleakError("no answer")

    @override
    def allocate(self, address: str) -> None:
        if len(self.allocated) >= self.slots:
            raise BleakError("no slot is free")
        super().allocate(address)
        self.operations.clear()


def rss_mb() -> float:
    """Return the resident memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def advertise(adapters: list[Adapter], devices: list[VirtualDevice]) -> None:
    """Have each device heard ten times a second, by one scanner after the other."""
    began, heard = time.monotonic(), 0
    pause = 1 / PER_SECOND / len(devices)
    turn = 0
    while True:
        turn += 1
        for number, device in enumerate(devices):
            if device.advertising:
                adapters[(number + turn) % len(adapters)].hear(device)
            heard += 1
            ahead = began + heard * pause - time.monotonic()
            if ahead > 0.005:
                await asyncio.sleep(ahead)


async def add_account(hass: HomeAssistant, devices: list[VirtualDevice]) -> ConfigEntry[Any]:
    """Add an account without a cloud that knows its devices and has collected none."""
    # Only after the harness was made to fit this release.
    common = import_module("pytest_homeassistant_custom_component.common")
    entry = common.MockConfigEntry(
        domain=DOMAIN,
        entry_id="fleet",
        title="Fleet",
        data={"connection": CONNECTION_NONE, "client_suffix": "fleet"},
        options=with_application(
            {"reserved_slots": 0, "device_limit": 1000}, APPLICATION, "Sensor"
        ),
    )
    stored = {
        "tokens": {},
        "devices": [
            DeviceRecord(device.identity, device.address, device.name).as_dict()
            for device in devices
        ],
    }
    store = Store[dict[str, Any]](
        hass, STORAGE_VERSION, f"{DOMAIN}.fleet", private=True, atomic_writes=True
    )
    await store.async_save(stored)
    entry.add_to_hass(hass)
    added: ConfigEntry[Any] = entry
    return added


def left_behind(radio: SharedRadio, adapters: list[Adapter], tasks: int, callbacks: int) -> int:
    """Count what is left when nothing should be."""
    scheduler = radio.scheduler
    return (
        max(0, len(asyncio.all_tasks()) - tasks)
        + max(0, _callbacks() - callbacks)
        + sum(len(adapter.allocated) for adapter in adapters)
        + len(scheduler.running)
    )


def _callbacks() -> int:
    manager = get_manager()
    tables = (manager._allocations_callbacks, manager._scanner_registration_callbacks)  # noqa: SLF001
    return sum(len(each) for table in tables for each in table.values())


async def run(hass: HomeAssistant, count: int, scheduler: str) -> dict[str, Any]:
    """Have every device collected once."""
    random = Random(1)  # noqa: S311 - keeps no secret
    if scheduler == "naive":
        hass.data[f"{DOMAIN}.radio"] = SharedRadio(hass, NaiveScheduler(looks=False))
    adapters: list[Adapter] = [FailingAdapter(number, random) for number in range(SCANNERS)]
    removals = []
    for adapter in adapters:
        removals += [bluetooth.async_register_scanner(hass, adapter), adapter.async_setup()]
    devices = [
        VirtualDevice(
            address(number),
            DeviceIdentity(APPLICATION, f"{number:06}", "Sensor", "1.0.0", "bc53443"),
            sample_log(random.randint(*LOG_BYTES), seed=number),
            air=AIR,
            read_seconds_per_byte=0.0,
        )
        for number in range(count)
    ]
    for adapter in adapters:
        adapter.devices = {device.address: device for device in devices}
    advertising = asyncio.create_task(advertise(adapters, devices))
    entry = await add_account(hass, devices)
    await asyncio.sleep(SETTLE_SECONDS)
    idle_mb, tasks, callbacks = rss_mb(), len(asyncio.all_tasks()), _callbacks()
    began, used = time.monotonic(), time.process_time()
    await asyncio.sleep(BASELINE_SECONDS)
    baseline = (time.process_time() - used) / (time.monotonic() - began)

    await hass.config_entries.async_setup(entry.entry_id)
    if entry.state is not ConfigEntryState.LOADED:
        raise RuntimeError(f"The account was not set up: {entry.reason}")
    began, used = time.monotonic(), time.process_time()
    async with asyncio.timeout(max(LEAST_PATIENCE, count * SECONDS_EACH)):
        for device in devices:
            await device.emptied.wait()
    seconds, used = time.monotonic() - began, time.process_time() - used
    await asyncio.sleep(SETTLE_SECONDS)
    above = rss_mb() - idle_mb
    good = sum(device.connections for device in devices)
    per_advertisement = _seen_cost(entry, devices[0])

    radio = shared_radio(hass)
    await hass.config_entries.async_unload(entry.entry_id)
    await hass.async_block_till_done()
    leaked = left_behind(radio, adapters, tasks, callbacks)
    advertising.cancel()
    for remove in removals:
        remove()
    return {
        "cpu_ms_per_session": round(max(0.0, used - baseline * seconds) * 1000 / good, 2),
        "rss_mb": round(above, 1),
        "leaked": leaked,
        "us_per_advertisement": round(per_advertisement * 1e6, 2),
        "all_collected_s": round(seconds, 1),
    }


def _seen_cost(entry: ConfigEntry[Any], device: VirtualDevice) -> float:
    """Return the seconds that an advertisement of a device costs that is not due."""
    coordinator = entry.runtime_data.devices[device.identity.key]
    info = bluetooth.async_last_service_info(coordinator.hass, device.address)
    began = time.perf_counter()
    for _ in range(10_000):
        coordinator.seen(info)
    return (time.perf_counter() - began) / 10_000


async def main(count: int, scheduler: str) -> None:
    """Measure in a Home Assistant of our own."""
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as temporary:
        directory = Path(temporary) / "config"
        await asyncio.to_thread(directory.mkdir)
        async with home_assistant(directory) as hass:
            patches = [patch.multiple(session, **PATIENCE)]
            if scheduler == "naive":
                patches.append(patch.object(schedule, "REFUSED", Backoff(5.0, 5.0, never)))
            for each in patches:
                each.start()
            print(json.dumps(await run(hass, count, scheduler)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
