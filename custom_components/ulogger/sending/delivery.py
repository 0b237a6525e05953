"""From the outbox to the cloud: in order per device, devices independent of each other.

A capture leaves the outbox when its acknowledgement is there, not before. What fails for a
while is tried again later; what the cloud refuses each time goes to quarantine, so that the
captures behind it move up. Free of Home Assistant, like the rooms it joins.

Rules:

* `DEVICES_AT_ONCE` devices send at once, and the one goes first that was tried longest ago.
* What has to come before a capture can be sent (a session token) is waited for apart; it takes
  none of those places.
* What failed holds up its own device, each time for longer; with a connection lost, until there
  is one. A kind of capture that the cloud denies (a topic, by its policy) is all that waits then:
  core dumps pass logs, and logs core dumps.
"""

import asyncio
import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from ..capture.timestamps import dated
from ..cloud.destination import Cloud
from ..cloud.errors import CloudError, CloudUnavailable, HeldBack, NotAcknowledged, TopicDenied
from ..model.capture import CaptureFault, CaptureKind
from ..model.identity import DeviceKey
from ..outbox.errors import OutboxError
from ..outbox.model import CaptureState, Item
from ..outbox.outbox import Outbox

_LOGGER = logging.getLogger(__name__)

BATCH = 16
"""Captures whose bodies are loaded in one go."""
DEVICES_AT_ONCE = 8
"""Devices whose captures are sent at once."""
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
class _Hold:
    """A device, or one kind of its captures, that waits until a moment of our clock."""

    failures: int
    until: float
    lost: bool = False
    """Whether it waits for nothing but a connection."""


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
        self._preparing: dict[DeviceKey, asyncio.Task[None]] = {}
        self._holds: dict[tuple[DeviceKey, CaptureKind | None], _Hold] = {}
        self._attempted: dict[DeviceKey, float] = {}
        self._refusals: Counter[int] = Counter()
        self._unrecorded: dict[int, Item] = {}
        self._waiters: dict[int, list[asyncio.Future[bool]]] = defaultdict(list)
        self._finishing = False

    def wake(self) -> None:
        """Look again now: a capture came, the cloud is back, or a limit was lifted."""
        self._wake.set()

    def retry_now(self) -> None:
        """Forget all waiting times, then look again."""
        self._holds.clear()
        self.wake()

    def resume(self) -> None:
        """Look again now that there is a connection; what failed by itself waits on."""
        self._holds = {which: hold for which, hold in self._holds.items() if not hold.lost}
        self.wake()

    def lift(self) -> None:
        """Look again at kinds of captures that the cloud denied: it may not any longer."""
        self._holds = {which: hold for which, hold in self._holds.items() if which[1] is None}
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
            if tasks := [*self._active.values(), *self._preparing.values()]:
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
        while (room := DEVICES_AT_ONCE - len(self._active)) > 0 and not self._finishing:
            exclude, core_dumps_only, logs_only = self._waiting()
            batch = await self._outbox.batch(
                BATCH,
                devices=room,
                exclude=exclude,
                core_dumps_only=core_dumps_only,
                logs_only=logs_only,
                attempted=self._attempted,
            )
            if not batch:
                return
            by_device: dict[DeviceKey, list[Item]] = defaultdict(list)
            for item in batch:
                by_device[item.key].append(item)
            for key, items in by_device.items():
                if self._cloud.ready(items[0].capture):
                    self._start(self._active, key, self._deliver_device(key, items))
                else:
                    # Many may wait for the cloud at once: none keeps its bytes.
                    bare = replace(items[0], capture=replace(items[0].capture, data=b""))
                    self._start(self._preparing, key, self._prepare(bare))

    def _waiting(self) -> tuple[set[DeviceKey], set[DeviceKey], set[DeviceKey]]:
        """Return who waits altogether, with its logs, and with its core dumps."""
        now = self._clock()
        waiting: dict[CaptureKind | None, set[DeviceKey]] = defaultdict(set)
        for (key, kind), hold in self._holds.items():
            if hold.until > now:
                waiting[kind].add(key)
        exclude = waiting[None] | self._active.keys() | self._preparing.keys()
        exclude |= {item.key for item in self._unrecorded.values()}
        logs = waiting[CaptureKind.LOG] | set(self._over_quota())
        return exclude, logs, waiting[CaptureKind.CORE_DUMP]

    def _start(
        self,
        where: dict[DeviceKey, asyncio.Task[None]],
        key: DeviceKey,
        work: Coroutine[Any, Any, None],
    ) -> None:
        where[key] = task = asyncio.create_task(work)
        task.add_done_callback(partial(self._device_done, where, key))

    def _device_done(
        self,
        where: dict[DeviceKey, asyncio.Task[None]],
        key: DeviceKey,
        task: asyncio.Task[None],
    ) -> None:
        """Look again; what nobody foresaw holds up its own device only."""
        del where[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.error("Delivering captures of %s failed", key[1], exc_info=error)
            self._holds[key, None] = _Hold(1, self._clock() + UNEXPECTED_BACKOFF)
        self.wake()

    async def _prepare(self, item: Item) -> None:
        """Have the cloud make ready for a device's captures."""
        try:
            await self._cloud.prepare(item.capture)
        except CloudError as err:
            await self._failed(item, err)

    async def _deliver_device(self, key: DeviceKey, items: list[Item]) -> None:
        """One device's oldest captures, one after another; the marks go to disk beside it."""
        recording: asyncio.Task[bool] | None = None
        try:
            for place, item in enumerate(items):
                if self._finishing or self._must_wait(item) or not self._cloud.ready(item.capture):
                    return
                try:
                    await self._deliver(item)
                except CloudError as err:
                    await self._failed(item, err)
                    if isinstance(err, TopicDenied) and err.one_message:
                        await self._ask_witness(item, items[place + 1 :])
                    return
                # A failed note stops the device: nothing newer may overtake it after a restart.
                earlier, recording = recording, asyncio.create_task(self._record(item))
                if earlier is not None and not await asyncio.shield(earlier):
                    return
        finally:
            if recording is not None:
                # Shielded: a stop between acknowledgement and record would send it twice.
                await asyncio.shield(recording)

    async def _ask_witness(self, accused: Item, others: list[Item]) -> None:
        """Send the next of a kind: that shows if all of it is denied, or the one capture refused.

        Without that, one bad capture would keep all those behind it waiting for ever.
        """
        for witness in others:
            if witness.capture.kind is accused.capture.kind:
                try:
                    await self._deliver(witness)
                except CloudError as err:
                    await self._failed(witness, err)
                    if isinstance(err, HeldBack):
                        # It has yet to be heard, before the accused goes again.
                        self._holds.pop((accused.key, accused.capture.kind), None)
                    return
                await asyncio.shield(asyncio.create_task(self._record(witness)))
                return

    def _must_wait(self, item: Item) -> bool:
        """Whether the device reached its quota amid the batch; core dumps pass all the same."""
        return item.capture.kind is CaptureKind.LOG and item.key in self._over_quota()

    async def _deliver(self, item: Item) -> None:
        """Send a capture; raises CloudError."""
        await self._cloud.deliver(replace(item.capture, data=dated(item.capture)))
        self._attempted[item.key] = self._clock()
        self._holds.pop((item.key, None), None)
        self._holds.pop((item.key, item.capture.kind), None)
        self._refusals.pop(item.capture_id, None)

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
            self._hold_back((item.key, None), lost=False)
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

    def _hold_back(self, which: tuple[DeviceKey, CaptureKind | None], *, lost: bool) -> None:
        """Leave a device or kind alone for a while, each time in a row for longer."""
        failures = self._holds[which].failures + 1 if which in self._holds else 1
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 16))
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads devices, keeps no secret
        self._holds[which] = _Hold(failures, self._clock() + delay, lost)

    async def _failed(self, item: Item, err: CloudError) -> None:
        self._listener.failed(item, err)
        which = (item.key, item.capture.kind if err.about_kind else None)
        if err.retry_after:
            failures = self._holds[which].failures if which in self._holds else 0
            self._holds[which] = _Hold(failures, self._clock() + err.retry_after)
            return
        if not isinstance(err, CloudUnavailable) or err.sent:
            self._attempted[item.key] = self._clock()
        # What the broker takes and does not acknowledge may be the cause of the lost connection.
        lost = isinstance(err, CloudUnavailable) and not isinstance(err, NotAcknowledged)
        self._hold_back(which, lost=lost)
        try:
            await self._outbox.failed(item.capture_id, err.reason)
            if err.retryable or not err.about_message:
                return
            self._refusals[item.capture_id] += 1
            if self._refusals[item.capture_id] >= REFUSALS_BEFORE_QUARANTINE:
                await self._outbox.quarantine(item.capture_id, CaptureFault.REFUSED)
                self._holds.pop((item.key, None), None)
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
        waits = [hold.until - now for hold in self._holds.values() if hold.until > now]
        return min([*waits, LONGEST_REST])
