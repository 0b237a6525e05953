"""The road that chaos happens to: a demo with devices that log on and a person who is impatient."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from custom_components.ulogger.model.identity import ULOGGER
from demo.api import ApiError
from demo.cloud.service import Received
from demo.folder import FolderReader
from demo.harness import Harness

from .clesyde import FrailClesyde
from .clock import HostClock
from .collector import FrailCollector
from .destinations import (
    Judgement,
    Trouble,
    altered,
    compare_troubles,
    journeys,
    judge,
    misfiled,
    until_caught_up,
)
from .device import APPLICATION, TracedDevice
from .disk import SmallDisk
from .folder import FrailFolder
from .ledger import Ledger, content_of
from .outbox import OutboxReader, Snapshot
from .pepeunit import FrailPepeunit
from .site import FrailSite
from .verdict import LIFTED, Evidence, Kill, Outage, lost_pieces

COLLECT_MINUTES = 1
PRESS_SECONDS = 40.0
SAVED_SECONDS = 30.0
LOOK = 0.25
SETTLED = 30.0
"""Seconds after a trouble's end within which a destination has everything that had to wait."""
USUAL_START = 15.0
"""Seconds that Home Assistant takes to start on a machine that is not slow."""
LOOKED_AGAIN = 45.0
"""The same for a folder: it is looked at twice a minute."""


class World:
    """Home Assistant, broker, cloud and devices, and what is known of every frame."""

    def __init__(self, directory: Path, devices: list[TracedDevice], random: Random) -> None:
        self.devices = devices
        self.random = random
        self.clock = HostClock(directory)
        self.disk = SmallDisk(directory / "config/.storage/ulogger")
        by_serial = {device.identity.serial: device for device in devices}
        self.outbox = OutboxReader(directory / "config/.storage/ulogger", by_serial)
        self.folder = FrailFolder(directory / "config/shelf")
        self.frail_collector = FrailCollector()
        self.otlp_id = ""
        self.frail_unit = FrailPepeunit(directory / "pepeunit")
        self.unit_id = ""
        self.frail_thing = FrailClesyde(directory / "clesyde")
        self.thing_id = ""
        self.frail_site = FrailSite(directory / "udmi", len(devices))
        self.site_id = ""
        self.demo = Harness(
            directory,
            devices,
            folder=self.folder.path,
            pepeunit=self.frail_unit.pepeunit,
            clesyde=self.frail_thing.clesyde,
            site=self.frail_site.site,
        )
        self.ledger = Ledger(self.demo.cloud, by_serial)
        self.folder_id = ""
        self.filed = Ledger(self.demo.cloud, by_serial)
        self._by_serial = by_serial
        self._reader = FolderReader(self.folder.path)
        self._down: list[Outage] = []
        self._down_since: float | None = None
        self._unreachable: list[Outage] = []
        self._disk_full: list[Outage] = []
        self.evidence = Evidence()
        self._slowest_start = 0.0
        self.lost: dict[str, int] = {}
        self.damaged = 0
        self.arrived = asyncio.Event()
        self.may_press = asyncio.Event()
        self.may_press.set()
        self._signing_in = asyncio.Lock()

    async def start(self) -> None:
        """Start everything, set the account up and have devices collected every minute."""
        await self.clock.build()
        await asyncio.to_thread(self.disk.mount)
        await asyncio.to_thread(self.folder.disk.mount)
        self.demo = self._harness()
        self.ledger.cloud = self.demo.cloud
        self.demo.cloud.on_message = self._take
        since = time.monotonic()
        await self.demo.start()
        self._slowest_start = time.monotonic() - since
        entry = await self.demo.set_up_account()
        self.folder_id = entry["folder_id"]
        self.unit_id = entry["pepeunit_id"]
        self.thing_id = entry["clesyde_id"]
        self.otlp_id = await self.demo.add_collector(entry["entry_id"]) or ""
        self.site_id = await self.demo.add_site(entry["entry_id"]) or ""
        await self._set_options(entry["entry_id"])
        await self._until_saved()

    def _harness(self) -> Harness:
        environment = self.clock.environment
        return Harness(
            self.demo.directory,
            self.devices,
            environment=environment,
            gated=True,
            folder=self.folder.path,
            collector=self.frail_collector.collector,
            pepeunit=self.frail_unit.pepeunit,
            clesyde=self.frail_thing.clesyde,
            site=self.frail_site.site,
        )

    async def stop(self) -> None:
        """Stop everything."""
        self.demo.broker.thaw()
        self.frail_unit.pepeunit.broker.thaw()
        self.frail_thing.clesyde.broker.thaw()
        self.frail_site.site.broker.thaw()
        await self.demo.stop()
        await asyncio.to_thread(self.disk.unmount)
        await asyncio.to_thread(self.folder.disk.unmount)

    def _take(self, message: Received) -> None:
        before = len(self.ledger.arrivals)
        self.ledger.take(message)
        if len(self.ledger.arrivals) > before:
            self.arrived.set()

    async def _set_options(self, entry_id: str) -> None:
        path = "/api/config/config_entries/options/flow"
        form = await self.demo.api.request("POST", path, {"handler": entry_id})
        options: dict[str, Any] = {
            "collection": {
                "collect_interval": COLLECT_MINUTES,
                "name_patterns": ["uLogger*"],
            },
            "approval": {"applications": [str(APPLICATION)]},
            "cloud": {"heartbeats": True, "daily_quota_kb": 0},
            "storage": {
                "retention_days": 7,
                "retention_mb": 1000,
                "undelivered_budget_mb": 500,
            },
            "forward_logs": {"level": "off", "integrations": []},
        }
        done = await self.demo.api.request("POST", f"{path}/{form['flow_id']}", options)
        if done["type"] != "create_entry":
            raise ApiError(f"The options were not taken: {done}")

    async def _until_saved(self) -> None:
        """Wait until Home Assistant has its config entry on disk, which it saves with a delay."""
        saved = self.demo.hass.config / ".storage/core.config_entries"
        async with asyncio.timeout(SAVED_SECONDS):
            while not (saved.exists() and '"collect_interval"' in saved.read_text()):  # noqa: ASYNC110
                await asyncio.sleep(LOOK)

    # Home Assistant's ends

    async def kill(self) -> None:
        """Kill Home Assistant, and look at once what its outbox holds."""
        await self.demo.hass.kill()
        at = self._down_since = time.time()
        snapshot = await self.look()
        self.evidence.kills.append(Kill(at, snapshot.waiting(ULOGGER)))
        self.frail_collector.evidence.kills.append(Kill(at, snapshot.waiting(self.otlp_id)))
        self.frail_unit.evidence.kills.append(Kill(at, snapshot.waiting(self.unit_id)))
        self.frail_thing.evidence.kills.append(Kill(at, snapshot.waiting(self.thing_id)))
        self.frail_site.evidence.kills.append(Kill(at, snapshot.waiting(self.site_id)))

    async def stop_hass(self) -> None:
        """Stop Home Assistant in good order, and look at what its outbox holds."""
        self._down_since = time.time()
        await self.demo.hass.stop()
        await self.look()

    async def look(self) -> Snapshot:
        """Read the outbox of a Home Assistant that has ended, and look for what is lost."""
        snapshot = await self.outbox.snapshot()
        self.damaged += snapshot.damaged
        self.lost |= lost_pieces(self.devices, self.outbox, self.ledger)
        return snapshot

    async def start_again(self) -> None:
        """Start Home Assistant after an end."""
        since = time.monotonic()
        await self.demo.hass.start()
        self._slowest_start = max(self._slowest_start, time.monotonic() - since)
        async with self._signing_in:
            await self.demo.api.sign_in()
        if self._down_since is not None:
            self._down.append(Outage(self._down_since, time.time()))
            self._down_since = None

    @contextlib.asynccontextmanager
    async def outage(self, *, unreachable: bool = False) -> Any:
        """Note a time without acknowledgements; ``unreachable`` where nothing arrives either."""
        start = time.time()
        try:
            yield
        finally:
            outage = Outage(start, time.time())
            self.evidence.outages.append(outage)
            if unreachable:
                self._unreachable.append(outage)

    @contextlib.asynccontextmanager
    async def full_disk(self) -> Any:
        """Leave the outbox no byte inside."""
        start = time.time()
        await asyncio.to_thread(self.disk.fill)
        try:
            yield
        finally:
            await asyncio.to_thread(self.disk.clear)
            self._disk_full.append(Outage(start, time.time()))

    @contextlib.asynccontextmanager
    async def denial(self, *topics: str) -> Any:
        """Have the broker close on messages on these topics, as a policy that forbids them."""
        start = time.time()
        self.demo.gate.denied.update(topics)
        try:
            # What was acknowledged when it closed may not have been heard.
            async with self.outage():
                yield
        finally:
            self.demo.gate.denied.clear()
            self.evidence.denials.append(Outage(start, time.time()))

    # People

    async def press(self) -> None:
        """Press devices' buttons now and then, for ever; nothing that goes wrong is an error."""
        pressing: set[asyncio.Task[None]] = set()
        deck: list[TracedDevice] = []
        try:
            while True:
                await asyncio.sleep(self.random.uniform(0.5, 3.0))
                await self.may_press.wait()
                deck = deck or self.random.sample(self.devices, len(self.devices))
                pressing.add(press := asyncio.create_task(self._press(deck.pop())))
                press.add_done_callback(pressing.discard)
        finally:
            # Whoever has pressed a button waits for what comes of it.
            if pressing:
                await asyncio.wait(pressing)

    async def _press(self, device: TracedDevice) -> None:
        button = f"button.chaos_{device.identity.serial.lower()}_upload_now"
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            try:
                async with asyncio.timeout(PRESS_SECONDS):
                    await self.demo.api.call("button", "press", entity_id=button)
            except ApiError as error:
                if " 401 " in str(error):
                    await self._sign_in()

    async def _sign_in(self) -> None:
        """Sign in again, for a clock that was set has ended the old token."""
        async with self._signing_in:
            with contextlib.suppress(ApiError):
                await self.demo.api.sign_in()

    # Where it stands

    @property
    def drained(self) -> bool:
        """Whether every device is empty, and all that they erased is at each destination."""
        return all(device.empty for device in self.devices) and self.caught_up()

    def patience(self, seconds: float) -> float:
        """Return how long to wait for what takes so long at most on a usual machine.

        How slow this one is shows whenever Home Assistant starts.
        """
        return seconds * max(1.0, self._slowest_start / USUAL_START)

    def has_healthy(self, count: int) -> bool:
        """Whether so many logs are everywhere."""
        return self.in_cloud(0.0) >= count <= self.beside_the_cloud(0.0)

    def in_cloud(self, since: float) -> int:
        """Count the logs in the cloud of which devices were released since a moment."""
        return sum(released >= since for released, _ in journeys(self.devices, self.ledger))

    def beside_the_cloud(self, since: float) -> int:
        """Count the logs released since a moment that all have but the cloud.

        The folder must be usable.
        """
        self._read_folder()
        logs = {content for content, at in self.filed.arrivals.items() if at[0] >= since}
        filed = {each.capture_id: each for each in self._reader.captures.values()}
        there = (
            self.frail_collector.complete(filed)
            & self.frail_unit.complete()
            & self.frail_thing.numbers()
        )
        everywhere = {
            content_of(filed[each].serial, filed[each].kind, filed[each].data)
            for each in there & filed.keys()
        }
        found = Ledger(self.demo.cloud, self._by_serial)
        found.arrivals |= {each: self.filed.arrivals[each] for each in logs & everywhere}
        found.numbers = {each: self.filed.numbers.get(each, []) for each in found.arrivals}
        return sum(released >= since for released, _ in journeys(self.devices, found))

    def caught_up(self) -> bool:
        """Whether all that was erased is at each destination; the folder must be usable."""
        if lost_pieces(self.devices, None, self.ledger):
            return False
        self._read_folder()
        if lost_pieces(self.devices, None, self.filed):
            return False
        filed = {each.capture_id: each for each in self._reader.captures.values()}
        numbers = filed.keys()
        return (
            numbers <= self.frail_collector.complete(filed)
            and numbers <= self.frail_unit.complete()
            and numbers <= self.frail_thing.numbers()
            and numbers <= self.frail_site.complete(filed)
        )

    def _read_folder(self) -> None:
        """Note what was written since the last look; the directory must be as it should be."""
        known = len(self._reader.captures)
        filed = self._reader.read()
        if len(filed) > known:
            self.filed = self._note_files(self._reader)

    def _note_files(self, reader: FolderReader) -> Ledger:
        ledger = Ledger(self.demo.cloud, self._by_serial)
        for each in reader.read():
            ledger.note(each.serial, each.kind, each.data, each.written_at)
        ledger.foreign += reader.faulty.values()
        return ledger

    def judge(self, snapshot: Snapshot) -> dict[str, Judgement]:
        """Judge all destinations when all has come to rest."""
        reader = FolderReader(self.folder.path)
        filed = self._note_files(reader)
        cloud = judge(ULOGGER, ULOGGER, self.devices, snapshot, self.ledger, self.evidence)
        folder = judge("folder", self.folder_id, self.devices, snapshot, filed)
        absent, twice = misfiled(reader.captures.values(), snapshot, self.folder_id)
        other = list(altered(reader.captures.values(), snapshot))
        folder.lost += len(absent)
        folder.duplicated_unexplained += len(twice)
        folder.foreign += len(other)
        folder.details += [f"folder: {each}" for each in (*absent, *twice, *other)]
        self._compare(cloud, self.ledger, folder, filed)
        return {
            "ulogger": cloud,
            "folder": folder,
            "otlp": self._judge_collector(snapshot, reader),
            "pepeunit": self._judge_unit(snapshot, reader),
            "clesyde": self._judge_thing(snapshot),
            "udmi": self._judge_site(snapshot, reader),
        }

    def _judge_collector(self, snapshot: Snapshot, reader: FolderReader) -> Judgement:
        """Judge the collector; the folder tells which bytes a capture's number stands for."""
        frail = self.frail_collector
        files = {each.capture_id: each for each in reader.captures.values()}
        came = frail.ledger(self.demo.cloud, self._by_serial, files)
        collector = judge("otlp", self.otlp_id, self.devices, snapshot, came, frail.evidence)
        absent = snapshot.delivered(self.otlp_id) - frail.complete(files)
        collector.lost += len(absent)
        collector.details += [
            f"otlp: capture {each} was delivered, and is not whole" for each in absent
        ]
        others = [*self.folder.dead, *self._unreachable]
        both = [*self._down, *self._disk_full]
        to_collector = journeys(self.devices, came)
        excused = [
            *until_caught_up(both, self.patience(SETTLED), to_collector),
            *until_caught_up(frail.dead, self.patience(LIFTED), to_collector),
        ]
        compare_troubles(collector, came, to_collector, Trouble(frail.dead, excused), others)
        return collector

    def _judge_site(self, snapshot: Snapshot, reader: FolderReader) -> Judgement:
        """Judge what came to the site; the folder tells which bytes a number stands for."""
        frail = self.frail_site
        files = {each.capture_id: each for each in reader.captures.values()}
        came = frail.ledger(self.demo.cloud, self._by_serial, files)
        site = judge("udmi", self.site_id, self.devices, snapshot, came, frail.evidence)
        absent = snapshot.delivered(self.site_id) - frail.complete(files)
        site.lost += len(absent)
        site.details += [f"udmi: capture {each} was delivered, and is not whole" for each in absent]
        others = [*self.folder.dead, *self._unreachable]
        to_site = journeys(self.devices, came)
        excused = [
            *until_caught_up([*self._down, *self._disk_full], SETTLED, to_site),
            *until_caught_up(frail.dead, LIFTED, to_site),
        ]
        compare_troubles(site, came, to_site, Trouble(frail.dead, excused), others)
        return site

    def _judge_thing(self, snapshot: Snapshot) -> Judgement:
        """Judge what came to the thing's topics."""
        frail = self.frail_thing
        came = frail.ledger(self.demo.cloud, self._by_serial)
        thing = judge("clesyde", self.thing_id, self.devices, snapshot, came, frail.evidence)
        absent = snapshot.delivered(self.thing_id) - frail.numbers()
        thing.lost += len(absent)
        thing.details += [
            f"clesyde: capture {each} was delivered, and is not there" for each in absent
        ]
        others = [*self.folder.dead, *self._unreachable]
        to_thing = journeys(self.devices, came)
        excused = [
            *until_caught_up([*self._down, *self._disk_full], self.patience(SETTLED), to_thing),
            *until_caught_up(frail.dead, self.patience(LIFTED), to_thing),
        ]
        compare_troubles(thing, came, to_thing, Trouble(frail.dead, excused), others)
        return thing

    def _judge_unit(self, snapshot: Snapshot, reader: FolderReader) -> Judgement:
        """Judge the log of the unit; the folder tells which bytes a capture's number stands for."""
        frail = self.frail_unit
        files = {each.capture_id: each for each in reader.captures.values()}
        came = frail.ledger(self.demo.cloud, self._by_serial, files)
        unit = judge("pepeunit", self.unit_id, self.devices, snapshot, came, frail.evidence)
        absent = snapshot.delivered(self.unit_id) - frail.complete()
        unit.lost += len(absent)
        unit.details += [
            f"pepeunit: capture {each} was delivered, and is not whole" for each in absent
        ]
        others = [*self.folder.dead, *self._unreachable]
        both = [*self._down, *self._disk_full]
        to_unit = journeys(self.devices, came)
        excused = [
            *until_caught_up(both, self.patience(SETTLED), to_unit),
            *until_caught_up(
                [*frail.dead, *frail.evidence.denials], self.patience(LIFTED), to_unit
            ),
        ]
        compare_troubles(unit, came, to_unit, Trouble(frail.dead, excused), others)
        return unit

    def _compare(self, cloud: Judgement, came: Ledger, folder: Judgement, filed: Ledger) -> None:
        """Look whether the trouble of one destination was felt at the other."""
        both = [*self._down, *self._disk_full]
        dead = self.folder.dead
        to_cloud, to_folder = journeys(self.devices, came), journeys(self.devices, filed)
        of_cloud = [
            *until_caught_up([*both, *self.evidence.outages], self.patience(SETTLED), to_cloud),
            *until_caught_up(self.evidence.denials, self.patience(LIFTED), to_cloud),
        ]
        of_folder = [
            *until_caught_up(both, self.patience(SETTLED), to_folder),
            *until_caught_up(dead, self.patience(LOOKED_AGAIN), to_folder),
        ]
        compare_troubles(cloud, came, to_cloud, Trouble(self._unreachable, of_cloud), dead)
        compare_troubles(folder, filed, to_folder, Trouble(dead, of_folder), self._unreachable)

    def at_rest(self) -> bool:
        """Whether there is nothing to wait for: all has arrived, or what is lost never will."""
        return bool(self.lost) or self.drained

    async def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds; False when it does not in time."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            return False
        return True
