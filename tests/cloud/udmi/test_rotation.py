"""Keys are rotated one after the other, and what is in use is always on disk."""

import asyncio

from custom_components.ulogger.cloud.errors import CannotConnect
from custom_components.ulogger.cloud.udmi.link import Target

from .test_life import PAIR, Rotating


async def test_one_key_is_rotated_at_a_time() -> None:
    world = Rotating()
    go = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        await go.wait()

    world.rotation._sleep = sleep
    first = asyncio.create_task(world.rotation.rotate())
    await asyncio.sleep(0)
    assert not await world.rotation.rotate()
    go.set()
    assert await first
    assert world.keeper.log == ["begin", "finish"]


async def test_a_key_that_is_in_use_but_not_on_disk_is_given_up() -> None:
    world = Rotating()
    world.keeper.full = "finish"
    assert not await world.rotation.rotate()
    assert [each.keys is PAIR for each in world.link.tried] == [False, True]
    assert world.link.target.keys is PAIR
    assert world.keeper.log == ["begin", "drop"]


async def test_what_keeps_the_key_before_from_coming_back_is_told_too() -> None:
    world = Rotating()
    said: list[str] = []
    world.rotation._report = lambda message, _category, _level: said.append(message)
    world.keeper.full = "finish"
    used: list[Target] = []

    def refused(target: Target) -> bool:
        used.append(target)
        return len(used) > 1

    world.link.refused = refused
    assert not await world.rotation.rotate()
    assert (
        said[-1]
        == f"The key was not rotated, the one before stays: full; {CannotConnect('not let in')}"
    )
