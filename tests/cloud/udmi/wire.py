"""Connections to brokers that do as they are told, below the link of a gateway."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CannotConnect, CloudError, CloudUnavailable
from custom_components.ulogger.cloud.mqtt.transport import MessageCallback, Unsubscribe
from custom_components.ulogger.cloud.udmi.auth import Authentication, Kind
from custom_components.ulogger.cloud.udmi.endpoint import Endpoint
from custom_components.ulogger.cloud.udmi.link import Target, UdmiLink

from .device_world import settle


def target(host: str = "first.invalid", **other: Any) -> Target:
    """Return an endpoint of the gateway GAT-1."""
    said = {"hostname": host, "client_id": "/r/Z/d/GAT-1", **other}
    return Target(Endpoint.from_dict(said))


class Wire:
    """What a broker does with one connection; `log` has all that it was asked for, in order."""

    def __init__(self, site: Site, host: str) -> None:
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.on_denied: Callable[[], None] | None = None
        self.connected = False
        self.last_failure: CloudError | None = None
        self.log = site.log
        self.filters: dict[str, MessageCallback] = {}
        self.allowed: dict[str, Callable[[], None] | None] = {}
        self.forgiven = self.renewed = 0
        self._site = site
        self._host = host

    async def run(self) -> None:
        """Connect, where the broker is there, and stay."""
        if self._host in self._site.away:
            self.last_failure = CannotConnect("nobody answers")
            self._tell(ConnectionState.DISCONNECTED)
        else:
            self.connect()
        try:
            await asyncio.Event().wait()
        finally:
            self.connected = False

    def connect(self) -> None:
        self.connected = True
        self._tell(ConnectionState.CONNECTED)

    def lose(self) -> None:
        """Lose the connection; it does not come back by itself."""
        self.connected = False
        self.last_failure = CloudUnavailable("lost")
        self._tell(ConnectionState.DISCONNECTED)

    def _tell(self, state: ConnectionState) -> None:
        if self.on_state is not None:
            self.on_state(state)

    def diagnostics(self) -> Mapping[str, Any]:
        return {"host": self._host}

    def forgive(self) -> None:
        self.forgiven += 1

    async def renew(self) -> None:
        self.renewed += 1

    async def publish(self, topic: str, payload: bytes) -> None:
        await asyncio.sleep(0)
        if topic in self._site.failing or not self.connected:
            raise CloudUnavailable(f"{topic} was not acknowledged")
        self.log.append(("publish", topic))
        self._site.said.append((topic, payload))

    async def subscribe(
        self,
        topic_filter: str,
        callback: MessageCallback,
        *,
        on_allowed: Callable[[], None] | None = None,
    ) -> Unsubscribe:
        self.log.append(("subscribe", topic_filter))
        self.filters[topic_filter] = callback
        self.allowed[topic_filter] = on_allowed

        async def unsubscribe() -> None:
            self.log.append(("unsubscribe", topic_filter))
            del self.filters[topic_filter]

        return unsubscribe

    async def subscribed(self, topic_filter: str) -> bool:
        await asyncio.sleep(0)
        return topic_filter not in self._site.refused

    def hear(self, topic: str, payload: bytes = b"{}") -> None:
        """Have a message come, if somebody listens for it."""
        for each, callback in list(self.filters.items()):
            if each == topic or (each.endswith("#") and topic.startswith(each[:-1])):
                callback(topic, payload, False)


class Site:
    """The brokers of a site, and the link of a gateway to them.

    ``away`` are hosts where nobody answers, ``unusable`` says what is wrong with keys for a host,
    ``refused`` are filters that may not be subscribed to, ``failing`` topics of which nothing is
    acknowledged.
    """

    def __init__(self, **other: Any) -> None:
        self.log: list[tuple[str, str]] = []
        self.said: list[tuple[str, bytes]] = []
        self.away: set[str] = set()
        self.unusable: dict[str, CloudError] = {}
        self.refused: set[str] = set()
        self.failing: set[str] = set()
        self.wires: list[Wire] = []
        self.states: list[ConnectionState] = []
        self.link = UdmiLink(target(**other), self._make, switch_within=0.05)  # type: ignore[arg-type]
        self.link.on_state = self.states.append

    async def _make(self, wanted: Target) -> tuple[Wire, Authentication]:
        host = wanted.endpoint.hostname
        if (problem := self.unusable.get(host)) is not None:
            raise problem
        self.wires.append(Wire(self, host))
        return self.wires[-1], Authentication(Kind.NONE)

    @property
    def wire(self) -> Wire:
        """The latest connection."""
        return self.wires[-1]

    async def settle(self) -> None:
        """Have everything done that can be done without time passing."""
        for _ in range(5):
            await settle()
