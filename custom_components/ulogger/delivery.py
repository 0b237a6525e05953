"""From the outbox to the cloud: in order per device, devices independent of each other.

A capture leaves the outbox when its acknowledgement is there, not before. What fails for a
while is tried again later; what the cloud refuses each time goes to quarantine, so that the
captures behind it move up. Free of Home Assistant, like the rooms it joins.
"""

import asyncio
import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from .capture.model import CaptureFault, CaptureKind, DeviceKey
from .capture.timestamps import dated
from .cloud.interface import Cloud, CloudError
from .outbox.errors import OutboxError
from .outbox.model import CaptureState, Item
from .outbox.outbox import Outbox

_LOGGER = logging.getLogger(__name__)

BATCH = 16
"""Captures of one device whose bodies are in memory at once."""
DEVICES_AT_ONCE = 8
REFUSALS_BEFORE_QUARANTINE = 3
FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 600.0
LONGEST_REST = 60.0
UNEXPECTED_BACKOFF = 60.0


class DeliveryListener(Protocol):
    """Who wants to know what became of a capture."""

    def delivered(self, item: Item) -> None:
        """The cloud acknowledged *item*, and that is on disk."""

    def failed(self, item: Item, error: CloudError) -> None:
        """The cloud did not take *item* this time."""

    def quarantined(self, item: Item) -> None:
        """The cloud refused *item* each time; it is kept aside."""

    def outbox_failed(self, error: OutboxError) -> None:
        """The outbox could not be read or written."""


@dataclass(slots=True)
class _Backoff:
    failures: int
    until: float


class Delivery:
    """The pump between one account's outbox and its cloud.

    ``over_quota`` names the devices whose logs must wait for the next UTC day; their core
    dumps pass.
    """

    def __init__(
        self,
        outbox: Outbox,
        cloud: Cloud,
        listener: DeliveryListener,
        *,
        over_quota: Callable[[], Collection[DeviceKey]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._cloud = cloud
        self._listener = listener
        self._over_quota = over_quota
        self._clock = clock
        self._wake = asyncio.Event()
        self._active: dict[DeviceKey, asyncio.Task[None]] = {}
        self._backoff: dict[DeviceKey, _Backoff] = {}
        self._refusals: Counter[int] = Counter()
        self._unrecorded: dict[int, Item] = {}
        self._waiters: dict[int, list[asyncio.Future[bool]]] = defaultdict(list)
        self._finishing = False

    def wake(self) -> None:
        """Look again now: a capture came, the cloud is back, or a limit was lifted."""
        self._wake.set()

    def retry_now(self) -> None:
        """Forget all waiting times, then look again."""
        self._backoff.clear()
        self.wake()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                self._wake.clear()
                try:
                    if self._cloud.connected and not self._finishing:
                        await self._record_leftovers()
                        await self._start_devices()
                except OutboxError as err:
                    _LOGGER.warning("The outbox can't be read; trying again: %s", err)
                    self._listener.outbox_failed(err)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._rest()):
                        await self._wake.wait()
        finally:
            if tasks := list(self._active.values()):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def finish(self, seconds: float) -> None:
        """Begin nothing new, and wait for what is under way: half sent is sent twice."""
        self._finishing = True
        if self._active:
            await asyncio.wait(self._active.values(), timeout=seconds)

    async def wait_delivered(self, key: DeviceKey, ids: Iterable[int], seconds: float) -> set[int]:
        """Wait until the device's captures *ids* are delivered; return those that are."""
        loop = asyncio.get_running_loop()
        futures: dict[int, asyncio.Future[bool]] = {id_: loop.create_future() for id_ in ids}
        for id_, future in futures.items():
            self._waiters[id_].append(future)
        self.wake()
        try:
            for row in await self._outbox.listing(key) if futures else ():
                if row.state is not CaptureState.WAITING and row.capture_id in futures:
                    self._resolve(row.capture_id, delivered=row.state is CaptureState.DELIVERED)
            if futures:
                await asyncio.wait(futures.values(), timeout=seconds)
            return {id_ for id_, future in futures.items() if future.done() and future.result()}
        finally:
            for id_, future in futures.items():
                waiters = self._waiters.get(id_, [])
                if future in waiters:
                    waiters.remove(future)
                if not waiters:
                    self._waiters.pop(id_, None)

    async def _start_devices(self) -> None:
        now = self._clock()
        while len(self._active) < DEVICES_AT_ONCE and not self._finishing:
            held = self._active.keys() | {k for k, b in self._backoff.items() if b.until > now}
            held |= {item.key for item in self._unrecorded.values()}
            batch = await self._outbox.batch(
                BATCH, exclude=held, core_dumps_only=set(self._over_quota())
            )
            by_device: dict[DeviceKey, list[Item]] = defaultdict(list)
            for item in batch:
                by_device[item.key].append(item)
            if not by_device:
                return
            for key, items in by_device.items():
                task = asyncio.create_task(self._deliver_device(key, items))
                self._active[key] = task
                task.add_done_callback(partial(self._device_done, key))

    def _device_done(self, key: DeviceKey, task: asyncio.Task[None]) -> None:
        """Look again; what nobody foresaw holds up its own device only."""
        del self._active[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.error("Delivering captures of %s failed", key[1], exc_info=error)
            self._backoff[key] = _Backoff(1, self._clock() + UNEXPECTED_BACKOFF)
        self.wake()

    async def _deliver_device(self, key: DeviceKey, items: list[Item]) -> None:
        """One device's oldest captures, one after another; the marks go to disk beside it."""
        recording: asyncio.Task[bool] | None = None
        try:
            for item in items:
                if self._finishing or self._must_wait(item) or not await self._deliver(key, item):
                    return
                # A failed note stops the device: nothing newer may overtake it after a restart.
                earlier, recording = recording, asyncio.create_task(self._record(item))
                if earlier is not None and not await asyncio.shield(earlier):
                    return
        finally:
            if recording is not None:
                # Shielded: a stop between acknowledgement and record would send it twice.
                await asyncio.shield(recording)

    def _must_wait(self, item: Item) -> bool:
        """Whether the device reached its quota amid the batch; core dumps pass all the same."""
        return item.capture.kind is CaptureKind.LOG and item.key in self._over_quota()

    async def _deliver(self, key: DeviceKey, item: Item) -> bool:
        try:
            await self._cloud.deliver(replace(item.capture, data=dated(item.capture)))
        except CloudError as err:
            await self._failed(key, item, err)
            return False
        self._backoff.pop(key, None)
        self._refusals.pop(item.capture_id, None)
        return True

    async def _record(self, item: Item) -> bool:
        """Note on disk that *item* is delivered; says whether the disk took it."""
        self._unrecorded[item.capture_id] = item
        try:
            await self._outbox.delivered([item.capture_id])
        except OutboxError as err:
            _LOGGER.warning(
                "Capture %s was delivered, but the disk did not take the note; "
                "it will be noted before anything else is sent: %s",
                item.capture_id,
                err,
            )
            self._listener.outbox_failed(err)
            self._hold_back(item.key)
            return False
        self._settle(item)
        return True

    async def _record_leftovers(self) -> None:
        for item in list(self._unrecorded.values()):
            # While one note was written, another device may have written its own.
            if item.key not in self._active and item.capture_id in self._unrecorded:
                await self._outbox.delivered([item.capture_id])
                self._settle(item)

    def _settle(self, item: Item) -> None:
        self._unrecorded.pop(item.capture_id, None)
        self._resolve(item.capture_id, delivered=True)
        self._listener.delivered(item)

    def _hold_back(self, key: DeviceKey) -> None:
        """Leave the device alone for a while, each time in a row for longer."""
        failures = self._backoff[key].failures + 1 if key in self._backoff else 1
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 16))
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads devices, keeps no secret
        self._backoff[key] = _Backoff(failures, self._clock() + delay)

    async def _failed(self, key: DeviceKey, item: Item, err: CloudError) -> None:
        self._listener.failed(item, err)
        self._hold_back(key)
        try:
            await self._outbox.failed(item.capture_id, err.reason)
            if err.retryable or not err.about_message:
                return
            self._refusals[item.capture_id] += 1
            if self._refusals[item.capture_id] >= REFUSALS_BEFORE_QUARANTINE:
                await self._outbox.quarantine(item.capture_id, CaptureFault.REFUSED)
                self._backoff.pop(key, None)
                del self._refusals[item.capture_id]
                self._resolve(item.capture_id, delivered=False)
                self._listener.quarantined(item)
        except OutboxError as failure:
            _LOGGER.warning("The outbox did not take a note; nothing is lost: %s", failure)
            self._listener.outbox_failed(failure)

    def _resolve(self, id_: int, *, delivered: bool) -> None:
        for future in self._waiters.pop(id_, []):
            if not future.done():
                future.set_result(delivered)

    def _rest(self) -> float:
        now = self._clock()
        waits = [b.until - now for b in self._backoff.values() if b.until > now]
        return min([*waits, LONGEST_REST])
