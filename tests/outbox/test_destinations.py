"""What each destination has of a capture: none knows of another, and none is forgotten."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.model.capture import CaptureFault
from custom_components.ulogger.outbox.model import REFUSED, CaptureState, DeliveryState
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.outbox.soundness import check

from ..support.outbox_world import CLOCK, LAMP, NOW, Clock, captured
from .conftest import Opener

CLOUD, FOLDER = "ulogger", "folder-1"


async def _waiting(outbox: Outbox, destination: str) -> list[int]:
    return [item.capture_id for item in await outbox.queue(destination).batch(100)]


async def _states(outbox: Outbox) -> list[CaptureState]:
    return [row.state for row in reversed(await outbox.listing())]


async def test_each_destination_has_a_queue_of_its_own(outbox: Outbox) -> None:
    await outbox.set_destinations({CLOUD: 0, FOLDER: 0})
    for number in range(3):
        await outbox.add(captured(number))
    await outbox.queue(FOLDER).delivered([1, 2, 3])
    assert await _waiting(outbox, CLOUD) == [1, 2, 3]
    assert await _waiting(outbox, FOLDER) == []
    assert await outbox.queue(CLOUD).failed(1, "no route") == 1
    assert await _states(outbox) == [CaptureState.WAITING] * 3
    await outbox.queue(CLOUD).delivered([1])
    assert await _states(outbox) == [CaptureState.DELIVERED, *[CaptureState.WAITING] * 2]


async def test_a_capture_stays_until_the_last_destination_has_it(
    outbox: Outbox, clock: Clock
) -> None:
    await outbox.set_destinations({CLOUD: 0, FOLDER: 0})
    await outbox.add(captured(1))
    await outbox.queue(CLOUD).delivered([1])
    clock.now += 999 * 86_400
    assert await outbox.sweep(days=1, megabytes=0) == 0
    assert (await outbox.space()).undelivered == len(captured(1).data)
    await outbox.queue(FOLDER).delivered([1])
    # Kept for a day from now on, not from when the first one had it.
    assert await outbox.sweep(days=1, megabytes=9) == 0
    assert (await outbox.space()).undelivered == 0
    clock.now += 2 * 86_400
    assert await outbox.sweep(days=1, megabytes=9) == 1


async def test_what_one_refuses_goes_to_the_other(outbox: Outbox) -> None:
    await outbox.set_destinations({CLOUD: 0, FOLDER: 0})
    await outbox.add(captured(1))
    assert await outbox.queue(CLOUD).quarantine(1, REFUSED)
    assert await _waiting(outbox, CLOUD) == []
    assert await _waiting(outbox, FOLDER) == [1]
    assert await _states(outbox) == [CaptureState.WAITING]
    await outbox.queue(FOLDER).delivered([1])
    [row] = await outbox.listing()
    assert (row.state, row.reason, row.fault) == (CaptureState.QUARANTINED, REFUSED, None)
    assert {name: each.state for name, each in row.deliveries.items()} == {
        CLOUD: DeliveryState.REFUSED,
        FOLDER: DeliveryState.DELIVERED,
    }
    assert await outbox.queue(CLOUD).retry(1)
    assert not await outbox.queue(FOLDER).retry(1)
    assert await _waiting(outbox, CLOUD) == [1]
    assert await _waiting(outbox, FOLDER) == []


async def test_a_fault_of_its_own_keeps_a_capture_from_everybody(outbox: Outbox) -> None:
    await outbox.set_destinations({CLOUD: 0, FOLDER: 0})
    await outbox.add(captured(1, fault=CaptureFault.CHECKSUM))
    await outbox.add(captured(2))
    await outbox.queue(FOLDER).delivered([2])
    assert await outbox.quarantine(2, "damaged")
    assert await _waiting(outbox, CLOUD) == await _waiting(outbox, FOLDER) == []
    assert await outbox.retry(1)
    assert await outbox.retry(2)
    assert await _waiting(outbox, CLOUD) == [1, 2]
    assert await _waiting(outbox, FOLDER) == [1]


async def test_without_a_destination_captures_are_kept(outbox: Outbox, clock: Clock) -> None:
    await outbox.set_destinations({})
    await outbox.add(captured(1))
    assert await _states(outbox) == [CaptureState.KEPT]
    counters = (await outbox.counters())[CLOCK.key]
    assert (counters.waiting, counters.kept, counters.only_here) == (0, 1, 1)
    assert (await outbox.space()).undelivered == 0
    clock.now += 3 * 86_400
    assert await outbox.sweep(days=2, megabytes=9) == 1


async def test_one_that_is_added_gets_what_is_kept(outbox: Outbox, clock: Clock) -> None:
    await outbox.set_destinations({})
    await outbox.add(captured(1))
    clock.now += 100
    await outbox.add(captured(2, LAMP))
    await outbox.set_destinations({CLOUD: 0, FOLDER: clock.now})
    assert await _waiting(outbox, CLOUD) == [1, 2]
    assert await _waiting(outbox, FOLDER) == [2]
    # Again is no different, nor is a later moment for one that is there.
    await outbox.set_destinations({CLOUD: 0, FOLDER: 0})
    assert await _waiting(outbox, FOLDER) == [2]


async def test_one_that_is_removed_takes_nothing_with_it(outbox: Outbox, clock: Clock) -> None:
    await outbox.set_destinations({CLOUD: 0, FOLDER: 0})
    for number in range(3):
        await outbox.add(captured(number))
    await outbox.queue(CLOUD).delivered([1])
    await outbox.queue(FOLDER).delivered([2])
    clock.now += 9
    await outbox.set_destinations({FOLDER: 0})
    assert await _states(outbox) == [
        CaptureState.WAITING,
        CaptureState.DELIVERED,
        CaptureState.WAITING,
    ]
    await outbox.set_destinations({})
    assert await _states(outbox) == [
        CaptureState.KEPT,
        CaptureState.DELIVERED,
        CaptureState.KEPT,
    ]
    assert [row.deliveries for row in await outbox.listing()] == [{}] * 3
    assert await outbox.delivery_counters() == {}


async def test_counters_are_kept_for_each_destination(outbox: Outbox, clock: Clock) -> None:
    await outbox.set_destinations({CLOUD: 0, FOLDER: 0})
    for number in range(3):
        await outbox.add(captured(number))
    size = len(captured(1).data)
    await outbox.queue(CLOUD).delivered([1, 2])
    await outbox.queue(FOLDER).delivered([1])
    await outbox.queue(FOLDER).quarantine(2, REFUSED)
    cloud = (await outbox.queue(CLOUD).counters())[CLOCK.key]
    assert (cloud.delivered, cloud.bytes_delivered, cloud.bytes_today) == (2, 2 * size, 2 * size)
    assert (cloud.waiting, cloud.waiting_bytes, cloud.last_delivery) == (1, size, NOW)
    folder = (await outbox.queue(FOLDER).counters())[CLOCK.key]
    assert (folder.delivered, folder.waiting, folder.refused) == (1, 1, 1)
    # A device's own counters have each capture once, wherever it was first.
    assert (await outbox.counters())[CLOCK.key].uploads == 2
    clock.now += 86_400
    assert (await outbox.queue(CLOUD).counters())[CLOCK.key].bytes_today == 0


async def test_destinations_are_remembered_over_a_restart(outbox: Outbox, opened: Opener) -> None:
    await outbox.set_destinations({CLOUD: 0, FOLDER: 0})
    await outbox.add(captured(1))
    await outbox.queue(CLOUD).delivered([1])
    await outbox.close()
    again = await opened()
    await again.set_destinations({CLOUD: 0, FOLDER: 0})
    assert await _waiting(again, CLOUD) == []
    assert await _waiting(again, FOLDER) == [1]


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.booleans()),
        st.tuples(st.just("set"), st.sets(st.sampled_from([CLOUD, FOLDER, "other"]))),
        st.tuples(
            st.sampled_from(["delivered", "refused", "retry"]),
            st.tuples(st.sampled_from([CLOUD, FOLDER, "other"]), st.integers(1, 8)),
        ),
        st.tuples(st.sampled_from(["fault", "retry all", "discard"]), st.integers(1, 8)),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(_STEPS)
async def test_states_always_follow_from_what_destinations_have(
    steps: list[tuple[str, Any]],
) -> None:
    async def run(work: Callable[..., Any], *values: Any) -> Any:
        return work(*values)

    with TemporaryDirectory() as directory:
        outbox = await Outbox.open(Path(directory) / "o.sqlite", run, now=lambda: NOW)
        number = 0
        for step, value in steps:
            if step == "add":
                number += 1
                fault = CaptureFault.CHECKSUM if value else None
                await outbox.add(captured(number, fault=fault))
            elif step == "set":
                await outbox.set_destinations(dict.fromkeys(value, 0.0))
            elif step in {"delivered", "refused", "retry"}:
                name, capture_id = value
                queue = outbox.queue(name)
                if step == "delivered":
                    await queue.delivered([capture_id])
                elif step == "refused":
                    await queue.quarantine(capture_id, REFUSED)
                else:
                    await queue.retry(capture_id)
            elif step == "fault":
                await outbox.quarantine(value, "damaged")
            elif step == "retry all":
                await outbox.retry(value)
            else:
                await outbox.discard(value)
            await outbox._database.read(lambda c: check(c, 5))
            for row in await outbox.listing():
                states = {each.state for each in row.deliveries.values()}
                assert (row.state is CaptureState.WAITING) == (DeliveryState.WAITING in states)
        await outbox.close()
