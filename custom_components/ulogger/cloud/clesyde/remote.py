"""Remote access: a SniTun tunnel that is up while it is wanted.

| state | how it is entered | how it is left |
|---|---|---|
| off | nobody wants it | `want` |
| waiting | wanted, no token, and no connection over which to ask for one | the connection is back |
| connecting | a token is asked for, then the server | connected, or failed |
| connected | the server knows us | it ends, is not wanted, or has to be made anew |
| failed | no token, no tunnel or no usable certificate | some seconds later |

Invariants: the keys of a tunnel are those that its own token was asked with; keys of a request that
nobody answered are kept for its repetition, so a late answer fits. Nothing of a key or a token is
ever logged.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from snitun.client.client_peer import ClientPeer  # type: ignore[import-untyped]
from snitun.client.connector import Connector  # type: ignore[import-untyped]
from snitun.exceptions import SniTunConnectionError  # type: ignore[import-untyped]
from snitun.utils.aes import generate_aes_keyset  # type: ignore[import-untyped]

from ...model.backoff import Backoff
from ..errors import CloudError, InvalidMessage
from .errors import HTTP_NOT_THERE, ThingError
from .shadow import encoded

_LOGGER = logging.getLogger(__name__)

ACTION: Final = "remotetoken"
ANSWER_WITHIN: Final = 30.0
CONNECT_WITHIN: Final = 30.0
LOOK_EVERY: Final = 300.0
"""Seconds between looks at whether a token ends soon."""
RENEW_BEFORE: Final = 15 * 60.0
RENEW_RETRY: Final = 60.0
STARTING: Final = "starting"
"""Why there is no tunnel yet: nothing is there that it could lead to."""
LARGEST_ANSWER: Final = 16 * 1024
LONGEST_TOKEN: Final = 8 * 1024
_LATEST: Final = 253_402_300_799.0
"""The end of the year 9999, in Unix seconds."""


class RemoteState(StrEnum):
    """How remote access stands."""

    OFF = "off"
    WAITING = "waiting"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Token:
    """What the SniTun server lets us in with until ``valid`` (Unix seconds), and its keys."""

    valid: float
    token: bytes = field(repr=False)
    keys: tuple[bytes, bytes] = field(repr=False)
    throttling: int | None = None
    since: float = 0.0

    def due(self, now: float) -> float:
        """Seconds until it has to be renewed: 15 minutes before its end, or half its life."""
        lead = min(RENEW_BEFORE, (self.valid - self.since) / 2)
        return self.valid - lead - now


def parse_token(payload: bytes, keys: tuple[bytes, bytes], now: float) -> Token:
    """Read the answer to a request with *keys*; raises InvalidMessage."""
    if len(payload) > LARGEST_ANSWER:
        raise InvalidMessage("the answer with the token is far too long")
    try:
        answer = json.loads(payload.decode())
    except (ValueError, RecursionError) as err:
        raise InvalidMessage("the answer with the token is not JSON") from err
    if not isinstance(answer, dict):
        raise InvalidMessage("the answer with the token is no JSON object")
    valid, token, throttling = (answer.get(name) for name in ("valid", "token", "throttling"))
    if isinstance(valid, bool) or not isinstance(valid, int | float) or not 0 < valid <= _LATEST:
        raise InvalidMessage("the answer does not say until when the token is valid")
    if not isinstance(token, str) or not token.isascii() or not 0 < len(token) <= LONGEST_TOKEN:
        raise InvalidMessage("the answer has no token")
    if throttling is not None and (type(throttling) is not int or not 0 <= throttling < 2**31):
        raise InvalidMessage("the answer's throttling is no number")
    if valid <= now:
        raise InvalidMessage("the token has ended already; is the clock right?")
    return Token(float(valid), token.encode(), keys, throttling or None, now)


class RemoteFailed(Exception):
    """The tunnel could not be made; ``reason`` says why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RemoteAccess:
    """The tunnel of one thing.

    ``request`` publishes a request, ``connector`` makes what serves those who come through the
    tunnel, ``on_change`` notifies of each new state, ``on_served`` of a tunnel that is up.
    """

    def __init__(
        self,
        server: tuple[str, int],
        request: Callable[[str, bytes], Awaitable[None]],
        connector: Callable[[], Awaitable[Connector]],
        *,
        wanted: bool = False,
        make_peer: Callable[[str, int], ClientPeer] = ClientPeer,
        backoff: Backoff | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        self.wanted = wanted
        self.state = RemoteState.OFF
        self.token: Token | None = None
        self.failure: str | None = None
        self.failed_since: float | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_served: Callable[[], None] = lambda: None
        self._server = server
        self._request = request
        self._connector = connector
        self._make_peer = make_peer
        self._backoff = backoff or Backoff(first=1.0, longest=60.0)
        self._now = now
        self._sleep = sleep
        self._answer_within = answer_within
        self._peer: ClientPeer | None = None
        self._keys: tuple[bytes, bytes] | None = None
        self._answer: asyncio.Future[Token] | None = None
        self._reachable = False
        self._anew = False
        self._moved = asyncio.Event()

    # What it is told

    def want(self, *, wanted: bool) -> None:
        """Have the tunnel up from now on, or down."""
        self.wanted = wanted
        self._moved.set()

    def reachable(self, *, reachable: bool) -> None:
        """Note whether there is a connection over which to ask for a token."""
        self._reachable = reachable
        self._moved.set()

    def renew(self) -> None:
        """Make the tunnel anew: it shall serve another certificate."""
        self._anew = True
        self._moved.set()

    def received(self, payload: bytes) -> None:
        """Take an answer with a token; raises InvalidMessage."""
        if self._keys is None or self._answer is None or self._answer.done():
            raise InvalidMessage("a token that nobody asked for")
        self._answer.set_result(parse_token(payload, self._keys, self._now()))
        self._keys = None

    # Life

    async def run(self) -> None:
        """Keep the tunnel as it is wanted, until cancelled."""
        failures = 0
        try:
            while True:
                await self._until_possible()
                self._enter(RemoteState.CONNECTING)
                try:
                    if self.token is None or self.token.due(self._now()) <= 0:
                        self.token = await self._new_token()
                    await self._connect(self.token)
                except RemoteFailed as err:
                    failures += 1
                    self._failed(err)
                    await self._rest(self._backoff.delay(failures))
                    continue
                failures = 0
                self.failure = self.failed_since = None
                self._enter(RemoteState.CONNECTED)
                self.on_served()
                ended = await self._stay()
                await self._disconnect()
                if ended:
                    self._enter(RemoteState.CONNECTING)
                    await self._rest(self._backoff.delay(1))
        finally:
            await self._disconnect()

    async def _until_possible(self) -> None:
        while True:
            self._moved.clear()
            if not self.wanted:
                self.failure = self.failed_since = None
                self._enter(RemoteState.OFF)
            elif self._reachable or (self.token and self.token.due(self._now()) > 0):
                return
            else:
                self._enter(RemoteState.WAITING)
            await self._moved.wait()

    async def _new_token(self) -> Token:
        """Ask for a token and wait for it; raises RemoteFailed."""
        if self._keys is None:
            self._keys = generate_aes_keyset()
        key, vector = self._keys
        self._answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._answer_within):
                await self._request(ACTION, encoded({"aesKey": key.hex(), "aesIv": vector.hex()}))
                return await self._answer
        except TimeoutError as err:
            raise RemoteFailed("no_token", "nobody answered the request for a token") from err
        except CloudError as err:
            raise RemoteFailed("no_token", f"a token could not be asked for: {err}") from err
        finally:
            self._answer = None

    async def _connect(self, token: Token) -> None:
        """Make the tunnel; raises RemoteFailed."""
        self._anew = False
        peer = self._make_peer(*self._server)
        try:
            connector = await self._connector()
            async with asyncio.timeout(CONNECT_WITHIN):
                await peer.start(connector, token.token, *token.keys, throttling=token.throttling)
        except ThingError as err:
            reason = STARTING if err.reason == HTTP_NOT_THERE else "certificate"
            raise RemoteFailed(reason, str(err)) from err
        except TimeoutError as err:
            raise RemoteFailed("timeout", "the SniTun server did not answer in time") from err
        except (SniTunConnectionError, OSError) as err:
            # Whatever it was, the token may be why: it was for this attempt.
            self.token = None
            raise RemoteFailed("no_tunnel", str(err)) from err
        self._peer = peer

    async def _stay(self) -> bool:
        """Return when the tunnel has to go: True when it went by itself."""
        peer = self._peer
        if peer is None or not peer.is_connected:
            return True
        ended = peer.wait()
        retry = 0.0
        while self.wanted and not self._anew:
            self._moved.clear()
            due = self.token.due(self._now()) if self.token is not None else 0.0
            if self._reachable and due <= 0 and retry <= self._now():
                try:
                    self.token = await self._new_token()
                except RemoteFailed as err:
                    _LOGGER.debug("The token was not renewed: %s", err)
                    retry = self._now() + RENEW_RETRY
                else:
                    return False
            wait = min(LOOK_EVERY, max(due, retry - self._now(), 0.1))
            await self._first_of(ended, asyncio.ensure_future(_rested(self._sleep, wait)))
            if ended.done():
                return True
        return False

    async def _first_of(self, *others: asyncio.Future[Any]) -> None:
        """Wait until something moved or one of *others* is done; tasks of ours are cancelled."""
        moved = asyncio.ensure_future(self._moved.wait())
        try:
            await asyncio.wait([moved, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (moved, *others):
                if isinstance(each, asyncio.Task):
                    each.cancel()

    async def _rest(self, seconds: float) -> None:
        """Wait, unless it is not wanted any longer."""
        self._moved.clear()
        end = self._now() + seconds
        while self.wanted and (left := end - self._now()) > 0:
            await self._first_of(asyncio.ensure_future(_rested(self._sleep, left)))
            if not self._moved.is_set():
                return
            self._moved.clear()

    async def _disconnect(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None and peer.is_connected:
            try:
                async with asyncio.timeout(CONNECT_WITHIN):
                    await peer.stop()
            except (TimeoutError, RuntimeError, OSError) as err:
                _LOGGER.debug("The tunnel did not end as it should: %s", type(err).__name__)

    def _failed(self, err: RemoteFailed) -> None:
        if self.failure != err.reason:
            _LOGGER.info("Remote access is not there: %s", err)
        self.failure = err.reason
        if self.failed_since is None:
            self.failed_since = self._now()
        self._enter(RemoteState.FAILED)

    def _enter(self, state: RemoteState) -> None:
        if state is not self.state:
            self.state = state
            self.on_change()


async def _rested(sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
    await sleep(seconds)
