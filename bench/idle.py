"""What an account costs a Home Assistant: processor time while nothing happens, and its set-up.

A real Home Assistant runs in this process with its own Bluetooth, and a scanner that hears every
device ten times a second, each time with another signal strength. The devices are known, approved
and not due. The same is measured with the account loaded and without it; the difference is ours.
Two kinds of devices: ``steady`` ones always advertise the same, as the agent's example does, and
``changing`` ones count in their advertisement, so that Home Assistant passes every one of them on.
"""

import argparse
import asyncio
import gc
import json
import logging
import random
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from habluetooth import BaseHaRemoteScanner, BluetoothScanningMode
from homeassistant import runner
from homeassistant.bootstrap import async_setup_hass
from homeassistant.components import bluetooth
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store

from custom_components.ulogger.account.approval import with_application
from custom_components.ulogger.account.store import STORAGE_VERSION, DeviceRecord
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.cloud.broker import LocalBroker
from demo.hass import REPOSITORY, web_server
from demo.ports import free_port

CUSTOMER_ID = 4711
SOURCE = "DE:50:00:00:00:03"
COMPANY = 0xFFFE
"""A company that no other integration listens to."""
PER_SECOND = 10
SETTLE_SECONDS = 3.0
SET_UPS = 7
CONFIGURATION = "homeassistant:\n  name: Benchmark\nbluetooth:\nlogger:\n  default: critical\n"


class Scanner(BaseHaRemoteScanner):
    """Hears every device ten times a second."""

    def __init__(self, devices: int) -> None:
        super().__init__(
            SOURCE,
            "benchmark",
            None,
            connectable=True,
            requested_mode=BluetoothScanningMode.ACTIVE,
            current_mode=BluetoothScanningMode.ACTIVE,
        )
        self.changing = False
        self.heard = 0
        self._names = {address(number): f"uLogger Example {number}" for number in range(devices)}
        self._random = random.Random(1)  # noqa: S311 - keeps no secret

    async def listen(self) -> None:
        """Spread the advertisements evenly, and catch up when the loop was busy."""
        began = time.monotonic()
        pause = 1 / PER_SECOND / len(self._names)
        while True:
            for each in self._names:
                self._hear(each)
                self.heard += 1
                ahead = began + self.heard * pause - time.monotonic()
                if ahead > 0.005:
                    await asyncio.sleep(ahead)

    def _hear(self, each: str) -> None:
        content = {COMPANY: self.heard.to_bytes(8)} if self.changing else {}
        self._async_on_advertisement(
            each,
            self._random.randint(-95, -40),
            self._names[each],
            [],
            {},
            content,
            None,
            {},
            bluetooth.MONOTONIC_TIME(),
        )


def address(number: int) -> str:
    """Return a device's Bluetooth address."""
    return f"C0:DE:00:00:{number >> 8:02X}:{number & 255:02X}"


def record(number: int, devices: int) -> DeviceRecord:
    """Return what an account knows of a device that has just been collected.

    Accounts of different sizes collect different applications.
    """
    identity = DeviceIdentity(devices, f"{devices}-{number:06}", "Sensor", "1.0.0", "bc53443")
    now = time.time()
    return DeviceRecord(
        identity,
        address(number),
        f"uLogger Example {number}",
        last_seen=now,
        last_identified=now,
        last_collected=now,
        last_heartbeat=now,
    )


@asynccontextmanager
async def home_assistant(directory: Path) -> AsyncGenerator[HomeAssistant]:
    """Start a Home Assistant that has Bluetooth and finds the integration."""
    (directory / "custom_components").mkdir()
    (directory / "custom_components/ulogger").symlink_to(REPOSITORY / "custom_components/ulogger")
    (directory / "configuration.yaml").write_text(CONFIGURATION)
    logging.disable(logging.CRITICAL)
    hass = await _started(directory)
    await hass.async_start()
    try:
        yield hass
    finally:
        await hass.async_stop(force=True)


async def _started(directory: Path) -> HomeAssistant:
    """Set Home Assistant up, its web server on a port that nobody else has."""
    port = free_port()
    await asyncio.to_thread(_write, directory / ".storage/http", json.dumps(web_server(port)))
    config = runner.RuntimeConfig(config_dir=str(directory), skip_pip=True)
    hass = await async_setup_hass(config)
    if hass is None or hass.config.recovery_mode:
        # One process starts it once only, so there is no second try.
        raise RuntimeError(f"Home Assistant did not start, on port {port}; run this again")
    return hass


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


async def add_account(hass: HomeAssistant, broker: LocalBroker, devices: int) -> ConfigEntry[Any]:
    """Add an account that knows its devices; it is not set up yet."""
    # The harness does not load by itself with another release of Home Assistant than its own.
    import_module("tests.support.harness")
    common = import_module("pytest_homeassistant_custom_component.common")
    entry_id = f"benchmark{devices}"
    stored = {
        "tokens": {},
        "devices": [asdict(record(number, devices)) for number in range(devices)],
    }
    store = Store[dict[str, Any]](
        hass, STORAGE_VERSION, f"{DOMAIN}.{entry_id}", private=True, atomic_writes=True
    )
    await store.async_save(stored)
    entry: ConfigEntry[Any] = common.MockConfigEntry(
        domain=DOMAIN,
        entry_id=entry_id,
        title="Benchmark",
        data={
            "connection": "mqtt",
            "customer_id": CUSTOMER_ID,
            "group_id": 0,
            "certificate": broker.customer.certificate,
            "private_key": broker.customer.private_key,
            "broker": broker.host,
            "port": broker.port,
            "ca": broker.ca,
            "client_suffix": "benchmark",
        },
        options=with_application({}, devices, "Sensor"),
    )
    entry.add_to_hass(hass)  # type: ignore[attr-defined]
    return entry


async def set_up(hass: HomeAssistant, entry: ConfigEntry[Any]) -> float:
    """Set the account up; returns the seconds that took."""
    began = time.perf_counter()
    await hass.config_entries.async_setup(entry.entry_id)
    seconds = time.perf_counter() - began
    if entry.state is not ConfigEntryState.LOADED:
        raise RuntimeError(f"The account was not set up: {entry.state}, {entry.reason}")
    if len(entry.runtime_data.devices) != len(entry.runtime_data.account.store.devices):
        raise RuntimeError("Not every device is collected")
    return seconds


async def measure_set_up(hass: HomeAssistant, entry: ConfigEntry[Any]) -> list[float]:
    """Set the account up again and again; returns the seconds of each time."""
    times = []
    for _ in range(SET_UPS + 1):
        times.append(await set_up(hass, entry))
        await hass.async_block_till_done()
        await hass.config_entries.async_unload(entry.entry_id)
    return times


async def processor_percent(seconds: float) -> float:
    """Return what this process uses of one core, all its threads together."""
    await asyncio.sleep(SETTLE_SECONDS)
    gc.collect()
    began, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - used) / (time.perf_counter() - began) * 100


async def measure_idle(
    hass: HomeAssistant, entry: ConfigEntry[Any], seconds: float
) -> tuple[float, float]:
    """Return the percentages with and without the account; without is measured on both sides."""
    before = await processor_percent(seconds / 2)
    await set_up(hass, entry)
    loaded = await processor_percent(seconds)
    if busy := [each for each in entry.runtime_data.devices.values() if each.timeline]:
        raise RuntimeError(f"{len(busy)} devices were due")
    await hass.config_entries.async_unload(entry.entry_id)
    after = await processor_percent(seconds / 2)
    return loaded, (before + after) / 2


async def run(devices: int, seconds: float) -> list[dict[str, Any]]:
    """Measure everything; the lines that are printed."""
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as temporary:
        directory = Path(temporary)
        async with (
            LocalBroker(directory / "broker", customer_id=CUSTOMER_ID) as broker,
            home_assistant(await asyncio.to_thread(_made, directory / "config")) as hass,
        ):
            for count in (1, devices):
                entry = await add_account(hass, broker, count)
                times = await measure_set_up(hass, entry)
                # The first one imports, and registers the entities, which no start does again.
                # Of the others the fastest counts: what else runs on the machine only adds.
                best = round(min(times[1:]) * 1000, 1)
                lines.append({"bench": "setup", "devices": count, "ms": best})
            scanner = Scanner(devices)
            unregister = bluetooth.async_register_scanner(hass, scanner)
            unsetup = scanner.async_setup()
            listening = asyncio.create_task(scanner.listen())
            for changing in (False, True):
                scanner.changing = changing
                loaded, without = await measure_idle(hass, entry, seconds)
                lines.append(
                    {
                        "bench": "idle",
                        "devices": devices,
                        "advertisements": "changing" if changing else "steady",
                        "cpu_percent": round(max(0.0, loaded - without), 3),
                        "with_account": round(loaded, 3),
                        "without_account": round(without, 3),
                    }
                )
            listening.cancel()
            unsetup()
            unregister()
    return lines


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def show(line: dict[str, Any]) -> str:
    """Tell a line to a person."""
    if line["bench"] == "setup":
        return f"set-up of an account with {line['devices']} devices: {line['ms']} ms"
    return (
        f"{line['devices']} devices, {line['advertisements']} advertisements: "
        f"{line['cpu_percent']} % of a core for the account "
        f"({line['with_account']} % with, {line['without_account']} % without)"
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="script/bench idle", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--devices", type=int, default=50, help="how many (50)")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured with account (20)")
    options = parser.parse_args()
    for line in asyncio.run(run(options.devices, options.seconds)):
        print(json.dumps(line) if options.json else show(line), flush=True)


if __name__ == "__main__":
    main()
