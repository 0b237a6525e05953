"""One connection at a time; nothing is said or heard for a device out of its order."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from unittest.mock import patch

import pytest

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import (
    CannotConnect,
    CloudUnavailable,
    CredentialsRefused,
    SubscriptionRefused,
)
from custom_components.ulogger.cloud.udmi import link as link_module

from .wire import Site, target

CONFIG = "/r/Z/d/GAT-1/config"
PROXY = "/r/Z/d/BLE-1"


@asynccontextmanager
async def at_work(site: Site) -> AsyncGenerator[Site]:
    """Run the link."""
    running = asyncio.create_task(site.link.run())
    await site.settle()
    try:
        yield site
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
def at_once() -> Iterator[None]:
    """Have no pause after a failure."""
    with patch.object(link_module, "AFTER_FAILURE", 0.0):
        yield


async def test_a_gateway_is_ready_once_it_can_hear_its_config() -> None:
    site = Site()
    ready: list[int] = []
    site.link.on_ready = lambda: ready.append(len(site.log))
    async with at_work(site):
        assert site.link.ready
        assert ("subscribe", CONFIG) in site.log[: ready[0]]
        assert site.states == [ConnectionState.CONNECTED]
        assert site.link.diagnostics() == {"host": "first.invalid"}
    assert not site.link.ready
    assert site.link.diagnostics() == {}


async def test_a_proxy_is_attached_before_it_listens_and_detached_after() -> None:
    heard: list[tuple[str, str]] = []
    async with at_work(Site()) as site:
        site.link.on_heard = lambda what, _payload: heard.append((what.device_id, what.kind))
        site.log.clear()
        assert await site.link.attach("BLE-1")
        assert site.log[:2] == [("publish", f"{PROXY}/attach"), ("subscribe", f"{PROXY}/config")]
        site.wire.hear(f"{PROXY}/config")
        site.log.clear()
        await site.link.detach("BLE-1")
        assert site.log[0] == ("unsubscribe", f"{PROXY}/config")
        assert site.log[-1] == ("publish", f"{PROXY}/detach")
        site.wire.hear(f"{PROXY}/config")
    assert heard == [("BLE-1", "config")]


async def test_a_proxy_that_is_released_is_not_detached() -> None:
    async with at_work(Site()) as site:
        await site.link.attach("BLE-1")
        await site.link.release("BLE-1")
        assert ("unsubscribe", f"{PROXY}/config") in site.log
        assert ("publish", f"{PROXY}/detach") not in site.log


async def test_after_a_loss_a_proxy_listens_no_more_until_it_is_attached_anew() -> None:
    lost: list[bool] = []
    async with at_work(Site()) as site:
        await site.link.attach("BLE-1")
        site.link.on_lost = lambda: lost.append(site.link.ready)
        site.wire.lose()
        await site.settle()
        assert lost == [False]
        assert str(site.link.failure) == "lost"
        assert f"{PROXY}/config" not in site.wire.filters
        assert CONFIG in site.wire.filters
        site.wire.connect()
        await site.settle()
        assert site.link.ready
        assert site.link.failure is None
        assert await site.link.attach("BLE-1")
        assert f"{PROXY}/config" in site.wire.filters


async def test_without_a_connection_nothing_is_said() -> None:
    link = Site().link
    with pytest.raises(CloudUnavailable) as caught:
        await link.publish("topic", b"")
    assert not caught.value.sent
    with pytest.raises(CloudUnavailable) as caught:
        await link.attach("BLE-1")
    assert not caught.value.sent
    await link.detach("BLE-1")


async def test_a_gateway_that_may_not_hear_its_config_is_not_ready_until_it_may() -> None:
    site = Site()
    site.refused.add(CONFIG)
    async with at_work(site):
        assert not site.link.ready
        assert isinstance(site.link.failure, SubscriptionRefused)
        site.refused.clear()
        allowed = site.wire.allowed[CONFIG]
        assert allowed is not None
        allowed()
        await site.settle()
        assert site.link.ready
        assert site.states == [ConnectionState.CONNECTED]


async def test_what_the_broker_denies_is_told_and_can_be_tried_again() -> None:
    denied: list[None] = []
    async with at_work(Site()) as site:
        site.link.on_denied = lambda: denied.append(None)
        assert site.wire.on_denied is not None
        site.wire.on_denied()
        site.link.forgive()
        assert denied == [None]
        assert site.wire.forgiven == 1


@pytest.mark.parametrize(
    ("problem", "state"),
    [
        (CredentialsRefused("no key"), ConnectionState.CREDENTIALS_REFUSED),
        (CannotConnect("no file"), ConnectionState.DISCONNECTED),
    ],
)
async def test_where_no_connection_can_be_made_that_is_told_and_tried_again(
    at_once: None, problem: CannotConnect, state: ConnectionState
) -> None:
    site = Site()
    site.unusable["first.invalid"] = problem
    async with at_work(site):
        assert site.link.state is state
        assert site.link.failure is problem
        site.unusable.clear()
        await site.settle()
        assert site.link.ready
        assert site.link.failure is None


async def test_a_gateway_goes_over_to_a_broker_that_takes_it() -> None:
    async with at_work(Site()) as site:
        first = site.wire
        other = target("other.invalid", topic_prefix="/other")
        await site.link.switch(other)
        assert site.link.target is other
        assert "/other/GAT-1/config" in site.wire.filters
        assert not first.connected


async def test_a_gateway_goes_back_where_another_broker_does_not_take_it() -> None:
    async with at_work(Site()) as site:
        before = site.link.target
        site.away.add("other.invalid")
        with pytest.raises(CannotConnect, match=r"other\.invalid:8883 .*: nobody answers"):
            await site.link.switch(target("other.invalid"))
        await site.settle()
        assert site.link.target is before
        assert site.link.ready
        await site.link.switch(target("third.invalid"))
        assert site.link.target.endpoint.hostname == "third.invalid"


async def test_keys_that_another_broker_refuses_are_told_at_once(at_once: None) -> None:
    async with at_work(Site()) as site:
        before = site.link.target
        site.unusable["other.invalid"] = CredentialsRefused("no key")
        site.link._switch_within = 60.0
        async with asyncio.timeout(5):
            with pytest.raises(CredentialsRefused):
                await site.link.switch(target("other.invalid"))
        await site.settle()
        assert site.link.target is before
        assert site.link.ready


async def test_one_endpoint_is_tried_at_a_time_and_whoever_gives_up_is_back() -> None:
    async with at_work(Site()) as site:
        before = site.link.target
        site.away.add("other.invalid")
        site.link._switch_within = 60.0
        trying = asyncio.create_task(site.link.switch(target("other.invalid")))
        await site.settle()
        with pytest.raises(CloudUnavailable, match="another endpoint is being tried"):
            await site.link.switch(target("third.invalid"))
        trying.cancel()
        await site.settle()
        assert trying.cancelled()
        assert site.link.target is before
        assert site.link.ready


async def test_a_token_is_replaced_when_it_is_due_and_not_without_a_connection() -> None:
    now, slept = [40.0], []
    go = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await go.acquire()

    site = Site(auth_provider={"jwt": {"audience": "a"}})
    site.link._now, site.link._sleep = (lambda: now[0]), sleep
    async with at_work(site):
        assert slept == [1.0]
        assert site.link.authentication is not None
        site.link.authentication.refresh_at = 100.0
        go.release()
        await site.settle()
        assert slept[1:] == [60.0]
        now[0] = 100.0
        go.release()
        await site.settle()
        assert site.wire.renewed == 1
        site.wire.lose()
        for _ in range(2):
            go.release()
            await site.settle()
        assert slept[-1] == 1.0
        assert site.wire.renewed == 1
