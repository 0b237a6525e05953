"""A device with points, on a clock that only moves when it is told to."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from custom_components.ulogger.cloud.udmi.block import Block
from custom_components.ulogger.cloud.udmi.points import InvalidValue, Point, Value
from custom_components.ulogger.cloud.udmi.pointset import Pointset
from custom_components.ulogger.cloud.udmi.status import stamp

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MOST_WAKES = 10_000


class World:
    """The time, and what a block says in it: ``events`` with the second at which each went."""

    def __init__(self) -> None:
        self.time = 0.0
        self.ahead = timedelta()
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.changes = 0
        self.keeps = 0

    def clock(self) -> float:
        return self.time

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time) + self.ahead

    def changed(self) -> None:
        self.changes += 1

    def keep(self) -> None:
        self.keeps += 1

    def publish(self, subfolder: str, payload: Mapping[str, Any]) -> None:
        self.events.append((self.time, subfolder, dict(payload)))

    def stamp(self, seconds: float = 0.0) -> str:
        return stamp(self.now() + timedelta(seconds=seconds))

    async def run(self, block: Block, seconds: float) -> None:
        """Let time pass, and wake the block whenever it wants it."""
        until = self.time + seconds
        for _ in range(MOST_WAKES):
            await settle()
            at = block.wake_at()
            if at is None or at > until:
                break
            self.time = max(self.time, at)
            block.wake()
        else:
            raise AssertionError("the block wants to be woken all the time")
        await settle()
        self.time = until


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class Building(World):
    """Points that can be set, that take their time, refuse, fail, or are set by somebody else."""

    def __init__(self, points: Iterable[Point], values: Mapping[str, Value]) -> None:
        super().__init__()
        self.points = list(points)
        self.values: dict[str, Value | None] = dict(values)
        self.writes: list[tuple[str, Value]] = []
        self.under_way: set[str] = set()
        self.fails = ""
        self.refuses = ""
        self.ignores = False
        self.holds: asyncio.Event | None = None
        self.pointset = self.make()

    def make(self) -> Pointset:
        return Pointset(
            self.points,
            changed=self.changed,
            publish=self.publish,
            clock=self.clock,
            now=self.now,
            read=self.values.get,
            write=self.write,
            keep=self.keep,
        )

    def restart(self) -> None:
        memory = self.pointset.memory
        self.pointset.close()
        self.under_way.clear()
        self.pointset = self.make()
        self.pointset.restore(memory)

    async def write(self, name: str, value: Value) -> None:
        assert name not in self.under_way, "two writes at a time"
        assert next(each for each in self.points if each.name == name).writable
        self.under_way.add(name)
        try:
            self.writes.append((name, value))
            if self.holds is not None:
                await self.holds.wait()
            if self.refuses:
                raise InvalidValue(self.refuses)
            if self.fails or self.values[name] is None:
                raise OSError(self.fails or "it is away")
            if not self.ignores:
                self.show(name, value)
        finally:
            self.under_way.discard(name)

    def show(self, name: str, value: Value | None) -> None:
        """Have a point show another value, whoever has set it."""
        self.values[name] = value
        self.pointset.report(name, value)

    def configure(self, sent: float | None = 0.0, **config: Any) -> None:
        """Send a config ``sent`` seconds from now."""
        self.pointset.configure(config, self.now() + timedelta(seconds=sent or 0.0))

    def set(self, name: str, value: Any, seconds: float = 600.0, **more: Any) -> None:
        """Send a config that sets a point for some seconds."""
        self.configure(
            set_value_expiry=self.stamp(seconds), points={name: {"set_value": value}}, **more
        )

    def state_of(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.pointset.state()["points"][name]
        return found

    async def pass_(self, seconds: float) -> None:
        await self.run(self.pointset, seconds)

    @property
    def sent(self) -> list[tuple[float, dict[str, Value], bool]]:
        """When events went, their values, and whether they said to be partial."""
        return [
            (
                at,
                {name: each["present_value"] for name, each in event["points"].items()},
                event.get("partial_update", False),
            )
            for at, _subfolder, event in self.events
        ]
