"""One destination's view of the outbox: what waits for it, and what became of that."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from ..model.identity import DeviceKey
from . import deliveries, next_batch, queries, records
from .database import Database
from .model import DAMAGED, DestinationCounters, Item


class Queue:
    """First in, first out for each device; devices never wait for each other.

    Whatever changes something has reached the disk when it returns. Every method raises an
    ``OutboxError`` and nothing else; after one nothing is half done.
    """

    def __init__(
        self, database: Database, destination: str, now: Callable[[], float] = time.time
    ) -> None:
        self.destination = destination
        self._database = database
        self._now = now

    async def batch(
        self,
        limit: int = 32,
        *,
        max_bytes: int = 1 << 20,
        exclude: Collection[DeviceKey] = (),
        core_dumps_only: Collection[DeviceKey] = (),
        logs_only: Collection[DeviceKey] = (),
        devices: int | None = None,
        attempted: Mapping[DeviceKey, float] | None = None,
    ) -> list[Item]:
        """Load the next captures to deliver, with their bytes, at least one if any waits.

        Devices take turns: the one first whose last attempt was longest ago (``attempted``, by
        any clock; none comes before all), then the one that has waited longest; of each device
        the items are the beginning of its queue, in order. ``devices`` is how many devices the
        items are of at most. ``exclude`` leaves devices out (their cloud token is
        missing, their last attempt has just failed), ``core_dumps_only`` lets only core dumps of
        a device pass (its daily limit is reached), ``logs_only`` only logs.
        The same items come again until they are delivered, quarantined or discarded.
        """
        choice = next_batch.Choice(
            frozenset(exclude),
            frozenset(core_dumps_only),
            frozenset(logs_only),
            dict(attempted or {}),
        )
        most = next_batch.Most(limit, max_bytes, limit if devices is None else devices)
        return await self._load(most, choice)

    async def following(
        self,
        key: DeviceKey,
        after: int,
        limit: int = 32,
        *,
        max_bytes: int = 1 << 20,
        core_dumps_only: bool = False,
        logs_only: bool = False,
    ) -> list[Item]:
        """Load what comes in a device's queue after a capture that is on its way already."""
        choice = next_batch.Choice(
            (), {key} if core_dumps_only else (), {key} if logs_only else (), {}, key, after
        )
        return await self._load(next_batch.Most(limit, max_bytes, 1), choice)

    async def _load(self, most: next_batch.Most, choice: next_batch.Choice) -> list[Item]:
        while True:
            found = await self._database.read(
                lambda c: next_batch.load(c, self.destination, most, choice)
            )
            if not found.damaged:
                return found.items
            await asyncio.gather(*(self._set_damaged(each) for each in found.damaged))

    async def _set_damaged(self, capture_id: int) -> None:
        """Take a capture out of everybody's way: its bytes are not what was stored."""
        await self._database.write(lambda c: records.set_fault(c, capture_id, DAMAGED, self._now()))

    async def delivered(
        self, ids: Iterable[int], now: float | None = None, *, saved: int = 0
    ) -> int:
        """Mark captures as acknowledged and count them; returns how many of them are new.

        ``saved`` is by how many bytes what was sent of a device was shorter than its captures.
        """
        moment = self._now() if now is None else now
        marked = tuple(ids)
        return await self._database.write(
            lambda c: deliveries.deliver(c, self.destination, marked, moment, saved)
        )

    async def failed(self, capture_id: int, error: str) -> int:
        """Note a failed attempt; the capture stays where it is in its queue. Says how many."""
        return await self._database.write(
            lambda c: deliveries.fail(c, self.destination, capture_id, error, self._now())
        )

    async def quarantine(self, capture_id: int, reason: str) -> bool:
        """Take a capture that the destination refuses out of its device's way, here only.

        False when the capture does not wait here.
        """
        return await self._database.write(
            lambda c: deliveries.refuse(c, self.destination, capture_id, reason, self._now())
        )

    async def retry(self, capture_id: int) -> bool:
        """Let a refused capture wait again, at its old place. False if it was not refused."""
        return await self._database.write(
            lambda c: deliveries.retry(c, capture_id, self._now(), self.destination)
        )

    async def counters(self) -> Mapping[DeviceKey, DestinationCounters]:
        """Read what the destination has got of each device, and what is still to come."""
        found = await self._database.read(lambda c: queries.delivery_counters(c, self._now()))
        return found.get(self.destination, {})
