"""A gateway and its proxies on one connection: what is said of whom, and when it is tried again."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.cloud.udmi.progress import Volatile
from custom_components.ulogger.cloud.udmi.speaker import Speaker
from custom_components.ulogger.cloud.udmi.udmi import RENEW_WISHES, UdmiDestination
from custom_components.ulogger.cloud.udmi.wishes import LevelWishes
from custom_components.ulogger.model.identity import DeviceKey
from custom_components.ulogger.model.log_config import LogConfig

from .wire import Site

KEY: DeviceKey = (42, "S1")
PROXY = "/r/Z/d/BLE-1"
GATEWAY = "/r/Z/d/GAT-1"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


class World(Site):
    """A site, and the gateway of an account with one device, by a clock that a test moves."""

    def __init__(self, *, there: bool = True) -> None:
        super().__init__()
        self.time = 1000.0
        self.there = there
        self.not_attached: list[tuple[str, str]] = []
        self.worked: list[str] = []
        self.detached: list[str] = []
        self.wished: list[tuple[int, bool]] = []
        self.wishes = LevelWishes({}, self._keep, lambda: self.time)
        self.destination = UdmiDestination(
            "d",
            self.link,
            progress=Volatile(),
            proxy_of=lambda _key: "BLE-1",
            device_of=lambda _id: KEY,
            reading_of=self._nothing,
            report_of=self._nothing,
            wishes=self.wishes,
            run=self._nothing,
            clock=lambda: self.time,
            now=lambda: NOW,
        )
        self.destination.gateway = self._speaker("GAT-1")
        self.destination.make_proxy = lambda each: self._speaker(each) if self.there else None
        self.destination.on_not_attached = lambda each, why: self.not_attached.append((each, why))
        self.destination.on_heard = self.worked.append
        self.destination.on_detached = self.detached.append
        self.destination.on_log_config = self._wish

    def _speaker(self, device_id: str) -> Speaker:
        return Speaker(
            device_id,
            identity=dict,
            publish=self.destination.publish,
            changed=self.destination.changed,
            clock=lambda: self.time,
            now=lambda: NOW,
            latch=0.0,
        )

    async def _keep(self, told_at: Mapping[str, float]) -> None:
        pass

    async def _nothing(self, *_: object) -> Any:
        raise AssertionError("nobody asks for this")

    def _wish(self, key: DeviceKey, config: LogConfig, again: bool) -> None:
        assert key == KEY
        self.wished.append((config.level, again))

    async def pass_(self, seconds: float) -> None:
        self.time += seconds
        self.destination.changed()
        await self.settle()

    def payloads(self, topic: str) -> list[Any]:
        """Return what was said on a topic, in order."""
        return [json.loads(payload) for at, payload in self.said if at == topic]


@asynccontextmanager
async def at_work(world: World, *proxies: str) -> AsyncGenerator[World]:
    """Run the destination, with proxies that the site has named."""
    running = asyncio.create_task(world.destination.run())
    await world.settle()
    for each in proxies:
        world.destination.attach(each)
    await world.settle()
    try:
        yield world
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_proxy_without_a_device_is_told_of_and_not_attached() -> None:
    async with at_work(World(there=False), "BLE-1") as world:
        assert world.not_attached == [("BLE-1", "there is no such device")]
        assert ("publish", f"{PROXY}/attach") not in world.log


async def test_a_proxy_that_may_not_be_spoken_for_is_told_of_until_it_may() -> None:
    world = World()
    world.failing.add(f"{PROXY}/attach")
    async with at_work(world, "BLE-1"):
        [(proxy_id, why)] = world.not_attached
        assert (proxy_id, why) == ("BLE-1", f"{PROXY}/attach was not acknowledged")
        assert not world.destination.proxies["BLE-1"].attached
        world.failing.clear()
        world.refused.add(f"{PROXY}/config")
        world.destination.attach("BLE-1")
        await world.settle()
        assert world.not_attached[1:] == [("BLE-1", "the broker does not let us hear its config")]
        world.refused.clear()
        world.destination.attach("BLE-1")
        await world.settle()
        assert world.worked == ["BLE-1"]
        assert world.destination.proxies["BLE-1"].attached


async def test_a_proxy_that_is_gone_meanwhile_is_not_taken_for_attached() -> None:
    async with at_work(World()) as world:
        world.destination.attach("BLE-1")
        await asyncio.sleep(0)
        speaker = world.destination.proxies.pop("BLE-1")
        world.destination.proxies["BLE-1"] = world.destination.make_proxy("BLE-1") or speaker
        await world.settle()
        assert not world.worked
        assert not speaker.attached


async def test_of_a_detached_proxy_nothing_is_said_any_longer() -> None:
    async with at_work(World(), "BLE-1") as world:
        world.failing.add(f"{PROXY}/events/system")
        world.destination.publish("BLE-1", "system", {"n": 1})
        world.destination.detach("BLE-1")
        assert len(world.destination.events) == 0
        await world.settle()
        assert world.detached == ["BLE-1"]
        assert world.log[-1] == ("publish", f"{PROXY}/detach")
        before = len(world.log)
        world.destination.detach("BLE-1")
        await world.settle()
        assert len(world.log) == before


async def test_a_state_that_did_not_arrive_is_sent_again() -> None:
    world = World()
    world.failing.add(f"{GATEWAY}/state")
    async with at_work(world):
        await world.pass_(1.0)
        assert not world.payloads(f"{GATEWAY}/state")
        assert world.destination.counters["jobs_failed"] == 1
        world.failing.clear()
        await world.pass_(2.0)
        assert len(world.payloads(f"{GATEWAY}/state")) == 1


async def test_a_state_that_is_hurried_waits_for_the_one_on_its_way() -> None:
    async with at_work(World()) as world:
        gateway = world.destination.gateway
        gateway.sending = True
        hurried = asyncio.create_task(world.destination.flush_state(gateway))
        await world.settle()
        assert not world.payloads(f"{GATEWAY}/state")
        gateway.sending = False
        await hurried
        assert len(world.payloads(f"{GATEWAY}/state")) == 1
        # The next one has to keep its distance: whoever gives up meanwhile holds up no other.
        given_up = asyncio.create_task(world.destination.flush_state(gateway))
        await world.settle()
        given_up.cancel()
        await world.settle()
        assert given_up.cancelled()
        assert not gateway.sending


async def test_a_device_that_is_identified_has_its_state_told_anew() -> None:
    async with at_work(World(), "BLE-1") as world:
        await world.pass_(1.0)
        before = len(world.payloads(f"{PROXY}/state"))
        await world.pass_(10.0)
        assert len(world.payloads(f"{PROXY}/state")) == before
        world.destination.device_identified(KEY, 0.0)
        await world.pass_(1.0)
        assert len(world.payloads(f"{PROXY}/state")) == before + 1


async def test_a_wish_for_a_level_is_renewed_every_day() -> None:
    async with at_work(World(), "BLE-1") as world:
        config = {"version": "1.5.2", "timestamp": "2026-11-21T00:00:00Z"}
        world.wire.hear(
            f"{PROXY}/config", json.dumps({**config, "system": {"min_loglevel": 500}}).encode()
        )
        await world.settle()
        assert len(world.wished) == 1
        await world.pass_(RENEW_WISHES)
        assert len(world.wished) == 2
        await world.destination.unfollow_log_config(KEY)
        await world.pass_(RENEW_WISHES)
        assert len(world.wished) == 2


async def test_a_command_that_nobody_knows_is_answered_with_an_entry() -> None:
    async with at_work(World()) as world:
        world.wire.hear(f"{GATEWAY}/commands/make_tea")
        await world.pass_(2.0)
        [event] = world.payloads(f"{GATEWAY}/events/system")
        [entry] = event["logentries"]
        assert entry["message"] == "There is no command 'make_tea' here"
        assert world.destination.counters["commands"] == 1


async def test_what_comes_for_a_device_that_is_not_here_is_counted() -> None:
    async with at_work(World(), "BLE-1") as world:
        del world.destination.proxies["BLE-1"]
        world.wire.hear(f"{PROXY}/config")
        assert world.destination.counters["unknown_devices"] == 1


async def test_nothing_goes_in_the_name_of_somebody_who_is_not_attached() -> None:
    world = World()
    with pytest.raises(CloudUnavailable, match="GAT-1 is not attached") as caught:
        await world.destination.send_now("system", {})
    assert not caught.value.sent
    async with at_work(world):
        await world.destination.send_now("system", {"n": 1})
        assert world.payloads(f"{GATEWAY}/events/system")[0]["n"] == 1


async def test_what_the_broker_denies_is_passed_on_and_forgiven() -> None:
    denied: list[None] = []
    async with at_work(World()) as world:
        assert world.wire.on_denied is not None
        world.wire.on_denied()
        world.destination.on_denied = lambda: denied.append(None)
        world.wire.on_denied()
        assert denied == [None]
        world.destination.forgive()
        assert world.wire.forgiven == 1


async def test_what_is_being_done_ends_with_the_connection() -> None:
    ended: list[bool] = []

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with at_work(World()) as world:
        world.destination.do(last)
        await world.settle()
    await world.settle()
    assert ended == [True]
