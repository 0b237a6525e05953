"""The connection of one unit to its broker: replaced when the unit's files say so, never lost.

States: *no connection*, *connected*, *settled* (all that is wanted is subscribed to, or refused).
Invariants: a transport is replaced only as a whole, and what waits to be sent stays here; only
topics of the schema are ever named to the broker; nothing is retained.
"""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..destination import ConnectionState
from ..errors import CloudUnavailable
from ..mqtt.broker import Broker
from ..mqtt.client import MqttTransport
from ..mqtt.rate_limit import RateLimit
from ..mqtt.transport import MessageCallback, Transport
from .echoes import Echoes
from .env import Env
from .records import LARGEST_MESSAGE
from .topics import Followed

MESSAGES_A_SECOND: Final = 27
BYTES_A_SECOND: Final = 900_000
"""The broker takes 30 messages and 1 MB a second."""
MOST_FILTERS: Final = 1_000
SETTLE_WITHIN: Final = 15.0
"""Seconds that a message waits until it is known what can be listened to."""

type MakeTransport = Callable[[Broker], Transport]


@dataclass(frozen=True, slots=True)
class Security:
    """How the token travels: within TLS, or readable where a person agreed to that.

    ``port`` replaces that of the unit's ``env.json`` where TLS is offered on another one.
    """

    tls: ssl.SSLContext | None
    port: int | None = None

    def broker(self, env: Env) -> Broker:
        """Return the broker of a unit and how to connect to it."""
        return Broker(
            host=env.host.strip("[]"),
            port=self.port or env.port,
            client_id=env.unit,
            tls=self.tls,
            unencrypted=self.tls is None,
            username=env.token,
            password=lambda: "",
            keepalive=env.keepalive,
        )


def paced_transports() -> MakeTransport:
    """Return what makes transports that keep the limits of Pepeunit's broker, all together."""
    pace = RateLimit(MESSAGES_A_SECOND, BYTES_A_SECOND, most=950_000)

    def make(broker: Broker) -> Transport:
        return MqttTransport(broker, pace=pace, largest=LARGEST_MESSAGE, most_filters=MOST_FILTERS)

    return make


class Link:
    """Keeps one connection, what is subscribed to on it, and an eye on what is dropped."""

    def __init__(
        self,
        env: Env,
        security: Security,
        on_message: MessageCallback,
        *,
        make: MakeTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_state: Callable[[ConnectionState], None] = lambda _: None
        self.echoes = Echoes(clock)
        self.refused: set[str] = set()
        self.counters: Counter[str] = Counter()
        self._env = env
        self._security = security
        self._on_message = on_message
        self._make = make or paced_transports()
        self._transport: Transport | None = None
        self._followed: Followed | None = None
        self._heard: Mapping[str, None] = {}
        self._sent_on: set[str] = set()
        self._renewed = asyncio.Event()

    @property
    def state(self) -> ConnectionState:
        """How the connection stands."""
        return ConnectionState.CONNECTING if self._transport is None else self._transport.state

    @property
    def connected(self) -> bool:
        """Whether a message could be sent now."""
        return self._transport is not None and self._transport.connected

    @property
    def settled(self) -> bool:
        """Whether it is known of all topics whether they can be listened to."""
        return self._followed is not None and self._followed.settled.is_set()

    def renew(self, env: Env) -> None:
        """Connect anew, as another ``env.json`` says."""
        self._env = env
        self._renewed.set()

    def follow(self, heard: Mapping[str, None], sent_on: set[str]) -> None:
        """Listen to topics from now on, and to those that are sent on, as long as they are."""
        self._heard, self._sent_on = heard, sent_on
        self.refused &= {*heard, *sent_on}
        self.echoes.keep_only(sent_on)
        if self._followed is not None:
            self._followed.want(self._wanted)

    def forgive(self) -> None:
        """Try at once what was denied, and reconnect without delay."""
        self.echoes.forgive()
        if self._transport is not None:
            self._transport.forgive()
            for topic in self.refused:
                self._transport.ask_again(topic)
            if isinstance(self._transport, MqttTransport):
                self._transport.retry_now()
        if self._followed is not None:
            self._followed.lost()

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        while True:
            self._renewed.clear()
            transport = self._make(self._security.broker(self._env))
            followed = Followed(transport, self._received, self._answered)
            transport.on_state = self._state_changed
            transport.on_denied = self.echoes.on_denied
            self._transport, self._followed = transport, followed
            followed.want(self._wanted)
            tasks = [
                asyncio.create_task(work)
                for work in (transport.run(), followed.run(), self._renewed.wait())
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    await task
            finally:
                transport.on_state = None
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._transport = self._followed = None
                self._not_listening()
            self.on_state(ConnectionState.DISCONNECTED)

    async def send(self, topic: str, payload: bytes) -> None:
        """Return once the broker has taken a message, and where it tells, passed it on.

        Raises CloudError.
        """
        transport, followed = self._transport, self._followed
        if transport is None or followed is None or not transport.connected:
            raise CloudUnavailable("there is no connection to the broker", sent=False)
        if not followed.settled.is_set():
            try:
                async with asyncio.timeout(SETTLE_WITHIN):
                    await followed.settled.wait()
            except TimeoutError as err:
                raise CloudUnavailable("the broker does not answer", sent=False) from err
        if topic in self.refused and not self.echoes.waits(topic):
            # What may be heard may be sent, so this is how it is tried.
            transport.ask_again(topic)
            await transport.subscribed(topic)
        self.echoes.check(topic, refused=topic in self.refused)
        async with self.echoes.awaited(topic, payload):
            await transport.publish(topic, payload)
        self.counters["sent"] += 1

    def diagnostics(self) -> dict[str, Any]:
        """Return what helps to find out why a connection is bad; nothing in it is secret."""
        return {
            "transport": dict(self._transport.diagnostics()) if self._transport else None,
            "encrypted": self._security.tls is not None,
            "subscriptions_refused": sorted(self.refused),
            "denied_topics": self.echoes.denied,
            "broker_tells_of_denials": not self.echoes.mute,
            "counters": {**self.counters, **self.echoes.counters},
        }

    @property
    def denied(self) -> list[str]:
        """Topics on which nothing is passed on, or that can't be listened to."""
        closing = [] if self._transport is None else self._transport.denied_topics
        return list(dict.fromkeys([*closing, *self.echoes.denied, *sorted(self.refused)]))

    @property
    def _wanted(self) -> Mapping[str, None]:
        # What is sent on comes first: without it nothing would be sent.
        return {**dict.fromkeys(sorted(self._sent_on)), **self._heard}

    def _state_changed(self, state: ConnectionState) -> None:
        if state is not ConnectionState.CONNECTED:
            self._not_listening()
        elif self._followed is not None:
            self._followed.lost()
        self.on_state(state)

    def _not_listening(self) -> None:
        for topic in self._sent_on:
            self.echoes.listening(topic, active=False)
        if self._followed is not None:
            self._followed.settled.clear()

    def _answered(self, topic: str, allowed: bool) -> None:  # noqa: FBT001 - two answers
        if topic in self._sent_on:
            self.echoes.listening(topic, active=allowed)
        changed = (topic in self.refused) is allowed
        (self.refused.discard if allowed else self.refused.add)(topic)
        if changed:
            self.echoes.on_denied()

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001
        if topic in self._sent_on:
            self.echoes.heard(topic, payload)
        if topic in self._heard:
            self._on_message(topic, payload, retained)
