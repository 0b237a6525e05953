"""The tunnel is up while it is wanted, comes back, and asks nobody without end."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from snitun.exceptions import SniTunConnectionError  # type: ignore[import-untyped]

from custom_components.ulogger.cloud.clesyde.errors import HTTP_NOT_THERE, ThingError
from custom_components.ulogger.cloud.clesyde.remote import (
    LARGEST_ANSWER,
    LONGEST_TOKEN,
    RemoteAccess,
    RemoteState,
    parse_token,
)
from custom_components.ulogger.cloud.errors import CloudUnavailable, InvalidMessage
from custom_components.ulogger.model.backoff import Backoff, never

NOW = 1_795_225_292.0
HOUR = 3600.0
KEYS = (bytes(32), bytes(16))


class Peer:
    """A connection to the SniTun server."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_connected = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.token = b""

    async def start(self, _connector: Any, token: bytes, *_keys: Any, throttling: Any) -> None:
        self._world.starts.append(self._world.now)
        self.token = token
        if self._world.refusal is not None:
            raise self._world.refusal
        self.is_connected = True

    def wait(self) -> asyncio.Future[None]:
        return self.ended

    async def stop(self) -> None:
        self.is_connected = False
        if self._world.stuck:
            raise RuntimeError

    def end(self) -> None:
        """Have the server close it."""
        self.is_connected = False
        self.ended.set_result(None)


class World:
    """A thing's remote access, Clesyde, the SniTun server, and a clock set forward by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.life = 10 * HOUR
        self.silent = False
        self.unavailable = False
        self.stuck = False
        self.refusal: Exception | None = None
        self.unusable: ThingError | None = None
        self.asked: list[float] = []
        self.starts: list[float] = []
        self.peers: list[Peer] = []
        self.states: list[RemoteState] = []
        self._sleeping: list[tuple[float, asyncio.Event]] = []
        self.remote = RemoteAccess(
            ("snitun.invalid", 443),
            self._request,
            self._connector,
            make_peer=self._peer,  # type: ignore[arg-type]
            backoff=Backoff(first=1.0, longest=60.0, chance=never),
            now=lambda: self.now,
            sleep=self._sleep,
            answer_within=0.0,
        )
        self.remote.on_change = lambda: self.states.append(self.remote.state)

    @property
    def state(self) -> RemoteState:
        return self.remote.state

    async def _request(self, _action: str, _payload: bytes) -> None:
        self.asked.append(self.now)
        if self.unavailable:
            raise CloudUnavailable("told so")
        if not self.silent:
            self.answer()

    def answer(self) -> None:
        """Have a token come."""
        message = {"valid": self.now + self.life, "token": f"t{len(self.asked)}"}
        self.remote.received(json.dumps(message).encode())

    async def _connector(self) -> Any:
        if self.unusable is not None:
            raise self.unusable
        return object()

    def _peer(self, *_server: Any) -> Peer:
        self.peers.append(Peer(self))
        return self.peers[-1]

    async def _sleep(self, seconds: float) -> None:
        awake = asyncio.Event()
        self._sleeping.append((self.now + seconds, awake))
        await awake.wait()

    async def pass_(self, seconds: float = 0.0) -> None:
        """Let time pass, and everything happen that happens meanwhile."""
        end = self.now + seconds
        await turns()
        while due := [at for at, awake in self._sleeping if at <= end and not awake.is_set()]:
            self.now = max(self.now, min(due))
            for at, awake in self._sleeping:
                if at <= self.now:
                    awake.set()
            await turns()
        self.now = end
        await turns()


async def turns() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@asynccontextmanager
async def wanted(**at_first: Any) -> AsyncGenerator[World]:
    """Have remote access that is wanted, over a connection that is there."""
    world = World()
    for name, value in at_first.items():
        setattr(world, name, value)
    task = asyncio.create_task(world.remote.run())
    await world.pass_()
    world.remote.want(wanted=True)
    world.remote.reachable(reachable=True)
    await world.pass_()
    try:
        yield world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not any(peer.is_connected for peer in world.peers)


@pytest.mark.parametrize(
    "answer",
    [
        b"no JSON",
        b"[]",
        b"[" * 10_000,
        b" " * (LARGEST_ANSWER + 1),
        {"valid": True},
        {"valid": "soon"},
        {"valid": 1e12},
        {"valid": float("nan")},
        {"token": None},
        {"token": ""},
        {"token": "ä"},
        {"token": "t" * (LONGEST_TOKEN + 1)},
        {"throttling": "fast"},
        {"throttling": -1},
        {"throttling": True},
        {"valid": NOW},
    ],
)
def test_what_is_no_token_is_none(answer: bytes | dict[str, Any]) -> None:
    if isinstance(answer, dict):
        answer = json.dumps({"valid": NOW + HOUR, "token": "t", **answer}).encode()
    with pytest.raises(InvalidMessage):
        parse_token(answer, KEYS, NOW)


def test_a_token_may_say_how_fast_it_goes() -> None:
    answer = {"valid": NOW + HOUR, "token": "t", "throttling": 7}
    assert parse_token(json.dumps(answer).encode(), KEYS, NOW).throttling == 7
    slow = parse_token(json.dumps({**answer, "throttling": 0}).encode(), KEYS, NOW)
    assert slow.throttling is None


async def test_it_is_up_while_it_is_wanted() -> None:
    async with wanted() as world:
        assert world.states == [RemoteState.CONNECTING, RemoteState.CONNECTED]
        # Its token still lasts, so it needs no connection to Clesyde meanwhile.
        world.remote.reachable(reachable=False)
        await world.pass_(HOUR)
        assert world.state is RemoteState.CONNECTED
        with pytest.raises(InvalidMessage):
            world.answer()
        world.remote.want(wanted=False)
        await world.pass_()
        assert world.state is RemoteState.OFF
        assert not world.peers[0].is_connected
        world.remote.want(wanted=True)
        await world.pass_()
        assert world.state is RemoteState.CONNECTED
        assert len(world.asked) == 1


async def test_without_a_token_it_waits_for_the_connection() -> None:
    world = World()
    task = asyncio.create_task(world.remote.run())
    world.remote.want(wanted=True)
    await world.pass_(HOUR)
    assert (world.state, world.asked) == (RemoteState.WAITING, [])
    world.remote.reachable(reachable=True)
    await world.pass_()
    assert world.state is RemoteState.CONNECTED
    task.cancel()


@pytest.mark.parametrize("why", ["silent", "unavailable"])
async def test_a_token_that_does_not_come_is_asked_for_ever_less_often(why: str) -> None:
    async with wanted(**{why: True}) as world:
        assert (world.state, world.remote.failure) == (RemoteState.FAILED, "no_token")
        await world.pass_(HOUR)
        assert [round(at - NOW) for at in world.asked[:7]] == [0, 1, 3, 7, 15, 31, 63]
        assert 60 <= len(world.asked) <= 70
        assert world.remote.failed_since == NOW
        setattr(world, why, False)
        await world.pass_(60.0)
        assert (world.state, world.remote.failure) == (RemoteState.CONNECTED, None)


async def test_nobody_who_does_not_want_it_waits_for_the_next_attempt() -> None:
    async with wanted(silent=True) as world:
        await world.pass_(HOUR)
        world.remote.reachable(reachable=True)
        await world.pass_()
        before = len(world.asked)
        world.remote.want(wanted=False)
        await world.pass_()
        assert (world.state, world.remote.failure) == (RemoteState.OFF, None)
        await world.pass_(HOUR)
        assert len(world.asked) == before


@pytest.mark.parametrize(
    ("refusal", "why", "tokens"),
    [
        (SniTunConnectionError("refused"), "no_tunnel", 2),
        (ConnectionRefusedError(), "no_tunnel", 2),
        (TimeoutError(), "timeout", 1),
    ],
)
async def test_a_server_that_does_not_let_it_in_is_tried_again(
    refusal: Exception, why: str, tokens: int
) -> None:
    async with wanted(refusal=refusal) as world:
        assert (world.state, world.remote.failure) == (RemoteState.FAILED, why)
        world.refusal = None
        await world.pass_(2.0)
        assert world.state is RemoteState.CONNECTED
        # Whoever was refused may have been so for the token; who was not answered was not.
        assert len(world.asked) == tokens


@pytest.mark.parametrize(
    ("reason", "why"), [(HTTP_NOT_THERE, "starting"), ("certificate_useless", "certificate")]
)
async def test_what_it_would_lead_to_is_waited_for(reason: str, why: str) -> None:
    async with wanted(unusable=ThingError(reason, "told so")) as world:
        assert (world.state, world.remote.failure) == (RemoteState.FAILED, why)
        assert world.starts == []
        world.unusable = None
        await world.pass_(2.0)
        assert world.state is RemoteState.CONNECTED


async def test_a_tunnel_that_ends_comes_back_with_the_token_that_it_has() -> None:
    async with wanted() as world:
        world.peers[0].end()
        await world.pass_()
        assert world.state is RemoteState.CONNECTING
        await world.pass_(1.0)
        assert world.state is RemoteState.CONNECTED
        assert [peer.token for peer in world.peers] == [b"t1", b"t1"]


async def test_a_tunnel_is_made_anew_for_a_new_certificate_even_if_the_old_one_does_not_end() -> (
    None
):
    async with wanted(stuck=True) as world:
        world.remote.renew()
        await world.pass_()
        assert world.state is RemoteState.CONNECTED
        assert [peer.is_connected for peer in world.peers] == [False, True]


async def test_a_token_is_renewed_before_it_ends_and_asked_for_once_a_minute_until_then() -> None:
    async with wanted(life=HOUR) as world:
        world.silent = True
        await world.pass_(HOUR - 15 * 60.0 + 5 * 60.0 + 1.0)
        # The tunnel stays meanwhile: the token still lasts.
        assert world.state is RemoteState.CONNECTED
        assert [round(at - NOW) for at in world.asked] == [0, 2700, 2760, 2820, 2880, 2940, 3000]
        world.silent = False
        await world.pass_(60.0)
        assert world.state is RemoteState.CONNECTED
        assert [peer.token for peer in world.peers] == [b"t1", b"t8"]
