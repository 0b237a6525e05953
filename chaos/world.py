"""The road that chaos happens to: a demo with devices that log on and a person who is impatient."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from demo.api import ApiError
from demo.cloud.service import Received
from demo.harness import Harness

from .clock import HostClock
from .device import APPLICATION, TracedDevice
from .disk import SmallDisk
from .ledger import Ledger
from .outbox import OutboxReader, Snapshot
from .verdict import Evidence, Kill, Outage, lost_pieces

COLLECT_MINUTES = 1
PRESS_SECONDS = 40.0
SAVED_SECONDS = 30.0
LOOK = 0.25


class World:
    """Home Assistant, broker, cloud and devices, and what is known of every frame."""

    def __init__(self, directory: Path, devices: list[TracedDevice], random: Random) -> None:
        self.devices = devices
        self.random = random
        self.clock = HostClock(directory)
        self.disk = SmallDisk(directory / "config/.storage/ulogger")
        self.outbox = OutboxReader(directory / "config/.storage/ulogger")
        self.demo = Harness(directory, devices)
        self.ledger = Ledger(self.demo.cloud, {d.identity.serial: d for d in devices})
        self.evidence = Evidence()
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
        self.demo = self._harness()
        self.ledger.cloud = self.demo.cloud
        self.demo.cloud.on_message = self._take
        await self.demo.start()
        entry = await self.demo.set_up_account()
        await self._set_options(entry["entry_id"])
        await self._until_saved()

    def _harness(self) -> Harness:
        environment = self.clock.environment
        return Harness(self.demo.directory, self.devices, environment=environment, gated=True)

    async def stop(self) -> None:
        """Stop everything."""
        self.demo.broker.thaw()
        await self.demo.stop()
        await asyncio.to_thread(self.disk.unmount)

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
        at = time.time()
        snapshot = await self.look()
        self.evidence.kills.append(Kill(at, snapshot.waiting()))

    async def look(self) -> Snapshot:
        """Read the outbox of a Home Assistant that has ended, and look for what is lost."""
        snapshot = await self.outbox.snapshot()
        self.damaged += snapshot.damaged
        self.lost |= lost_pieces(self.devices, self.outbox.pieces, self.ledger)
        return snapshot

    async def start_again(self) -> None:
        """Start Home Assistant after an end."""
        await self.demo.hass.start()
        async with self._signing_in:
            await self.demo.api.sign_in()

    @contextlib.asynccontextmanager
    async def outage(self) -> Any:
        """Note a time without acknowledgements."""
        start = time.time()
        try:
            yield
        finally:
            self.evidence.outages.append(Outage(start, time.time()))

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
        """Whether every device is empty, and all that they erased is in the cloud."""
        if not all(device.empty for device in self.devices):
            return False
        return not lost_pieces(self.devices, {}, self.ledger)

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
