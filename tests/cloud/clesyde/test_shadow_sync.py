"""The shadow and its owner are kept equal, and a cloud that refuses is not asked without end."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from custom_components.ulogger.cloud.clesyde.shadow_sync import Devices, ShadowSync
from custom_components.ulogger.cloud.clesyde.wishes import Settable, Wishes
from demo.clesyde.shadows import Shadow

NOW = 1_795_225_292.0
MINUTE = 60.0


class Owner:
    """Whose shadow it is."""

    settable: Mapping[str, Settable] = {"interval": Settable(1, 100)}

    def __init__(self) -> None:
        self.interval = 15
        self.wishes: list[Wishes] = []

    def options(self) -> Mapping[str, int]:
        return {"interval": self.interval}

    def about(self) -> Mapping[str, Any]:
        return {}

    def devices(self) -> Devices:
        return []

    def certificate_serial(self) -> str:
        return "7"

    def desired(self, wishes: Wishes) -> None:
        self.wishes.append(wishes)
        self.interval = wishes.options.get("interval", self.interval)


class World:
    """A shadow at AWS, the owner here, and a clock that is set forward by hand."""

    def __init__(self) -> None:
        self.shadow = Shadow()
        self.owner = Owner()
        self.now = NOW
        self.refusals: list[dict[str, Any]] = []
        self.unreadable = False
        self.published: list[str] = []
        self._sleeping: list[tuple[float, asyncio.Event]] = []
        self.sync = ShadowSync(
            self._publish,
            lambda operation: operation,
            self.owner,
            now=lambda: self.now,
            sleep=self._sleep,
        )

    async def _publish(self, topic: str, payload: bytes) -> None:
        self.published.append(topic)
        if topic == "get" and self.unreadable:
            answers = [("get/rejected", {"code": 403, "message": "Forbidden"})]
        elif topic == "get":
            answers = [self.shadow.get()]
        elif self.refusals:
            token = json.loads(payload)["clientToken"]
            answers = [("update/rejected", {**self.refusals.pop(0), "clientToken": token})]
        else:
            answers = self.shadow.update(payload)
        self.hear(*answers)

    def hear(self, *answers: tuple[str, dict[str, Any]]) -> None:
        """Have messages come, each in a turn of its own."""
        for topic, message in answers:
            operation, _, verb = topic.partition("/")
            asyncio.get_running_loop().call_soon(
                self.sync.received, operation, verb, json.dumps(message).encode()
            )

    def desire(self, **desired: Any) -> None:
        """Have somebody wish for something."""
        self.hear(*self.shadow.update(json.dumps({"state": {"desired": desired}}).encode()))

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
    for _ in range(200):
        await asyncio.sleep(0)


@asynccontextmanager
async def connected() -> AsyncGenerator[World]:
    world = World()
    task = asyncio.create_task(world.sync.run())
    world.sync.connected()
    await world.pass_()
    try:
        yield world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_is_desired_is_done_and_reported_at_once() -> None:
    async with connected() as world:
        assert world.shadow.reported["interval"] == 15
        world.desire(interval=5, colour="red")
        await world.pass_()
        assert world.shadow.reported["interval"] == 5
        assert world.shadow.reported["refused"] == {"colour": "not settable"}


@pytest.mark.parametrize("code", [400, 403, 413, 500])
async def test_a_cloud_that_refuses_reports_is_asked_once_a_minute(code: int) -> None:
    async with connected() as world:
        world.refusals = [{"code": code, "message": "told so"}] * 1000
        world.owner.interval = 16
        world.sync.report_soon()
        before = len(world.published)
        await world.pass_(10 * MINUTE)
        assert 10 <= len(world.published) - before <= 25
        assert world.sync.last_rejection == f"{code} told so"
        world.refusals = []
        await world.pass_(MINUTE)
        assert world.shadow.reported["interval"] == 16


async def test_a_shadow_that_may_not_be_read_is_asked_for_once_a_minute() -> None:
    async with connected() as world:
        world.unreadable = True
        world.sync.connected()
        before = len(world.published)
        await world.pass_(10 * MINUTE)
        assert 9 <= len(world.published) - before <= 12
        world.unreadable = False
        world.owner.interval = 16
        await world.pass_(MINUTE)
        assert world.shadow.reported["interval"] == 16


async def test_a_conflict_is_resolved_at_once_and_many_are_not_chased() -> None:
    async with connected() as world:
        world.refusals = [{"code": 409, "message": "Version conflict"}]
        world.owner.interval = 16
        world.sync.report_soon()
        await world.pass_()
        assert world.shadow.reported["interval"] == 16
        assert world.sync.counters["conflicts"] == 1
        world.refusals = [{"code": 409, "message": "Version conflict"}] * 1000
        world.owner.interval = 17
        world.sync.report_soon()
        before = len(world.published)
        await world.pass_(10 * MINUTE)
        assert len(world.published) - before <= 40
        world.refusals = []
        await world.pass_(MINUTE)
        assert world.shadow.reported["interval"] == 17


async def test_a_wish_for_a_level_that_has_ended_is_not_reported_any_longer() -> None:
    async with connected() as world:
        wish = {"level": "debug", "until": NOW + 600}
        world.desire(logLevels={"42-A": wish})
        await world.pass_()
        assert world.shadow.reported["logLevels"] == {"42-A": wish}
        await world.pass_(500)
        assert world.shadow.reported["logLevels"] == {"42-A": wish}
        await world.pass_(200)
        assert not world.shadow.reported.get("logLevels")
        assert world.shadow.reported["refused"] == {"logLevels.42-A": "ended"}
        assert not world.owner.wishes[-1].log_levels
