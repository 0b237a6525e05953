"""The pump from the outbox to the cloud, on virtual time: order, patience, and what is kept."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.errors import (
    CloudUnavailable,
    MessageRefused,
    NotAcknowledged,
    RegistrationFailed,
    TopicDenied,
)
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import DiskFull
from custom_components.ulogger.outbox.model import CaptureState, Item
from custom_components.ulogger.sending.delivery import (
    DEVICES_AT_ONCE,
    UNEXPECTED_BACKOFF,
)
from demo.device.virtual_time import run_virtually

from ..support.outbox_world import CLOCK, LAMP, captured, core_dump
from ..support.pump import (
    DEVICES,
    DOOR,
    HOUR,
    PREPARE_SECONDS,
    Pump,
    Scene,
    many,
    pumping,
    scene,
)

__all__ = ["scene"]


def test_captures_of_a_device_go_up_one_after_another_in_order(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        ids = await pump.add(*(captured(number) for number in range(40)))
        pump.start()
        assert await pump.delivery.wait_delivered(CLOCK.key, ids, HOUR) == set(ids)
        assert pump.cloud.names() == [("CLOCK-1", number) for number in range(40)]

    scene(act)


def test_a_failing_capture_holds_up_its_own_device_only(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 0] = [CloudUnavailable()] * 1000
        await pump.add(captured(0), captured(1), captured(0, LAMP), captured(1, LAMP))
        pump.start()
        await asyncio.sleep(HOUR)
        assert pump.cloud.names() == [("LAMP-1", 0), ("LAMP-1", 1)]

    scene(act)


def test_each_try_in_a_row_waits_longer_up_to_a_limit(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 0] = [CloudUnavailable()] * 12
        await pump.add(captured(0))
        pump.start()
        await asyncio.sleep(3 * HOUR)
        times = pump.cloud.times(("CLOCK-1", 0))
        waits = [later - earlier for earlier, later in pairwise(times)]
        assert len(waits) == 12
        for failures, wait in enumerate(waits):
            nominal = min(600.0, 5.0 * 2**failures)
            assert nominal * 0.8 <= wait <= nominal * 1.2 + 1
        assert pump.cloud.names() == [("CLOCK-1", 0)]

    scene(act)


def test_retry_now_does_not_wait(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 0] = [CloudUnavailable()]
        await pump.add(captured(0))
        pump.start()
        await asyncio.sleep(1)
        pump.delivery.wake()
        await asyncio.sleep(1)
        assert pump.cloud.names() == []
        pump.delivery.retry_now()
        await asyncio.sleep(1)
        assert pump.cloud.names() == [("CLOCK-1", 0)]

    scene(act)


def test_a_connection_that_is_back_helps_only_what_failed_for_want_of_it(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 0] = [CloudUnavailable()]
        pump.cloud.script["LAMP-1", 0] = [RegistrationFailed("told so")]
        pump.cloud.script["DOOR-1", 0] = [NotAcknowledged()]
        await pump.add(captured(0), captured(0, LAMP), captured(0, DOOR))
        pump.start()
        await asyncio.sleep(1)
        pump.delivery.resume()
        await asyncio.sleep(1)
        assert pump.cloud.names() == [("CLOCK-1", 0)]
        await asyncio.sleep(10)
        assert len(pump.cloud.names()) == 3

    scene(act)


def test_who_was_tried_longest_ago_goes_first_also_after_a_retry(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        bad, good = many("BAD", 8), many("GOOD", 8)
        for each in bad:
            pump.cloud.script[each.serial, 0] = [CloudUnavailable()] * 1000
        await pump.add(*(captured(0, each) for each in bad))
        pump.start()
        await asyncio.sleep(1)
        await pump.add(*(captured(0, each) for each in good))
        pump.cloud.tries.clear()
        pump.delivery.retry_now()
        await asyncio.sleep(1)
        assert {serial for _, (serial, _) in pump.cloud.tries[:8]} == {e.serial for e in good}
        assert len(pump.cloud.names()) == 8

    scene(act)


def test_no_more_devices_send_at_once_than_may(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        devices = many("MANY", 40)
        for each in devices:
            pump.cloud.hold[each.serial, 0] = asyncio.Event()
        await pump.add(*(captured(0, each) for each in devices))
        pump.start()
        await asyncio.sleep(1)
        assert len(pump.cloud.tries) == DEVICES_AT_ONCE
        pump.cloud.hold["MANY-3", 0].set()
        await asyncio.sleep(1)
        assert len(pump.cloud.tries) == DEVICES_AT_ONCE + 1

    scene(act)


def test_what_is_waited_for_before_a_capture_can_go_takes_nobodys_place(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        waiting = many("WAITING", 200)
        pump.cloud.unready = {each.serial for each in waiting}
        await pump.add(*(captured(0, each) for each in waiting), captured(0), captured(1))
        pump.start()
        await asyncio.sleep(1)
        assert pump.cloud.names() == [("CLOCK-1", 0), ("CLOCK-1", 1)]
        assert len(pump.cloud.prepared) == 200
        pump.cloud.unready.clear()
        await asyncio.sleep(PREPARE_SECONDS + 1)
        assert len(pump.cloud.names()) == 202
        assert set((await pump.states()).values()) == {CaptureState.DELIVERED}

    scene(act)


def test_what_nobody_prepares_is_tried_again_and_never_put_aside(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.unready = {"CLOCK-1"}
        pump.cloud.unprepared = RegistrationFailed("told so")
        [waiting] = await pump.add(captured(0))
        pump.start()
        await asyncio.sleep(6 * HOUR)
        assert 10 < len(pump.cloud.prepared) < 100
        assert await pump.states() == {waiting: CaptureState.WAITING}
        assert set(pump.heard.told) == {"registration_failed"}
        pump.cloud.unready.clear()
        pump.delivery.retry_now()
        await asyncio.sleep(PREPARE_SECONDS + 1)
        assert pump.cloud.names() == [("CLOCK-1", 0)]

    scene(act)


def test_a_denied_kind_waits_as_long_as_told_and_until_it_is_lifted(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 1] = [TopicDenied("core-dump", 100.0)] * 3
        await pump.add(captured(0), core_dump(1), captured(2))
        pump.start()
        await asyncio.sleep(50)
        assert pump.cloud.names() == [("CLOCK-1", 0), ("CLOCK-1", 2)]
        assert len(pump.cloud.times(("CLOCK-1", 1))) == 1
        await asyncio.sleep(100)
        assert len(pump.cloud.times(("CLOCK-1", 1))) == 2
        pump.delivery.lift()
        await asyncio.sleep(1)
        pump.delivery.lift()
        await asyncio.sleep(1)
        assert pump.cloud.names()[-1] == ("CLOCK-1", 1)
        # What was not even sent is no failed attempt.
        assert [row.attempts for row in await pump.outbox.listing()] == [0, 0, 0]

    scene(act)


def test_what_is_refused_three_times_makes_way(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 0] = [MessageRefused()] * 1000
        bad, good = await pump.add(captured(0), captured(1))
        pump.start()
        assert await pump.delivery.wait_delivered(CLOCK.key, [bad, good], HOUR) == {good}
        assert len(pump.cloud.times(("CLOCK-1", 0))) == 3
        assert await pump.states() == {bad: CaptureState.QUARANTINED, good: CaptureState.DELIVERED}
        assert pump.heard.told == [*["message_refused"] * 3, "quarantined", "delivered"]

    scene(act)


def test_what_a_destination_wants_to_hear_never_again_makes_way_at_once(scene: Scene) -> None:
    class RefusedForGood(MessageRefused):
        final = True

    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 0] = [RefusedForGood()] * 1000
        bad, good = await pump.add(captured(0), captured(1))
        pump.start()
        assert await pump.delivery.wait_delivered(CLOCK.key, [bad, good], HOUR) == {good}
        assert len(pump.cloud.times(("CLOCK-1", 0))) == 1
        assert await pump.states() == {bad: CaptureState.QUARANTINED, good: CaptureState.DELIVERED}

    scene(act)


def test_what_fails_for_a_while_is_never_put_aside(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 0] = [CloudUnavailable()] * 1000
        [capture] = await pump.add(captured(0))
        pump.start()
        await asyncio.sleep(24 * HOUR)
        assert await pump.states() == {capture: CaptureState.WAITING}
        assert len(pump.cloud.tries) > 100

    scene(act)


def test_nothing_is_sent_without_a_connection_and_a_wake_sends_it(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.there = False
        await pump.add(captured(0))
        pump.start()
        await asyncio.sleep(HOUR + 30)
        assert pump.cloud.tries == []
        pump.cloud.there = True
        pump.delivery.wake()
        await asyncio.sleep(0.1)
        assert pump.cloud.names() == [("CLOCK-1", 0)]

    scene(act)


def test_a_capture_whose_note_failed_is_not_sent_again(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.fail_marks(0)
        ids = await pump.add(*(captured(number) for number in range(5)))
        pump.start()
        assert await pump.delivery.wait_delivered(CLOCK.key, ids, HOUR) == set(ids)
        assert pump.cloud.names() == [("CLOCK-1", number) for number in range(5)]
        assert set((await pump.states()).values()) == {CaptureState.DELIVERED}
        assert pump.heard.told.count("disk_full") == 1
        assert pump.heard.told.count("delivered") == 5

    scene(act)


def test_waiting_ends_for_what_was_delivered_before_and_at_the_time_given(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 1] = [CloudUnavailable()] * 1000
        first, second = await pump.add(captured(0), captured(1))
        pump.start()
        assert await pump.delivery.wait_delivered(CLOCK.key, [first, second], 100) == {first}
        begun = asyncio.get_running_loop().time()
        assert await pump.delivery.wait_delivered(CLOCK.key, [first], 100) == {first}
        assert await pump.delivery.wait_delivered(CLOCK.key, [], 100) == set()
        assert asyncio.get_running_loop().time() == pytest.approx(begun, abs=1)
        assert not pump.delivery._waiters

    scene(act)


def test_core_dumps_pass_logs_over_the_quota(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.over = {CLOCK.key}
        await pump.add(captured(0), core_dump(1), captured(2), captured(0, LAMP))
        pump.start()
        await asyncio.sleep(HOUR)
        assert pump.cloud.names(CLOCK) == [("CLOCK-1", 1)]
        assert pump.cloud.names(LAMP) == [("LAMP-1", 0)]
        pump.cloud.over.clear()
        pump.delivery.wake()
        await asyncio.sleep(1)
        assert pump.cloud.names(CLOCK) == [("CLOCK-1", 1), ("CLOCK-1", 0), ("CLOCK-1", 2)]

    scene(act)


def test_what_nobody_foresaw_is_told_and_tried_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.script["CLOCK-1", 0] = [RuntimeError("nobody foresaw this")]
        await pump.add(captured(0), captured(0, LAMP))
        pump.start()
        await asyncio.sleep(UNEXPECTED_BACKOFF / 2)
        assert pump.cloud.names() == [("LAMP-1", 0)]
        await asyncio.sleep(UNEXPECTED_BACKOFF)
        assert pump.cloud.names() == [("LAMP-1", 0), ("CLOCK-1", 0)]

    scene(act)
    assert "nobody foresaw this" in caplog.text


def test_an_outbox_that_can_not_be_read_is_told_and_read_again(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        really = pump.delivery._queue.batch
        failures = [DiskFull("told so")]

        async def batch(*values: Any, **named: Any) -> list[Item]:
            if failures:
                raise failures.pop()
            return await really(*values, **named)

        pump.delivery._queue.batch = batch  # type: ignore[method-assign]
        await pump.add(captured(0))
        pump.start()
        await asyncio.sleep(HOUR)
        assert pump.cloud.names() == [("CLOCK-1", 0)]
        assert pump.heard.told == ["disk_full", "delivered"]

    scene(act)


def test_a_cancellation_notes_what_was_acknowledged(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        really, marking = pump.delivery._queue.delivered, asyncio.Event()

        async def slowly(ids: Any, **details: Any) -> int:
            marking.set()
            await asyncio.sleep(2)
            return await really(ids, **details)

        pump.delivery._queue.delivered = slowly  # type: ignore[method-assign]
        pump.cloud.hold["CLOCK-1", 1] = asyncio.Event()
        first, second = await pump.add(captured(0), captured(1))
        pump.start()
        await marking.wait()
        begun = asyncio.get_running_loop().time()
        await pump.delivery.finish(1)
        await pump.stop()
        assert asyncio.get_running_loop().time() - begun < 3
        assert await pump.states() == {first: CaptureState.DELIVERED, second: CaptureState.WAITING}

    scene(act)


_OUTCOMES = st.lists(st.sampled_from(["away", "refused", "unforeseen"]), max_size=2)
_ERRORS: dict[str, Callable[[], Exception]] = {
    "away": CloudUnavailable,
    "refused": MessageRefused,
    "unforeseen": RuntimeError,
}


def test_many_captures_of_a_device_are_under_way_at_once(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.at_once = 20
        await pump.add(*(captured(number) for number in range(100)))
        begun = asyncio.get_running_loop().time()
        pump.start()
        while len(pump.cloud.took) < 100:  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.001)
        # One after another these are a second, twenty at once five rounds.
        assert asyncio.get_running_loop().time() - begun < 0.08
        assert pump.cloud.names() == [("CLOCK-1", number) for number in range(100)]

    scene(act)


def test_a_destination_that_keeps_no_order_gets_one_at_a_time(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.hold["CLOCK-1", 0] = asyncio.Event()
        await pump.add(captured(0), captured(1))
        pump.start()
        await asyncio.sleep(1)
        assert [which for _, which in pump.cloud.tries] == [("CLOCK-1", 0)]

    scene(act)


def test_a_device_with_much_to_send_makes_room_for_those_that_wait(scene: Scene) -> None:
    async def act(pump: Pump) -> None:
        pump.cloud.at_once = 20
        for device in many("BUSY", DEVICES_AT_ONCE):
            await pump.add(*(captured(number, device) for number in range(60)))
        await pump.add(captured(0, LAMP))
        pump.start()
        while ("LAMP-1", 0) not in pump.cloud.names():  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.001)
        assert len(pump.cloud.took) < 8 * 60 / 2

    scene(act)


@settings(max_examples=150, deadline=None)
@given(
    plan=st.lists(
        st.tuples(st.sampled_from(DEVICES), st.floats(0, 30), _OUTCOMES), min_size=1, max_size=20
    ),
    failing=st.sets(st.integers(0, 20), max_size=4),
    at_once=st.sampled_from([1, 3, 20]),
)
def test_whatever_happens_each_goes_up_once_and_in_order(
    plan: list[tuple[DeviceIdentity, float, list[str]]], failing: set[int], at_once: int
) -> None:
    happens = {each for _device, _pause, outcomes in plan for each in outcomes}
    in_order = at_once == 1 or not happens & {"refused", "unforeseen"}

    async def played(directory: Path) -> None:
        async with pumping(directory) as pump:
            pump.cloud.at_once = at_once
            pump.fail_marks(*failing)
            pump.start()
            for number, (device, pause, outcomes) in enumerate(plan):
                which = device.serial, number
                pump.cloud.script[which] = [_ERRORS[each]() for each in outcomes]
                await pump.add(captured(number, device))
                await asyncio.sleep(pause)
            await asyncio.sleep(24 * HOUR)
            for device in DEVICES:
                expected = [(device.serial, n) for n, (of, *_) in enumerate(plan) if of == device]
                names = pump.cloud.names(device)
                assert (names if in_order else sorted(names)) == expected
            assert set((await pump.states()).values()) == {CaptureState.DELIVERED}
            assert pump.heard.told.count("delivered") == len(plan)

    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory:
        run_virtually(played(Path(directory)))
