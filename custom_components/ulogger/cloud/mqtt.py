"""A lasting MQTT connection of our own: reconnects, paces, and knows when it is unwelcome."""

import asyncio
import hashlib
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from .connection import ConnectionEnded, MqttConnection
from .interface import (
    CloudError,
    CloudUnavailable,
    CredentialsRefused,
    MessageCallback,
    MessageRefused,
    MessageTooLarge,
    NotAcknowledged,
    TransportState,
    Unsubscribe,
)
from .pacing import Backoff, Clock, Pace, Sleep
from .subscriber import Subscriber
from .subscriptions import Subscription

LARGEST_MESSAGE = 131_072
"""AWS IoT Core takes 128 KiB in one message, and closes the connection on a larger one."""
KEEPALIVE = 25
"""Seconds of silence before a ping; without an answer the link is dead after as many again."""
CONNECT_TIMEOUT = 15.0
ACKNOWLEDGE_TIMEOUT = 30.0
IN_FLIGHT = 20
REFUSALS = 3
"""Closings of the connection by one message, sent alone, that make it a refused one."""
REFUSED_WITHIN = 5.0
TAKE_OVERS = 3
"""Closings within `SETTLED` seconds, one after another, that mean a client with our name."""
SETTLED = 10.0
UNWELCOME_DELAY = 600.0
HISTORY = 50
LONGEST_SUSPICION = 1_000
BLAME_WITHIN = 1.0
"""Seconds that a lost connection's last SUBSCRIBE has to say whether it was the cause."""


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """Something that happened to the connection at ``at`` (Unix seconds)."""

    at: float
    state: TransportState
    reason: str | None = None


class MqttTransport:
    """One MQTT 3.1.1 connection with mutual TLS, kept on the event loop by `run`.

    A message is sent with QoS 1 and not repeated: when the connection is lost before the
    acknowledgement, `publish` raises and its caller, who has the message on disk, sends it
    again. A message with which the broker closes the connection each time is found out by
    sending it alone, and then raises MessageRefused. Another client with our id, which ends
    our connection each time it connects, is told from an ordinary loss by how soon that
    happens; it and a refused certificate slow the attempts down to one in ten minutes.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        *,
        client_id: str,
        pace: Pace | None = None,
        in_flight: int = IN_FLIGHT,
        keepalive: int = KEEPALIVE,
        connect_timeout: float = CONNECT_TIMEOUT,
        acknowledge_timeout: float = ACKNOWLEDGE_TIMEOUT,
        backoff: Backoff | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.time,
        make_connection: type[MqttConnection] = MqttConnection,
    ) -> None:
        self.on_state: Callable[[TransportState], None] | None = None
        self.last_failure: CloudError | None = None
        self.history: deque[ConnectionEvent] = deque(maxlen=HISTORY)
        self.counters: Counter[str] = Counter()
        self._connect: Callable[[], MqttConnection] = lambda: make_connection(
            host,
            port,
            context,
            client_id=client_id,
            keepalive=keepalive,
            connect_timeout=connect_timeout,
            on_message=self._received,
            on_end=self._lost,
        )
        self._pace = pace
        self._acknowledge_timeout = acknowledge_timeout
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._state = TransportState.DISCONNECTED
        self._connection: MqttConnection | None = None
        self._subscriber = Subscriber(
            self.counters, self._all_slots, answer_timeout=acknowledge_timeout, clock=clock
        )
        self._slots = asyncio.Semaphore(in_flight)
        self._in_flight = in_flight
        self._alone = asyncio.Lock()
        self._suspects: dict[bytes, int] = {}
        self._failures = 0
        self._quick_ends = 0
        self._blamed = False
        self._wake = asyncio.Event()
        self._became_connected = asyncio.Event()

    # State

    @property
    def connected(self) -> bool:
        """Whether a message could be sent now."""
        return self._connection is not None

    @property
    def state(self) -> TransportState:
        """How the connection stands."""
        return self._state

    def retry_now(self) -> None:
        """Don't wait any longer before the next attempt."""
        self._wake.set()

    async def wait_connected(self, seconds: float) -> None:
        """Wait until there is a connection; raises the last failure if there is none in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._became_connected.wait()
        except TimeoutError as err:
            raise self.last_failure or CloudUnavailable("the broker did not answer") from err

    def diagnostics(self) -> Mapping[str, Any]:
        """Return what helps to find out why a connection is bad; nothing in it is secret."""
        return {
            "state": self._state.value,
            "last_failure": self.last_failure.reason if self.last_failure else None,
            "failures_in_a_row": self._failures,
            "counters": dict(self.counters),
            "history": [asdict(event) for event in self.history],
        }

    # Traffic

    async def publish(self, topic: str, payload: bytes) -> None:
        """Return once the broker has acknowledged the message; raises CloudError."""
        if len(payload) > LARGEST_MESSAGE:
            raise MessageTooLarge(f"{len(payload)} bytes; one message takes {LARGEST_MESSAGE}")
        mark = _mark(topic, payload) if self._suspects else b""
        if mark in self._suspects:
            async with self._all_slots():
                await self._publish(topic, payload)
        else:
            async with self._slots:
                await self._publish(topic, payload)

    async def subscribe(
        self,
        topic_filter: str,
        callback: MessageCallback,
        on_refused: Callable[[], None] | None = None,
        *,
        on_allowed: Callable[[], None] | None = None,
        rank: Callable[[], float] | None = None,
    ) -> Unsubscribe:
        """Have ``callback`` called for each message, over all reconnections.

        Returns once it is known what comes of it, at once without a connection.
        """
        subscription = Subscription(topic_filter, callback, on_refused, on_allowed, rank)
        self._subscriber.add(subscription)

        async def unsubscribe() -> None:
            self._subscriber.remove(subscription)

        try:
            if self.connected:
                await self._subscriber.answered(topic_filter)
        except CloudUnavailable:
            pass
        except asyncio.CancelledError:
            self._subscriber.remove(subscription)
            raise
        return unsubscribe

    async def subscribed(self, topic_filter: str) -> bool:
        """Wait until it is known whether a filter is subscribed to, and tell."""
        return await self._subscriber.answered(topic_filter)

    async def _publish(self, topic: str, payload: bytes) -> None:
        if self._connection is None:
            raise CloudUnavailable("there is no connection to the broker")
        if self._pace is not None:
            await self._pace.take(len(payload))
        if (connection := self._connection) is None:
            raise CloudUnavailable("there is no connection to the broker")
        sent_at = self._clock()
        try:
            async with asyncio.timeout(self._acknowledge_timeout):
                await connection.send(topic, payload)
        except ConnectionEnded as err:
            self.counters["lost_in_flight"] += 1
            if err.closed_by_broker and self._clock() - sent_at < REFUSED_WITHIN:
                self._suspect(topic, payload, alone=err.in_flight == 1)
            raise
        except TimeoutError as err:
            self.counters["not_acknowledged"] += 1
            connection.abort()
            raise NotAcknowledged("the broker did not acknowledge the message") from err
        self.counters["published"] += 1
        if self._suspects:
            self._suspects.pop(_mark(topic, payload), None)

    def _suspect(self, topic: str, payload: bytes, *, alone: bool) -> None:
        """Note that the broker closed the connection with this message in flight."""
        self._blamed = True
        mark = _mark(topic, payload)
        strikes = self._suspects.pop(mark, 0) + alone
        self._suspects[mark] = strikes
        while len(self._suspects) > LONGEST_SUSPICION:
            del self._suspects[next(iter(self._suspects))]
        if strikes >= REFUSALS:
            self.counters["refused"] += 1
            raise MessageRefused("the broker closes the connection on this message each time")

    @asynccontextmanager
    async def _all_slots(self) -> AsyncGenerator[None]:
        """Wait until nothing else is in flight, and hold it so."""
        async with self._alone:
            held = 0
            try:
                for _ in range(self._in_flight):
                    await self._slots.acquire()
                    held += 1
                yield
            finally:
                for _ in range(held):
                    self._slots.release()

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001
        self.counters["received"] += 1
        if not self._subscriber.dispatch(topic, payload, retained=retained):
            self.counters["unexpected_topic"] += 1

    # The connection

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        while True:
            self._wake.clear()
            delay = await self._live_once()
            await self._rest(delay)

    async def _live_once(self) -> float:
        """Connect and stay connected; return how long to wait before the next time."""
        if self._state is TransportState.DISCONNECTED:
            self._enter(TransportState.CONNECTING)
        connection = self._connect()
        try:
            await connection.open()
        except CloudError as err:
            return self._not_connected(err)
        opened_at = self._clock()
        self._blamed = False
        self._connection = connection
        self.last_failure = None
        self._subscriber.begin(connection)
        self._became_connected.set()
        self._enter(TransportState.CONNECTED)
        subscribing = asyncio.create_task(self._subscriber.serve(connection))
        try:
            by_broker = await connection.ended()
            await asyncio.wait([subscribing], timeout=BLAME_WITHIN)
        finally:
            self._lost()
            subscribing.cancel()
            await connection.close()
        # Senders hear of the end one step later than this does, and may take the blame for it.
        await asyncio.sleep(0)
        return self._ended(self._clock() - opened_at, by_broker=by_broker)

    def _lost(self) -> None:
        self._connection = None
        self._became_connected.clear()
        self._subscriber.lost()

    def _not_connected(self, err: CloudError) -> float:
        """Note a failed attempt."""
        self.counters["connect_failed"] += 1
        self.last_failure = err
        self._failures += 1
        self._quick_ends = 0
        self._subscriber.give_up()
        if isinstance(err, CredentialsRefused):
            self._enter(TransportState.CREDENTIALS_REFUSED, err.reason)
            return self._backoff.spread(UNWELCOME_DELAY)
        self._enter(TransportState.DISCONNECTED, err.reason)
        return self._backoff.delay(self._failures)

    def _ended(self, lived: float, *, by_broker: bool) -> float:
        """Note the end of a connection that there was."""
        self.counters["connection_lost"] += 1
        self.last_failure = CloudUnavailable("the connection was lost")
        if self._subscriber.blamed:
            self._enter(TransportState.DISCONNECTED, "subscription_refused")
            return self._backoff.delay(1)
        if lived >= SETTLED:
            self._failures = self._quick_ends = 0
        elif by_broker and not self._blamed:
            self._quick_ends += 1
        self._failures += 1
        if self._quick_ends >= TAKE_OVERS:
            self._enter(TransportState.TAKEN_OVER, "taken_over")
            return self._backoff.spread(UNWELCOME_DELAY)
        self._enter(TransportState.DISCONNECTED, "closed" if by_broker else "link_lost")
        return self._backoff.delay(self._failures)

    def _enter(self, state: TransportState, reason: str | None = None) -> None:
        self.history.append(ConnectionEvent(self._now(), state, reason))
        if state is not self._state:
            self._state = state
            if self.on_state is not None:
                self.on_state(state)

    async def _rest(self, seconds: float) -> None:
        """Wait, unless `retry_now` is called."""
        waits = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _wait(self) -> None:
        await self._wake.wait()


def _mark(topic: str, payload: bytes) -> bytes:
    return hashlib.sha256(topic.encode() + b"\0" + payload).digest()
