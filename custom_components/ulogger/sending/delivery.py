"""From the outbox to one destination: in order per device, devices independent of each other.

A capture leaves the outbox when its acknowledgement is there, not before. What fails for a
while is tried again later; what the destination refuses each time goes to quarantine, so that the
captures behind it move up. Free of Home Assistant, like the rooms it joins.

Rules:

* `DEVICES_AT_ONCE` devices send at once, and the one goes first that was tried longest ago.
* Of one device as many captures are under way as the destination takes in order (its ``window``).
  Acknowledgements go to disk in the order of the captures; after a failure nothing new of the
  device begins before all that is under way has ended.
* Several that wait may go as one, where the destination knows how (see `JoinsCaptures`); none
  waits for that. Each is recorded by itself once the one is acknowledged. If that one fails, other
  than for want of a connection, they go one by one.
* What has to come before a capture can be sent (a session token) is waited for apart; it takes
  none of those places.
* What failed holds up its own device, each time for longer; with a connection lost, until there
  is one. A kind of capture that the destination denies (a topic, by its policy) is all that waits
  then: core dumps pass logs, and logs core dumps.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ..cloud.destination import Destination, JoinsCaptures
from ..cloud.errors import CloudError, CloudUnavailable, HeldBack, NotAcknowledged, TopicDenied
from ..model.capture import CaptureKind
from ..model.identity import DeviceKey
from ..outbox.errors import OutboxError
from ..outbox.model import REFUSED, DeliveryState, Item
from ..outbox.outbox import Outbox
from .flight import Flight
from .holds import Holds
from .load import Load

_LOGGER = logging.getLogger(__name__)

BATCH = 32
"""Captures whose bodies are loaded in one go."""
DEVICES_AT_ONCE = 8
"""Devices whose captures are sent at once."""
REFUSALS_BEFORE_QUARANTINE = 3
LONGEST_REST = 60.0
UNEXPECTED_BACKOFF = 60.0


class DeliveryListener(Protocol):
    """Who is notified of what became of a capture."""

    def delivered(self, item: Item) -> None:
        """The destination acknowledged *item*, and that is on disk."""

    def failed(self, item: Item, error: CloudError) -> None:
        """The destination did not take *item* this time."""

    def quarantined(self, item: Item) -> None:
        """The destination refused *item* each time; it is kept aside."""

    def outbox_failed(self, error: OutboxError) -> None:
        """The outbox could not be read or written."""


class Delivery:
    """The pump between one account's outbox and one of its destinations."""

    def __init__(
        self,
        outbox: Outbox,
        destination: Destination,
        listener: DeliveryListener,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._queue = outbox.queue(destination.id)
        self._destination = destination
        self._joins = destination if isinstance(destination, JoinsCaptures) else None
        self._apart: dict[DeviceKey, int] = {}
        self._listener = listener
        self._clock = clock
        self._wake = asyncio.Event()
        self._active: dict[DeviceKey, asyncio.Task[None]] = {}
        self._preparing: dict[DeviceKey, asyncio.Task[None]] = {}
        self._holds = Holds(clock)
        self._attempted: dict[DeviceKey, float] = {}
        self._refusals: Counter[int] = Counter()
        self._unrecorded: dict[int, Item] = {}
        self._waiters: dict[int, list[asyncio.Future[bool]]] = defaultdict(list)
        self._finishing = False

    def wake(self) -> None:
        """Look again now: a capture came, the destination is back, or a limit was lifted."""
        self._wake.set()

    def retry_now(self) -> None:
        """Forget all waiting times, then look again."""
        self._holds.clear()
        self.wake()

    def resume(self) -> None:
        """Look again now that there is a connection; what failed by itself waits on."""
        self._holds.resume()
        self.wake()

    def lift(self) -> None:
        """Look again at kinds of captures that were denied: they may not be any longer."""
        self._holds.lift()
        self.wake()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                self._wake.clear()
                try:
                    if self._destination.connected and not self._finishing:
                        await self._record_leftovers()
                        await self._start_devices()
                except OutboxError as err:
                    _LOGGER.warning("The outbox can't be read; trying again: %s", err)
                    self._listener.outbox_failed(err)
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(self._holds.next_end(), LONGEST_REST)):
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
                there = row.deliveries.get(self._destination.id)
                waits = there is not None and there.state is DeliveryState.WAITING
                if not waits and row.capture_id in futures:
                    delivered = there is not None and there.state is DeliveryState.DELIVERED
                    self._resolve(row.capture_id, delivered=delivered)
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

    # Which devices

    async def _start_devices(self) -> None:
        while (room := DEVICES_AT_ONCE - len(self._active)) > 0 and not self._finishing:
            exclude, core_dumps_only, logs_only = self._waiting()
            batch = await self._queue.batch(
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
                if self._destination.ready(items[0].capture):
                    self._start(self._active, key, self._deliver_device(key, items))
                else:
                    # Many may wait for the destination at once: none keeps its bytes.
                    bare = replace(items[0], capture=replace(items[0].capture, data=b""))
                    self._start(self._preparing, key, self._prepare(bare))

    def _waiting(self) -> tuple[set[DeviceKey], set[DeviceKey], set[DeviceKey]]:
        """Return who waits altogether, with its logs, and with its core dumps."""
        waiting = self._holds.waiting()
        exclude = waiting[None] | self._active.keys() | self._preparing.keys()
        exclude |= {item.key for item in self._unrecorded.values()}
        logs = waiting[CaptureKind.LOG] | set(self._destination.over_quota())
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
            self._holds.hold_for((key, None), UNEXPECTED_BACKOFF)
        self.wake()

    async def _prepare(self, item: Item) -> None:
        """Have the destination make ready for a device's captures."""
        try:
            await self._destination.prepare(item.capture)
        except CloudError as err:
            await self._failed(Load.of(item), err)

    # One device

    async def _deliver_device(self, key: DeviceKey, items: list[Item]) -> None:
        """Send one device's oldest captures; the marks go to disk beside it."""
        flight = Flight(self._deliver, self._record)
        before: Item | None = None
        try:
            while items and await flight.room_for(self._destination.window(items[0].capture)):
                if not self._may_begin(items[0]):
                    break
                load = Load.next(items, before, self._joins, self._apart.get(key, 0))
                del items[: len(load.items)]
                before = load.items[-1]
                flight.begin(load)
                if not items and len(self._active) < DEVICES_AT_ONCE and not self._finishing:
                    items = await self._following(key, before)
            failures = await flight.close()
        except asyncio.CancelledError:
            # Shielded: a stop between acknowledgement and note would send it twice.
            await asyncio.shield(asyncio.create_task(flight.abort()))
            raise
        await self._note_failures(failures, items)

    async def _following(self, key: DeviceKey, last: Item) -> list[Item]:
        """Load what comes next, as long as no other device waits for this one's place."""
        _exclude, core_dumps_only, logs_only = self._waiting()
        return await self._queue.following(
            key,
            last.capture_id,
            BATCH,
            core_dumps_only=key in core_dumps_only,
            logs_only=key in logs_only,
        )

    def _may_begin(self, item: Item) -> bool:
        """Whether a capture may go now that its device's turn has come."""
        is_log = item.capture.kind is CaptureKind.LOG
        if self._finishing or (is_log and item.key in self._destination.over_quota()):
            return False
        return self._destination.ready(item.capture)

    async def _note_failures(
        self, failures: list[tuple[Load, CloudError]], rest: list[Item]
    ) -> None:
        """Note why loads of one device failed; a lost connection fails all, and counts once."""
        for place, (load, err) in enumerate(failures):
            if place == 0 or err.about_message:
                await self._failed(load, err)
        if failures and len(failures) == 1:
            load, err = failures[0]
            if isinstance(err, TopicDenied) and err.one_message:
                await self._ask_witness(load.items[-1], rest)

    async def _ask_witness(self, accused: Item, others: list[Item]) -> None:
        """Send the next of a kind: that shows if all of it is denied, or the one capture refused.

        Without that, one bad capture would keep all those behind it waiting for ever.
        """
        for witness in others:
            if witness.capture.kind is accused.capture.kind:
                alone = Load.of(witness)
                try:
                    await self._deliver(alone)
                except CloudError as err:
                    await self._failed(alone, err)
                    if isinstance(err, HeldBack):
                        # It has yet to be heard, before the accused goes again.
                        self._holds.release_only((accused.key, accused.capture.kind))
                    return
                await asyncio.shield(asyncio.create_task(self._record([alone])))
                return

    async def _deliver(self, load: Load) -> None:
        """Send a load; raises CloudError."""
        await self._destination.deliver(load.capture, load.items[0].capture_id)
        for item in load.items:
            self._unrecorded[item.capture_id] = item
            self._refusals.pop(item.capture_id, None)
        self._attempted[load.key] = self._clock()
        self._holds.release(load.key, load.capture.kind)

    # What became of it

    async def _record(self, loads: list[Load]) -> bool:
        """Note on disk that captures are delivered; says whether the disk took it."""
        items = [item for load in loads for item in load.items]
        saved = sum(load.saved for load in loads)
        try:
            await self._queue.delivered([item.capture_id for item in items], saved=saved)
        except OutboxError as err:
            _LOGGER.warning(
                "%s captures were delivered, but the disk did not take the note; "
                "it will be noted before anything else is sent: %s",
                len(items),
                err,
            )
            self._listener.outbox_failed(err)
            self._holds.hold_back((items[0].key, None))
            return False
        for item in items:
            self._settle(item)
        return True

    async def _record_leftovers(self) -> None:
        for item in list(self._unrecorded.values()):
            # While one note was written, another device may have written its own.
            if item.key not in self._active and item.capture_id in self._unrecorded:
                await self._queue.delivered([item.capture_id])
                self._settle(item)

    def _settle(self, item: Item) -> None:
        self._unrecorded.pop(item.capture_id, None)
        if item.capture_id >= self._apart.get(item.key, item.capture_id + 1):
            del self._apart[item.key]
        self._resolve(item.capture_id, delivered=True)
        self._listener.delivered(item)

    async def _failed(self, load: Load, err: CloudError) -> None:
        item = load.items[0]
        self._listener.failed(item, err)
        if load.joined and not _never_left(err):
            self._apart[load.key] = load.items[-1].capture_id
        which = (load.key, load.capture.kind if err.about_kind else None)
        if err.retry_after:
            self._holds.hold_for(which, err.retry_after)
            return
        if not _never_left(err):
            self._attempted[load.key] = self._clock()
        refused = err.about_message and not err.retryable
        if not (refused and load.joined):
            # What is taken and not acknowledged may be the cause of the lost connection.
            lost = isinstance(err, CloudUnavailable) and not isinstance(err, NotAcknowledged)
            self._holds.hold_back(which, lost=lost)
        try:
            for each in load.items:
                await self._queue.failed(each.capture_id, err.reason)
            # Which of several is refused shows when they go one by one, and that is at once.
            if not refused or load.joined:
                return
            self._refusals[item.capture_id] += 1
            if err.final or self._refusals[item.capture_id] >= REFUSALS_BEFORE_QUARANTINE:
                await self._queue.quarantine(item.capture_id, REFUSED)
                self._holds.release_only((item.key, None))
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


def _never_left(err: CloudError) -> bool:
    """Whether nothing was sent at all, for want of a connection."""
    return isinstance(err, CloudUnavailable) and not err.sent
