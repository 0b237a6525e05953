"""One thing at work: whatever comes, what it has to do itself is done."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
import trustme

from custom_components.ulogger.cloud.clesyde.captures import RAW_BYTES, Choice
from custom_components.ulogger.cloud.clesyde.clesyde import (
    MOST_UNFINISHED,
    ONLINE,
    ClesydeDestination,
)
from custom_components.ulogger.cloud.clesyde.keys import ThingKeys
from custom_components.ulogger.cloud.clesyde.shadow_sync import ShadowSync
from custom_components.ulogger.cloud.clesyde.thing import Thing
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudUnavailable, TopicDenied
from custom_components.ulogger.model.identity import DeviceKey
from custom_components.ulogger.model.log_config import LogConfig
from tests.support.account import ToldTransport, core_dump, log
from tests.support.clesyde import issued

KEY: DeviceKey = (42, "A87DE76F0011")
NOW = 1_795_225_292.0


@pytest.fixture
async def keys() -> ThingKeys:
    pair = issued(trustme.CA(), 10)

    async def run(work: Any, *values: Any) -> Any:
        return work(*values)

    async def save(_thing: Thing, _wanted: bool) -> None:
        return

    thing = Thing("HA-1", "thing", "a", "b", "c", "ca", pair, pair)
    return await ThingKeys.of(thing, wanted=False, save=save, run=run, new_context=lambda: None)  # type: ignore[arg-type, return-value]


class World:
    """A thing, its transport, a clock, and what it wishes of devices."""

    def __init__(self, keys: ThingKeys) -> None:
        self.now = NOW
        self.transport = ToldTransport()
        self.transport.tell(ConnectionState.CONNECTING)
        self.told: list[tuple[LogConfig, bool]] = []

        async def run(work: Any, *values: Any) -> Any:
            return work(*values)

        self.thing = ClesydeDestination(
            "clesyde",
            keys,
            self.transport,
            Choice(),
            reading_of=lambda _: None,  # type: ignore[arg-type, return-value]
            report_of=lambda _: None,  # type: ignore[arg-type, return-value]
            run_in_executor=run,
            now=lambda: self.now,
        )
        self.thing.on_log_config = lambda _key, config, retained: self.told.append(
            (config, retained)
        )


@asynccontextmanager
async def running(keys: ThingKeys) -> AsyncGenerator[World]:
    world = World(keys)
    task = asyncio.create_task(world.thing.run())
    await turns()
    try:
        yield world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_flood_of_answers_does_not_keep_it_from_saying_that_it_is_there(
    keys: ThingKeys,
) -> None:
    async with running(keys) as world:
        world.thing.rotation.desired("5", "6")
        rubbish = json.dumps({"cert": "x", "pkey": "y"}).encode()
        for _ in range(500):
            world.transport.receive("c/d/HA-1/remotecr/res", rubbish)
        world.transport.tell(ConnectionState.CONNECTED)
        await turns()
        assert ("c/d/HA-1/status", ONLINE) in world.transport.published
        assert world.thing.counters["bad_messages"] > 400


async def test_a_status_that_is_denied_keeps_neither_shadow_nor_remote_access_away(
    keys: ThingKeys,
) -> None:
    async with running(keys) as world:
        world.thing.shadow = Mock(spec=ShadowSync)
        world.transport.refusal = TopicDenied("c/d/HA-1/status", 60.0)
        world.transport.tell(ConnectionState.CONNECTED)
        await turns()
        world.thing.shadow.connected.assert_called_once_with()
        assert world.thing.counters["status_denied"] == 1


async def test_filters_that_may_not_be_listened_to_are_denied_until_they_may(
    keys: ThingKeys,
) -> None:
    world = World(keys)
    told: list[list[str]] = []
    world.thing.on_denied = lambda: told.append(list(world.thing.denied_topics))
    asked: list[str] = []
    world.transport.ask_again = asked.append  # type: ignore[method-assign]
    answers: dict[str, tuple[Any, Any]] = {}

    async def subscribe(topic: str, _heard: Any, refused: Any, *, on_allowed: Any) -> None:
        answers[topic] = (refused, on_allowed)

    world.transport.subscribe = subscribe  # type: ignore[assignment, method-assign]
    await world.thing._listen()
    assert set(answers) == set(world.thing.topics.filters)
    refused, allowed = answers["c/platform"]
    allowed()
    refused()
    refused()
    assert told == [["c/platform"]]
    world.transport.denied = ["c/d/HA-1/logs"]
    assert world.thing.denied_topics == ["c/d/HA-1/logs", "c/platform"]
    world.thing.forgive()
    assert asked == ["c/platform"]
    allowed()
    assert told[-1] == []


async def test_what_is_left_of_a_wish_is_passed_on_and_what_has_ended_is_not(
    keys: ThingKeys,
) -> None:
    world = World(keys)
    await world.thing.follow_log_config(KEY)
    world.thing.wish_levels({KEY: LogConfig(1, 7, 600)})
    world.now += 400.5
    # The shadow is read anew, and says the same.
    world.thing.wish_levels({KEY: LogConfig(1, 7, 200)})
    assert world.told == [(LogConfig(1, 7, 600), False)]
    await world.thing.follow_log_config(KEY)
    assert world.told.pop() == (LogConfig(1, 7, 200), True)
    world.thing.wish_levels({KEY: LogConfig(1, 7, 900)})
    assert world.told.pop() == (LogConfig(1, 7, 900), False)
    world.now += 901
    await world.thing.follow_log_config(KEY)
    world.thing.wish_levels({})
    await world.thing.follow_log_config(KEY)
    assert len(world.told) == 1


async def test_what_was_acknowledged_of_a_capture_is_not_sent_again(keys: ThingKeys) -> None:
    world = World(keys)
    world.transport.tell(ConnectionState.CONNECTED)
    world.thing.choice = Choice(crashes="up", raw=True)
    capture = replace(core_dump(), data=bytes(3 * RAW_BYTES))
    publish, taken = world.transport.publish, 0

    async def some(topic: str, payload: bytes) -> None:
        nonlocal taken
        if taken == 2:
            raise CloudUnavailable("told so")
        taken += 1
        await publish(topic, payload)

    world.transport.publish = some  # type: ignore[method-assign]
    with pytest.raises(CloudUnavailable):
        await world.thing.deliver(capture, 7)
    assert world.thing.counters["captures_delivered"] == 0
    world.transport.publish = publish  # type: ignore[method-assign]
    await world.thing.deliver(capture, 7)
    sent = [json.loads(payload)["part"] for _, payload in world.transport.published]
    assert sent == [1, 2, 3]
    assert world.thing.counters["captures_delivered"] == 1


async def test_of_many_captures_that_were_interrupted_the_first_begin_anew(
    keys: ThingKeys,
) -> None:
    world = World(keys)
    world.transport.tell(ConnectionState.CONNECTED)
    world.thing.choice = Choice(crashes="up", raw=True)
    world.transport.refusal = CloudUnavailable("told so")
    for number in range(MOST_UNFINISHED + 1):
        with pytest.raises(CloudUnavailable):
            await world.thing.deliver(core_dump(), number)
    assert list(world.thing._unfinished) == list(range(1, MOST_UNFINISHED + 1))
    world.transport.refusal = None
    for number in range(MOST_UNFINISHED + 1):
        await world.thing.deliver(core_dump(), number)
    sent = [json.loads(payload)["capture"] for _, payload in world.transport.published]
    assert sent == list(range(MOST_UNFINISHED + 1))
    assert not world.thing._unfinished


async def test_a_capture_that_nobody_chose_counts_as_delivered_and_sends_nothing(
    keys: ThingKeys,
) -> None:
    world = World(keys)
    world.thing.choice = Choice(crashes="up", raw=True)
    await world.thing.deliver(log(), 7)
    assert world.transport.published == []
    assert world.thing.counters["not_chosen"] == 1
