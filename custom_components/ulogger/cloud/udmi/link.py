"""The connection of a gateway and its proxies: one at a time, to the endpoint of the moment.

| state | how it is entered | how it is left |
|---|---|---|
| on | `run` | `switch` |
| trying | `switch`: the old connection is closed, another endpoint tried | it connects, or not |
| back | the other one did not connect in time: the old one again | it is *on* |

Invariants: nothing is subscribed to in the name of a proxy before the broker has acknowledged its
attachment on this very connection; a token is replaced before it expires, by closing the connection
when nothing is in flight; there is never more than one connection.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ..destination import ConnectionState
from ..errors import (
    CannotConnect,
    CloudError,
    CloudUnavailable,
    CredentialsRefused,
    SubscriptionRefused,
)
from ..mqtt.client import MqttTransport
from ..mqtt.transport import Unsubscribe
from .auth import Authentication
from .endpoint import Endpoint
from .keys import KeyPair
from .topics import CONFIG, Heard, Topics

_LOGGER = logging.getLogger(__name__)

SWITCH_WITHIN: Final = 20.0
"""Seconds that another endpoint has to take us: UDMI wants it decided within 30."""
LONGEST_SLEEP: Final = 3600.0
AFTER_FAILURE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, and the keys that are shown to it."""

    endpoint: Endpoint
    keys: KeyPair | None = None


type MakeTransport = Callable[[Target], Awaitable[tuple[MqttTransport, Authentication]]]
"""Makes a connection's transport; raises CloudError where the keys can't be used."""


class UdmiLink:
    """Keeps the connection. Every method that sends raises CloudError.

    ``on_heard`` is called with each message, ``on_ready`` when the gateway's config can be heard,
    and ``on_lost`` when the connection is not there any longer.
    """

    def __init__(
        self,
        target: Target,
        make: MakeTransport,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        switch_within: float = SWITCH_WITHIN,
    ) -> None:
        self.target = target
        self.topics = Topics(target.endpoint.prefix)
        self.authentication: Authentication | None = None
        self.state = ConnectionState.DISCONNECTED
        self.failure: CloudError | None = None
        self.on_state: Callable[[ConnectionState], None] = lambda _state: None
        self.on_denied: Callable[[], None] | None = None
        self.on_heard: Callable[[Heard, bytes], None] = lambda _heard, _payload: None
        self.on_ready: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None
        self._make = make
        self._now = now
        self._sleep = sleep
        self._switch_within = switch_within
        self._transport: MqttTransport | None = None
        self._listening: dict[str, list[Unsubscribe]] = {}
        self._switching: asyncio.Future[None] | None = None
        self._next: Target | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._moved = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether a message could be sent now."""
        return self._transport is not None and self._transport.connected

    @property
    def ready(self) -> bool:
        """Whether the gateway is connected and can hear its config."""
        return self.connected and self._ready.is_set()

    @property
    def device_id(self) -> str:
        """The gateway's own ID."""
        return self.target.endpoint.device_id

    def diagnostics(self) -> Mapping[str, Any]:
        """Return what helps to find out why a connection is bad; nothing in it is secret."""
        return {} if self._transport is None else self._transport.diagnostics()

    def forgive(self) -> None:
        """Try at once what the broker denied."""
        if self._transport is not None:
            self._transport.forgive()

    # Life

    async def run(self) -> None:
        """Keep the connection until cancelled; after a `switch` another one."""
        try:
            while True:
                try:
                    await self._run_once()
                except CloudError as err:
                    self.failure = err
                    self._moved.set()
                    refused = isinstance(err, CredentialsRefused)
                    self._enter(
                        ConnectionState.CREDENTIALS_REFUSED
                        if refused
                        else ConnectionState.DISCONNECTED
                    )
                    _LOGGER.debug("No connection can be made: %s", err)
                    await self._pause(AFTER_FAILURE)
                if (target := self._next) is not None:
                    self.target, self._next = target, None
                    self._moved.set()
                    self.topics = Topics(target.endpoint.prefix)
        finally:
            self._forget()
            for task in self._tasks:
                task.cancel()

    async def _run_once(self) -> None:
        """Have one transport at work until another target is wanted."""
        self._wake.clear()
        if self._next is not None:
            return
        transport, self.authentication = await self._make(self.target)
        self._transport = transport
        transport.on_state = self._state_changed
        transport.on_denied = self._denied_changed
        # Kept apart: a transport never ends by itself but by a fault, which ends this too.
        tasks = [
            asyncio.ensure_future(each)
            for each in (transport.run(), self._keep_fresh(transport), self._wake.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            transport.on_state = transport.on_denied = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._forget()
        self._enter(ConnectionState.CONNECTING)

    async def _keep_fresh(self, transport: MqttTransport) -> None:
        """Show another token before the present one expires."""
        while True:
            await self._sleep(self._until_refresh())
            if self._until_refresh() <= 0:
                await transport.renew()
                # Where that was in vain, there is another moment soon.
                await self._sleep(1.0)

    def _until_refresh(self) -> float:
        """Return the seconds until a token has to be replaced, bounded to look again."""
        at = None if self.authentication is None else self.authentication.refresh_at
        if at is None:
            return 1.0 if self._has_tokens else LONGEST_SLEEP
        if not self.connected:
            return 1.0
        return min(max(0.0, at - self._now()), LONGEST_SLEEP)

    @property
    def _has_tokens(self) -> bool:
        return bool(self.target.endpoint.audience)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _forget(self) -> None:
        """Take note that there is no connection."""
        self._transport = None
        self._listening.clear()
        self._ready.clear()
        self.on_lost()

    def _state_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            self.failure = None
            # Not before the gateway can hear: what is asked of the site would be answered to none.
            self._begin(self._listen())
            return
        self._ready.clear()
        if self._transport is not None:
            self.failure = self._transport.last_failure
            self._moved.set()
        for proxy_id in self._listening.keys() - {self.device_id}:
            self._begin(self._unsubscribe(proxy_id))
        self.on_lost()
        self._enter(state)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _allowed(self) -> None:
        """Go on if it was only the broker's permission that lacked."""
        if self.connected and not self._ready.is_set():
            self._begin(self._listen())

    async def _listen(self) -> None:
        """Subscribe in the gateway's own name, and go on once it can hear its config."""
        if (transport := self._transport) is None:
            return
        try:
            heard = await self._subscribe(transport, self.device_id)
        except CloudUnavailable:
            return
        if transport is not self._transport or not transport.connected or self._ready.is_set():
            return
        if not heard:
            self.failure = SubscriptionRefused("the broker does not let us hear our config")
            self._enter(ConnectionState.DISCONNECTED)
        else:
            self._ready.set()
            self._moved.set()
            self._enter(ConnectionState.CONNECTED)
            self.on_ready()

    def _denied_changed(self) -> None:
        if self.on_denied is not None:
            self.on_denied()

    def _enter(self, state: ConnectionState) -> None:
        if state is not self.state:
            self.state = state
            self.on_state(state)

    # Another endpoint

    async def switch(self, target: Target) -> None:
        """Go over to another target, or back where it does not take us; raises CloudError then."""
        if self._switching is not None:
            raise CloudUnavailable("another endpoint is being tried", sent=False)
        before = self.target
        self._switching = asyncio.get_running_loop().create_future()
        try:
            self._go(target)
            await self._until_ready(target)
        except TimeoutError as err:
            failure = self.failure
            self._go(before)
            said = f": {failure}" if failure is not None else ""
            raise CannotConnect(f"{target.endpoint.address} does not take us{said}") from err
        except asyncio.CancelledError, CredentialsRefused:
            self._go(before)
            raise
        finally:
            self._switching = None

    async def _until_ready(self, target: Target) -> None:
        async with asyncio.timeout(self._switch_within):
            while self.target is not target or not self.ready:
                self._moved.clear()
                await self._moved.wait()
                if self.target is target and isinstance(self.failure, CredentialsRefused):
                    raise self.failure

    def _go(self, target: Target) -> None:
        self._next = target
        self.failure = None
        self._wake.set()

    # Traffic

    async def publish(self, topic: str, payload: bytes) -> None:
        """Return once the broker has acknowledged the message."""
        if (transport := self._transport) is None:
            raise CloudUnavailable("there is no connection to the broker", sent=False)
        await transport.publish(topic, payload)

    async def attach(self, proxy_id: str) -> bool:
        """Speak for a proxy from now on; return whether it can hear its config."""
        if (transport := self._transport) is None:
            raise CloudUnavailable("there is no connection to the broker", sent=False)
        await transport.publish(self.topics.attach(proxy_id), b"")
        return await self._subscribe(transport, proxy_id)

    async def detach(self, proxy_id: str) -> None:
        """Speak for a proxy no longer."""
        await self._unsubscribe(proxy_id)
        if (transport := self._transport) is not None:
            await transport.publish(self.topics.detach(proxy_id), b"")

    async def release(self, proxy_id: str) -> None:
        """Listen for a proxy no longer, until it is attached anew."""
        await self._unsubscribe(proxy_id)

    async def _subscribe(self, transport: MqttTransport, device_id: str) -> bool:
        filters = self.topics.filters(device_id)
        listening = self._listening.get(device_id)
        if listening is None:
            listening = self._listening[device_id] = []
            allowed = self._allowed if device_id == self.device_id else None
            for each in filters:
                unsubscribe = await transport.subscribe(each, self._received, on_allowed=allowed)
                listening.append(unsubscribe)
        # Commands and errors are extras; without its config a device is deaf.
        heard = await transport.subscribed(filters[0])
        for each in filters[1:]:
            await transport.subscribed(each)
        return heard

    async def _unsubscribe(self, device_id: str) -> None:
        for unsubscribe in self._listening.pop(device_id, ()):
            await unsubscribe()

    def _received(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001
        heard = self.topics.heard(topic)
        if heard is not None and (heard.kind != CONFIG or not heard.rest):
            self.on_heard(heard, payload)
