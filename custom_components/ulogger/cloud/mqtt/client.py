"""A lasting MQTT connection of our own: reconnects, paces, and knows when it is unwelcome."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ...model.backoff import Backoff
from ..destination import ConnectionState
from ..errors import (
    CloudError,
    CloudUnavailable,
    CredentialsRefused,
    HeldBack,
    MessageRefused,
    MessageTooLarge,
    NotAcknowledged,
)
from .breaker import QUIET, REFUSED, REFUSED_WITHIN, Breaker
from .broker import Broker
from .connection import ConnectionEnded, MqttConnection
from .rate_limit import Clock, RateLimit, Sleep
from .subscriber import MOST_FILTERS, Subscriber
from .subscriptions import Subscription
from .transport import MessageCallback, Unsubscribe

LARGEST_MESSAGE = 131_072
"""AWS IoT Core takes 128 KiB in one message, and closes the connection on a larger one."""
ACKNOWLEDGE_TIMEOUT = 30.0
IN_FLIGHT = 20
CONFLICTS = 3
"""Closings within `SETTLED` seconds, one after another, that make it look as if there were another
client with our name; one more, with nothing sent, and there is."""
SETTLED = QUIET
SOON = 0.1
"""Seconds until a message that became a suspect while it waited is sent."""
UNWELCOME_DELAY = 600.0
HISTORY = 50
BLAME_WITHIN = 1.0
"""Seconds that a lost connection's last SUBSCRIBE has to say whether it was the cause."""


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """Something that happened to the connection at ``at`` (Unix seconds)."""

    at: float
    state: ConnectionState
    reason: str | None = None


class MqttTransport:
    """One MQTT 3.1.1 connection with mutual TLS, kept on the event loop by `run`.

    A message is sent with QoS 1 and not repeated: when the connection is lost before the
    acknowledgement, `publish` raises and its caller, who has the message on disk, sends it
    again. What makes the broker close the connection each time is found out by sending it
    alone (see `Breaker`); then a message raises MessageRefused, and a topic TopicDenied.
    Another client with our id, which ends our connection each time it connects, is distinguished
    from that and from an ordinary loss by how soon it happens, at last with nothing in flight; it
    and a refused certificate slow the attempts down to one in ten minutes.

    ``largest`` is the bytes of one message, ``most_filters`` how many filters are subscribed to at
    once; by default AWS IoT's limits. ``unwelcome_delay`` is how many seconds at most pass between
    attempts where the broker does not want us.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        pace: RateLimit | None = None,
        in_flight: int = IN_FLIGHT,
        largest: int = LARGEST_MESSAGE,
        most_filters: int = MOST_FILTERS,
        acknowledge_timeout: float = ACKNOWLEDGE_TIMEOUT,
        backoff: Backoff | None = None,
        unwelcome_delay: float = UNWELCOME_DELAY,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.time,
        make_connection: type[MqttConnection] = MqttConnection,
    ) -> None:
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.on_denied: Callable[[], None] | None = None
        self.last_failure: CloudError | None = None
        self.history: deque[ConnectionEvent] = deque(maxlen=HISTORY)
        self.counters: Counter[str] = Counter()
        self._connect: Callable[[], MqttConnection] = lambda: make_connection(
            broker, on_message=self._received, on_end=self._lost
        )
        self._pace = pace
        self._largest = largest
        self._acknowledge_timeout = acknowledge_timeout
        self._backoff = backoff or Backoff()
        self._unwelcome_delay = unwelcome_delay
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._state = ConnectionState.DISCONNECTED
        self._connection: MqttConnection | None = None
        self._subscriber = Subscriber(
            self.counters,
            self._all_slots,
            answer_timeout=acknowledge_timeout,
            most=most_filters,
            clock=clock,
        )
        self._slots = asyncio.Semaphore(in_flight)
        self._in_flight = in_flight
        self._alone = asyncio.Lock()
        self._breaker = Breaker(clock)
        self._breaker.on_denied = self._denied_changed
        self._failures = 0
        self._quick_ends = 0
        self._accused = self._blamed = self._renewing = False
        self._wake = asyncio.Event()

    # State

    @property
    def connected(self) -> bool:
        """Whether a message could be sent now."""
        return self._connection is not None

    @property
    def state(self) -> ConnectionState:
        """How the connection stands."""
        return self._state

    @property
    def denied_topics(self) -> Sequence[str]:
        """The topics on which the broker closes the connection each time."""
        return self._breaker.denied

    def suspects(self, topic: str) -> bool:
        """Whether something on a topic may be why the broker closed the connection."""
        return self._breaker.suspects(topic)

    def forgive(self) -> None:
        """Try at once what the broker denied: its policy may have been changed."""
        self._breaker.forgive()

    def ask_again(self, topic_filter: str) -> None:
        """Ask at once for a filter that the broker has refused."""
        self._subscriber.ask_again(topic_filter)

    def retry_now(self) -> None:
        """Don't wait any longer before the next attempt."""
        self._wake.set()

    async def renew(self) -> None:
        """Connect anew, with credentials that are asked for anew; nothing in flight is lost."""
        async with self._all_slots():
            if (connection := self._connection) is not None:
                self._renewing = True
                await connection.close()

    def diagnostics(self) -> Mapping[str, Any]:
        """Return what helps to find out why a connection is bad; nothing in it is secret."""
        return {
            "state": self._state.value,
            "last_failure": self.last_failure.reason if self.last_failure else None,
            "failures_in_a_row": self._failures,
            "denied_topics": list(self.denied_topics),
            "counters": dict(self.counters),
            "history": [asdict(event) for event in self.history],
        }

    # Traffic

    async def publish(self, topic: str, payload: bytes) -> None:
        """Return once the broker has acknowledged the message; raises CloudError."""
        if len(payload) > self._largest:
            raise MessageTooLarge(f"{len(payload)} bytes; one message takes {self._largest}")
        alone = self._breaker.must_go_alone(topic, payload)
        async with self._all_slots() if alone else self._slots:
            # Whatever went on while this waited may have made it a suspect.
            if self._breaker.must_go_alone(topic, payload) and not alone:
                raise HeldBack("the broker closed the connection on the like of this", SOON)
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
        """Wait until it is known whether a filter is subscribed to, and return that."""
        return await self._subscriber.answered(topic_filter)

    async def _publish(self, topic: str, payload: bytes) -> None:
        if self._connection is None:
            raise CloudUnavailable("there is no connection to the broker", sent=False)
        if self._pace is not None:
            await self._pace.take(len(topic) + len(payload))
        if (connection := self._connection) is None:
            raise CloudUnavailable("there is no connection to the broker", sent=False)
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
        self._breaker.passed(topic, payload)

    def _suspect(self, topic: str, payload: bytes, *, alone: bool) -> None:
        """Note that the broker closed the connection with this message in flight."""
        self._accused |= alone
        self._blamed |= self._breaker.closed(topic, payload, alone=alone)
        if self._breaker.refuses(topic, payload):
            self.counters["refused"] += 1
            raise MessageRefused(REFUSED)

    def _denied_changed(self) -> None:
        if self.on_denied is not None:
            self.on_denied()

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
        if self._state is ConnectionState.DISCONNECTED:
            self._enter(ConnectionState.CONNECTING)
        if self._pace is not None:
            await self._pace.connect()
        connection = self._connect()
        try:
            await connection.open()
        except CloudError as err:
            return self._not_connected(err)
        opened_at = self._clock()
        self._accused = self._blamed = False
        self._breaker.opened()
        subscribing: asyncio.Task[None] | None = None
        try:
            if self._quick_ends >= CONFLICTS:
                await self._keep_still(connection)
            self._connection = connection
            self.last_failure = None
            self._subscriber.begin(connection)
            self._enter(ConnectionState.CONNECTED)
            subscribing = asyncio.create_task(self._subscriber.serve(connection))
            by_broker = await connection.ended()
            await asyncio.wait([subscribing], timeout=BLAME_WITHIN)
        except CloudUnavailable as err:
            by_broker = isinstance(err, ConnectionEnded) and err.closed_by_broker
            self._subscriber.give_up()
        finally:
            self._lost()
            if subscribing is not None:
                subscribing.cancel()
            await connection.close()
        # Senders hear of the end one step later than this does, and may take the blame for it.
        await asyncio.sleep(0)
        return self._ended(self._clock() - opened_at, by_broker=by_broker)

    async def _keep_still(self, connection: MqttConnection) -> None:
        """Send nothing for a while; raises CloudUnavailable when the connection ends meanwhile.

        What ends it then is nothing that was sent: it is another client with our name.
        """
        ended = asyncio.ensure_future(connection.ended())
        still = asyncio.ensure_future(self._sleep(SETTLED))
        try:
            await asyncio.wait([ended, still], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ConnectionEnded(closed_by_broker=ended.result(), in_flight=0)
        finally:
            ended.cancel()
            still.cancel()

    def _lost(self) -> None:
        self._connection = None
        self._subscriber.lost()

    def _not_connected(self, err: CloudError) -> float:
        """Note a failed attempt."""
        self.counters["connect_failed"] += 1
        self.last_failure = err
        self._failures += 1
        self._quick_ends = 0
        self._subscriber.give_up()
        if isinstance(err, CredentialsRefused):
            self._enter(ConnectionState.CREDENTIALS_REFUSED, err.reason)
            return self._backoff.spread(self._unwelcome_delay)
        self._enter(ConnectionState.DISCONNECTED, err.reason)
        return self._backoff.delay(self._failures)

    def _ended(self, lived: float, *, by_broker: bool) -> float:
        """Note the end of a connection that there was."""
        renewing, self._renewing = self._renewing, False
        if renewing and not by_broker:
            self.counters["renewed"] += 1
            self._failures = self._quick_ends = 0
            self._enter(ConnectionState.CONNECTING, "renewed")
            return 0.0
        self.counters["connection_lost"] += 1
        self.last_failure = CloudUnavailable("the connection was lost")
        if self._subscriber.blamed:
            self._enter(ConnectionState.DISCONNECTED, "subscription_refused")
            return self._backoff.delay(1)
        if lived >= SETTLED or self._blamed:
            self._failures = self._quick_ends = 0
        elif by_broker:
            self._quick_ends += 1
        # Looking for what the broker denies does not make it a worse one.
        if not self._accused or not self._failures:
            self._failures += 1
        if self._quick_ends > CONFLICTS:
            self._enter(ConnectionState.CLIENT_ID_CONFLICT, "client_id_conflict")
            return self._backoff.spread(self._unwelcome_delay)
        self._enter(ConnectionState.DISCONNECTED, "closed" if by_broker else "link_lost")
        return self._backoff.delay(self._failures)

    def _enter(self, state: ConnectionState, reason: str | None = None) -> None:
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
