"""A Bluetooth link to simulated firmware: connection events, queues, loss, proxy, cuts.

Bluetooth LE moves packets only in connection events, an interval apart. In each, some go up
(host to device) and some down; a request that goes up in event n is answered in event n + 1
at the soonest, so a host that waits for every answer needs two intervals a chunk. The
device's notify queue is short, and what does not fit is dropped without a sign. Controllers
and hosts commonly manage four to eight short packets an event in each direction: six here.
The radio runs on the loop's clock, virtual or real, and schedules events only while there
is something to move.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from bleak.exc import BleakError

from .firmware import Firmware

ATT_AND_L2CAP = 7
"""Bytes that a notification takes in the queue beside its value."""
EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Air:
    """What a link is like. Times in seconds, sizes in bytes, the rest probabilities.

    ``proxy_latency`` is added in each direction. ``cut_after`` breaks the link when so many
    bytes of values have crossed it in either direction, ``cut_after_notifications`` when so many
    of them have come down, ``cut_after_seconds`` so long after the connect.
    """

    interval: float = 0.030
    packets_up: int = 6
    packets_down: int = 6
    queue: int = 3 * 1024
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    proxy_latency: float = 0.0
    cut_after: int | None = None
    cut_after_notifications: int | None = None
    cut_after_seconds: float | None = None
    seed: int = 0


@dataclass(slots=True)
class Traffic:
    """What crossed a link, and what did not."""

    up: int = 0
    down: int = 0
    bytes: int = 0
    notifications: int = 0
    lost: int = 0
    overflowed: int = 0


type Deliver = Callable[[], object]


@dataclass(slots=True)
class _Packet:
    """A value on its way; a reliable one is neither lost nor overtaken."""

    deliver: Deliver
    size: int
    reliable: bool = False


class _DelayLine:
    """What a proxy does: everything comes out later, in the order it went in."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        self._loop = loop
        self._delay = delay
        self._waiting: deque[tuple[float, Deliver]] = deque()

    def put(self, deliver: Deliver) -> None:
        """Deliver after the delay; at once without one."""
        if not self._delay:
            deliver()
            return
        self._waiting.append((self._loop.time() + self._delay, deliver))
        if len(self._waiting) == 1:
            self._loop.call_later(self._delay, self._release)

    def clear(self) -> None:
        """Forget what is inside."""
        self._waiting.clear()

    def _release(self) -> None:
        now = self._loop.time() + EPSILON
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()[1]()
        if self._waiting:
            self._loop.call_at(self._waiting[0][0], self._release)


@dataclass(slots=True)
class _Lane:
    """One direction's queue."""

    limit: int
    packets: deque[_Packet] = field(default_factory=deque)


class Radio:
    """Carries packets between a host and one firmware, event by event."""

    def __init__(self, firmware: Firmware, air: Air, *, lost: Callable[[], None]) -> None:
        self.air = air
        self.traffic = Traffic()
        self.interval = air.interval
        self.up = False
        self._firmware = firmware
        self._lost = lost
        self._random = Random(air.seed)
        self._loop = asyncio.get_running_loop()
        self._start = self._stalls_until = 0.0
        self._event: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._upward = _Lane(air.packets_up)
        self._downward = _Lane(air.packets_down)
        self._proxy_up = _DelayLine(self._loop, air.proxy_latency)
        self._proxy_down = _DelayLine(self._loop, air.proxy_latency)
        self._queued = 0
        self._subscribed: dict[str, Callable[[bytes], object]] = {}

    def connect(self) -> None:
        """Bring the link up; ConnectionError when the device has another host."""
        self._firmware.connect(self._notify)
        self.up = True
        self._start = self._loop.time()
        if self.air.cut_after_seconds is not None:
            self._cut = self._loop.call_later(self.air.cut_after_seconds, self.drop)

    def drop(self) -> None:
        """Break the link: what is on its way is gone, both ends learn of it."""
        if not self.up:
            return
        self.up = False
        if self._cut:
            self._cut.cancel()
            self._cut = None
        if self._event:
            self._event.cancel()
            self._event = None
        self._upward.packets.clear()
        self._downward.packets.clear()
        self._proxy_up.clear()
        self._proxy_down.clear()
        self._queued = 0
        self._subscribed.clear()
        self._firmware.disconnect()
        self._lost()

    def stall(self, seconds: float) -> None:
        """Carry nothing for so long, as through a proxy that is busy; what waits goes on then."""
        self._stalls_until = self._loop.time() + seconds

    def subscribe(self, uuid: str, receive: Callable[[bytes], object] | None) -> None:
        """Let a characteristic notify, or not any more."""
        if receive is None:
            self._subscribed.pop(uuid, None)
        else:
            self._subscribed[uuid] = receive

    def send_up(self, deliver: Deliver, size: int, *, reliable: bool = False) -> None:
        """Queue a packet to the device, through the proxy."""
        packet = _Packet(deliver, size, reliable)
        self._proxy_up.put(lambda: self._enqueue_up(packet))

    def send_down(self, deliver: Deliver, size: int) -> None:
        """Queue a reliable packet to the host: the response to a read or a write."""
        self._downward.packets.append(_Packet(deliver, size, reliable=True))
        self._wake()

    def _enqueue_up(self, packet: _Packet) -> None:
        if self.up:
            self._upward.packets.append(packet)
            self._wake()

    def _notify(self, uuid: str, value: bytes) -> None:
        """Take a notification from the firmware, if there is a buffer for it."""
        if (receive := self._subscribed.get(uuid)) is None:
            return
        size = len(value)
        if self._queued + size + ATT_AND_L2CAP > self.air.queue:
            self.traffic.overflowed += 1
            return
        self._queued += size + ATT_AND_L2CAP
        self._downward.packets.append(_Packet(lambda: receive(value), size))
        self._wake()

    def _wake(self) -> None:
        """Make sure that the next connection event takes place."""
        if self._event is None:
            events = int((self._loop.time() - self._start) / self.interval + EPSILON) + 1
            self._event = self._loop.call_at(
                self._start + events * self.interval, self._connection_event
            )

    def _connection_event(self) -> None:
        self._event = None
        if self._loop.time() < self._stalls_until:
            self._event = self._loop.call_at(self._stalls_until, self._connection_event)
            return
        upward, downward = self._taken(self._upward), self._taken(self._downward)
        for packet in downward:
            if not packet.reliable:
                self._queued -= packet.size + ATT_AND_L2CAP
        self.traffic.down += len(downward)
        self.traffic.up += len(upward)
        for packet in upward:
            self._cross(packet, packet.deliver)
        for packet in downward:
            if self._used_up(packet):
                self.drop()
                return
            self._cross(packet, partial(self._proxy_down.put, packet.deliver))
        if self.up and (self._upward.packets or self._downward.packets):
            self._wake()

    def _taken(self, lane: _Lane) -> list[_Packet]:
        """Take one event's packets off a queue, some overtaken by the next in line."""
        waiting = lane.packets
        taken = [waiting.popleft() for _ in range(min(lane.limit, len(waiting)))]
        if self.air.reordering:
            for i in range(len(taken) - 1):
                free = not (taken[i].reliable or taken[i + 1].reliable)
                if free and self._random.random() < self.air.reordering:
                    taken[i], taken[i + 1] = taken[i + 1], taken[i]
        return taken

    def _used_up(self, packet: _Packet) -> bool:
        """Count a notification; whether the link was not to carry it any more."""
        if packet.reliable:
            return False
        self.traffic.notifications += 1
        most = self.air.cut_after_notifications
        return most is not None and self.traffic.notifications > most

    def _cross(self, packet: _Packet, deliver: Deliver) -> None:
        """Deliver once, not at all, or twice."""
        if not self.up:
            return
        air, traffic = self.air, self.traffic
        traffic.bytes += packet.size
        if air.cut_after is not None and traffic.bytes > air.cut_after:
            self.drop()
            return
        if packet.reliable:
            deliver()
            return
        if air.loss and self._random.random() < air.loss:
            traffic.lost += 1
            return
        deliver()
        if air.duplication and self._random.random() < air.duplication:
            deliver()


class LinkDown(BleakError):
    """What every operation of a broken link raises, as bleak's backends do."""

    def __init__(self, *_: Any) -> None:
        super().__init__("disconnected")
