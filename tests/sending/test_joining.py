"""Several waiting captures as one message: fewer messages, and each capture as safe as before."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, override

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.capture.frames import iter_raw_frames
from custom_components.ulogger.capture.joining import Joined, join
from custom_components.ulogger.capture.log_buffer import check_log
from custom_components.ulogger.cloud.errors import (
    CloudError,
    CloudUnavailable,
    HeldBack,
    MessageRefused,
    NotAcknowledged,
    TopicDenied,
)
from custom_components.ulogger.model.capture import Capture
from custom_components.ulogger.outbox.model import CaptureState
from custom_components.ulogger.sending.delivery import Delivery
from demo.device.virtual_time import run_virtually

from ..support.cloud_account import account
from ..support.outbox_world import CLOCK, core_dump
from ..support.pump import HOUR, Pump, ScriptedCloud, pumping
from ..support.virtual_broker import VirtualBroker
from ..support.visits import Visit, given_off, watched

LARGEST = 400


def lines(capture: Capture) -> list[bytes]:
    return [frame.payload for frame in iter_raw_frames(capture.data)]


class JoiningCloud(ScriptedCloud):
    """Takes captures joined, and meets outcomes that were put down for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.of_line: dict[bytes, list[CloudError]] = {}
        self.of_joined: list[CloudError] = []
        self.came: list[tuple[float, list[bytes]]] = []
        self.messages: list[list[bytes]] = []

    def join(self, before: Capture, captures: Sequence[Capture]) -> Joined | None:
        return join(before, captures, LARGEST)

    @override
    async def deliver(self, capture: Capture, capture_id: int) -> None:
        said = lines(capture)
        self.came.append((asyncio.get_running_loop().time(), said))
        await asyncio.sleep(0.01)
        if len(said) > 1 and self.of_joined:
            raise self.of_joined.pop(0)
        for line in said:
            if errors := self.of_line.get(line):
                raise errors.pop(0)
        self.messages.append(said)


type Act = Callable[[Pump, JoiningCloud], Any]


@pytest.fixture
def scene(tmp_path: Path) -> Callable[[Act], None]:
    def play(act: Act) -> None:
        async def played() -> None:
            async with pumping(tmp_path) as pump:
                cloud = joining(pump)
                await act(pump, cloud)

        run_virtually(played())

    return play


def joining(pump: Pump) -> JoiningCloud:
    """Give the pump a destination that takes captures joined."""
    cloud = JoiningCloud()
    pump.cloud = cloud
    pump.delivery = Delivery(pump.outbox, cloud, pump.heard, clock=asyncio.get_running_loop().time)
    return cloud


def line(number: int) -> bytes:
    return f"line {number}".encode()


def test_the_first_goes_alone_and_those_behind_it_as_one(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        ids = await pump.add(*watched(6))
        pump.start()
        assert await pump.delivery.wait_delivered(CLOCK.key, ids, HOUR) == set(ids)
        assert cloud.messages == [[line(0)], [line(n) for n in range(1, 6)]]
        assert pump.heard.told == ["delivered"] * 6

    scene(act)


def test_what_waits_alone_goes_at_once(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        pump.start()
        for capture in watched(3):
            await pump.add(capture)
            await asyncio.sleep(2)
        assert cloud.messages == [[line(0)], [line(1)], [line(2)]]
        assert [at for at, _ in cloud.came] == pytest.approx([0, 2, 4], abs=0.1)

    scene(act)


def test_no_message_grows_too_long(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        await pump.add(*watched(70))
        pump.start()
        await asyncio.sleep(1)
        assert [each for said in cloud.messages for each in said] == [line(n) for n in range(70)]
        assert len(cloud.messages) < 10
        assert max(25 + sum(6 + len(each) for each in said) for said in cloud.messages) <= LARGEST

    scene(act)


def test_none_is_delivered_before_the_message_is_acknowledged(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        ids = await pump.add(*watched(4))
        cloud.of_joined = [CloudUnavailable("lost", sent=False)]
        pump.start()
        await asyncio.sleep(1)
        states = await pump.states()
        assert [states[each] for each in ids] == [CaptureState.DELIVERED] + [
            CaptureState.WAITING
        ] * 3
        await asyncio.sleep(HOUR)
        assert set((await pump.states()).values()) == {CaptureState.DELIVERED}
        # Nothing had left: the next try is as good as the first.
        assert [said for _, said in cloud.came][2:] == [[line(1)], [line(2), line(3)]]

    scene(act)


@pytest.mark.parametrize(
    "error", [MessageRefused("no"), NotAcknowledged(), CloudUnavailable("lost"), HeldBack("", 9)]
)
def test_what_fails_joined_goes_one_by_one(scene, error: CloudError) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        cloud.of_joined = [error]
        ids = await pump.add(*watched(5))
        pump.start()
        await asyncio.sleep(HOUR)
        assert cloud.messages == [[line(n)] for n in range(5)]
        assert set((await pump.states()).values()) == {CaptureState.DELIVERED}
        assert pump.heard.told.count("delivered") == len(ids)
        assert not pump.delivery._apart

    scene(act)


def test_what_is_refused_joined_is_tried_one_by_one_at_once(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        cloud.of_joined = [MessageRefused("no")]
        await pump.add(*watched(5))
        pump.start()
        await asyncio.sleep(1)
        assert cloud.messages == [[line(n)] for n in range(5)]

    scene(act)


def test_only_the_one_that_is_refused_makes_way(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        cloud.of_line[line(2)] = [MessageRefused("no") for _ in range(9)]
        ids = await pump.add(*watched(6))
        pump.start()
        await asyncio.sleep(HOUR)
        states = await pump.states()
        assert [each for said in cloud.messages for each in said] == [
            line(n) for n in range(6) if n != 2
        ]
        assert states.pop(ids[2]) is CaptureState.QUARANTINED
        assert set(states.values()) == {CaptureState.DELIVERED}
        # Once joined, and three times by itself.
        assert sum(line(2) in said for _, said in cloud.came) == 4

    scene(act)


def test_what_comes_after_those_that_failed_joined_is_joined_again(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        cloud.of_joined = [MessageRefused("no")]
        all_of_it = watched(9)
        await pump.add(*all_of_it[:4])
        pump.start()
        await asyncio.sleep(1)
        await pump.add(*all_of_it[4:])
        await asyncio.sleep(1)
        assert cloud.messages[4:] == [[line(4)], [line(n) for n in range(5, 9)]]

    scene(act)


def test_a_denied_topic_is_told_by_the_next_message(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        cloud.of_joined = [TopicDenied("binlog", 60, one_message=True)]
        steps = [Visit(2000, ((100, line(n)),)) for n in range(3)]
        far = [Visit(20_000, ((100, line(3)),))]
        await pump.add(*given_off([*steps, *far]))
        pump.start()
        await asyncio.sleep(1)
        # The witness has passed: it was the message, so its parts go at once, and alone.
        assert cloud.messages == [[line(0)], [line(3)], [line(1)], [line(2)]]

    scene(act)


def test_what_goes_on_from_another_goes_alone(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        first, second = given_off([Visit(2000, ((100, line(n)),)) for n in range(2)])
        (whole,) = given_off([Visit(6000, ((100, line(1)), (3000, line(9))))], start=62_000)
        await pump.outbox.add(first)
        await pump.outbox.erased(CLOCK.key)
        await pump.outbox.add(second)
        # The erase command was not heard: the device offers the same, and one line more.
        await pump.outbox.add(whole)
        await pump.outbox.erased(CLOCK.key)
        rows = (await pump.outbox.listing())[::-1]
        assert [row.continues is None for row in rows] == [True, True, False]
        pump.start()
        await asyncio.sleep(1)
        assert cloud.messages == [[line(0)], [line(1)], [line(9)]]

    scene(act)


def test_a_core_dump_stands_between_what_could_be_joined(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        logs = watched(5)
        for each in (*logs[:2], core_dump(1), *logs[2:]):
            await pump.add(each)
        sent: list[str] = []
        really = cloud.deliver

        async def deliver(capture: Capture, capture_id: int) -> None:
            sent.append(capture.kind.value)
            if capture.kind.value == "log":
                await really(capture, capture_id)

        cloud.deliver = deliver  # type: ignore[method-assign]
        pump.start()
        await asyncio.sleep(1)
        assert sent == ["log", "log", "core_dump", "log", "log"]
        assert [len(said) for said in cloud.messages] == [1, 1, 1, 2]

    scene(act)


def test_only_what_was_sent_is_counted(scene) -> None:
    async def act(pump: Pump, cloud: JoiningCloud) -> None:
        captures = watched(5)
        await pump.add(*captures)
        pump.start()
        await asyncio.sleep(1)
        counters = (await pump.outbox.queue(cloud.id).counters())[CLOCK.key]
        size = len(captures[0].data)
        assert counters.delivered == 5
        assert counters.bytes_delivered == counters.bytes_today == 5 * size - 3 * 25

    scene(act)


def test_a_destination_that_does_not_join_gets_each_alone(scene) -> None:
    async def act(pump: Pump, _cloud: JoiningCloud) -> None:
        cloud = pump.cloud = ScriptedCloud()
        pump.delivery = Delivery(
            pump.outbox, cloud, pump.heard, clock=asyncio.get_running_loop().time
        )
        await pump.add(*watched(6))
        pump.start()
        await asyncio.sleep(1)
        assert len(cloud.took) == 6

    scene(act)


def test_ulogger_gets_a_log_of_the_same_lines_with_the_device_s_token(tmp_path: Path) -> None:
    async def played() -> None:
        broker = VirtualBroker()
        async with account(tmp_path, broker) as at_work:
            await at_work.register([CLOCK])
            await at_work.add(*watched(8))
            at_work.start()
            await at_work.until(lambda: len(at_work.done.get(CLOCK.serial, ())) == 8, 60)
            sent = [data for _at, _topic, data in broker.arrivals("binlog")]
            assert {check_log(each).session_token for each in sent} == {5}
            # Both were sent at the same virtual moment.
            alone, together = sorted(sent, key=len)
            assert [frame.payload for frame in iter_raw_frames(alone)] == [line(0)]
            said = [frame.payload for frame in iter_raw_frames(together)]
            assert said == [line(n) for n in range(1, 8)]

    run_virtually(played())


_ERRORS: dict[str, Callable[[], CloudError]] = {
    "away": lambda: CloudUnavailable("away", sent=False),
    "lost": CloudUnavailable,
    "unanswered": NotAcknowledged,
    "refused": lambda: MessageRefused("no"),
}


@settings(max_examples=40, deadline=None)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from([200, 2000, 5000, 9000]),
            st.sampled_from([0.0, 0.0, 0.0, 3.0, 40.0]),
            st.lists(st.sampled_from(sorted(_ERRORS)), max_size=2),
        ),
        min_size=1,
        max_size=14,
    ),
    failing=st.sets(st.integers(0, 20), max_size=4),
)
def test_whatever_happens_each_line_goes_up_once_and_in_order(
    plan: list[tuple[int, float, list[str]]], failing: set[int]
) -> None:
    async def played(directory: Path) -> None:
        async with pumping(directory) as pump:
            cloud = joining(pump)
            pump.fail_marks(*failing)
            pump.start()
            captures = given_off(
                [Visit(after, ((7, line(n)),)) for n, (after, *_) in enumerate(plan)]
            )
            for number, (capture, (_, pause, errors)) in enumerate(
                zip(captures, plan, strict=True)
            ):
                cloud.of_line[line(number)] = [_ERRORS[each]() for each in errors]
                await pump.add(capture)
                await asyncio.sleep(pause)
            await asyncio.sleep(24 * HOUR)
            said = [each for message in cloud.messages for each in message]
            assert said == [line(number) for number in range(len(plan))]
            assert set((await pump.states()).values()) == {CaptureState.DELIVERED}
            assert pump.heard.told.count("delivered") == len(plan)

    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory:
        run_virtually(played(Path(directory)))
