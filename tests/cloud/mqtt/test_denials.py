"""A broker that closes on what its policy denies, and two gateways with one name."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudError, CloudUnavailable, TopicDenied
from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.model.telemetry import TextLine
from custom_components.ulogger.outbox.model import CaptureState
from demo.device.virtual_time import run_virtually

from ...support.cloud_account import Account, account, captured, device
from ...support.virtual_broker import VirtualBroker

HOUR = 3600.0
HEADER = 25
"""Bytes that precede a log's frames."""
HEALTHY = [device(number) for number in range(100, 110)]
LOG, DUMP = CaptureKind.LOG, CaptureKind.CORE_DUMP

type Scene = Callable[[Callable[[Account, VirtualBroker], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Play a scene with an account that is not started, in virtual time."""

    def play(act: Callable[[Account, VirtualBroker], Coroutine[Any, Any, None]]) -> None:
        async def played() -> None:
            broker = VirtualBroker()
            async with account(tmp_path, broker) as ours:
                await act(ours, broker)

        run_virtually(played())

    return play


async def fill(ours: Account, bad: int, application: Callable[[int], int]) -> list[Any]:
    """Put captures of bad devices before those of the healthy ones, all of them registered."""
    denied = [device(number, application(number)) for number in range(bad)]
    await ours.register([*denied, *HEALTHY])
    await ours.add(*(captured(each) for each in [*denied, *HEALTHY]))
    return denied


@pytest.mark.parametrize("applications", [1, 3])
def test_three_captures_on_denied_topics_delay_healthy_devices_by_seconds(
    scene: Scene, applications: int
) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        broker.denies = lambda topic, _payload: topic.startswith("binlog/v0/42/0/6")
        denied = await fill(ours, 3, lambda number: 60 + number % applications)
        ours.start()
        assert await ours.until(ours.has(HEALTHY), HOUR) < 6
        await asyncio.sleep(6 * HOUR)
        assert ours.put_aside == []
        assert len(ours.transport.denied_topics) == applications
        # Once for all, then ever less often.
        assert broker.closings < 20 * applications
        broker.denies = lambda _topic, _payload: False
        await ours.until(ours.has(denied), 1.5 * HOUR)
        assert ours.transport.denied_topics == []

    scene(act)


def test_three_messages_that_close_the_connection_delay_healthy_devices_by_seconds(
    scene: Scene,
) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        poisons = [captured(device(number)) for number in range(3)]
        bodies = {each.data[HEADER:] for each in poisons}
        broker.denies = lambda _topic, payload: payload[HEADER:] in bodies
        await fill(ours, 3, lambda _number: 7)
        ours.start()
        assert await ours.until(ours.has(HEALTHY), HOUR) < 6
        # Others of their topic pass in between, and it comes out which they are.
        for number in range(200):
            await ours.add(captured(HEALTHY[0], number + 1))
            await asyncio.sleep(20)
        assert sorted(ours.put_aside) == ["D0000", "D0001", "D0002"]
        assert ours.transport.denied_topics == []
        assert broker.closings < 20

    scene(act)


def test_a_lone_device_gets_past_a_message_that_is_refused_each_time(scene: Scene) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        lone = device(1)
        first = captured(lone)
        broker.denies = lambda _topic, payload: payload[HEADER:] == first.data[HEADER:]
        await ours.register([lone])
        await ours.add(first, *(captured(lone, number) for number in range(1, 5)))
        ours.start()
        await ours.until(lambda: len(ours.done.get(lone.serial, [])) == 4, HOUR)
        await ours.until(lambda: ours.put_aside == [lone.serial], HOUR)
        assert ConnectionState.CLIENT_ID_CONFLICT not in ours.states

    scene(act)


@pytest.mark.parametrize(("denied", "passing"), [("core-dump", LOG), ("binlog", DUMP)])
def test_where_one_kind_of_captures_is_denied_the_other_passes(
    scene: Scene, denied: str, passing: CaptureKind
) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        broker.denies = lambda topic, _payload: topic.startswith(denied)
        lone = device(1)
        await ours.register([lone])
        kinds = [LOG, DUMP] if denied == "binlog" else [DUMP, LOG]
        await ours.add(*(captured(lone, n, kinds[n % 2]) for n in range(6)))
        ours.start()
        await ours.until(lambda: len(ours.done.get(lone.serial, [])) == 3, HOUR)
        assert {kind for _, kind in ours.done[lone.serial]} == {passing}
        broker.denies = lambda _topic, _payload: False
        await ours.until(lambda: len(ours.done[lone.serial]) == 6, 2 * HOUR)
        assert ours.put_aside == []

    scene(act)


def test_a_denied_registration_puts_no_capture_aside_and_they_go_when_it_is_allowed(
    scene: Scene,
) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        broker.denies = lambda topic, _payload: topic.startswith("boot/")
        await ours.register(HEALTHY)
        unknown = [device(number) for number in range(40)]
        await ours.add(*(captured(each) for each in [*unknown, *HEALTHY]))
        ours.start()
        assert await ours.until(ours.has(HEALTHY), HOUR) < 6
        await asyncio.sleep(6 * HOUR)
        assert ours.transport.denied_topics == ["boot/v0/42/0/7"]
        assert "registration_denied" in {reason for _, _, reason in ours.failures}
        assert {row.state for row in await ours.outbox.listing(unknown[0].key)} == {
            CaptureState.WAITING
        }
        assert ours.put_aside == []
        assert broker.closings < 20
        broker.denies = lambda _topic, _payload: False
        ours.transport.forgive()
        begun = asyncio.get_running_loop().time()
        assert await ours.until(ours.has(unknown), HOUR) - begun < 10

    scene(act)


def test_numbered_text_logs_that_are_denied_cost_ever_fewer_connections(scene: Scene) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        broker.denies = lambda topic, _payload: topic.startswith("logs/")
        ours.start()
        await ours.register(HEALTHY)
        hours = []
        for _ in range(6):
            closings = broker.closings
            for minute in range(60):
                await asyncio.sleep(60)
                await ours.add(captured(HEALTHY[0], minute + 1000 * len(hours)))
                line = TextLine(asyncio.get_running_loop().time(), 1, "a line")
                with pytest.raises(CloudError):
                    await ours.cloud.publish_text_log(HEALTHY[0], [line])
            hours.append(broker.closings - closings)
        await asyncio.sleep(60)
        assert hours[0] < 14
        assert hours[-1] <= 1
        assert ours.transport.denied_topics == ["logs/v0/42/7"]
        assert len(ours.done[HEALTHY[0].serial]) == 360

    scene(act)


@pytest.mark.parametrize("acknowledges_after", [0.0, 3.0])
@pytest.mark.parametrize("pause", [0.0, 0.7])
def test_a_second_gateway_with_our_name_is_noticed_and_no_message_is_blamed(
    scene: Scene, acknowledges_after: float, pause: float
) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        broker.acknowledges_after = acknowledges_after
        other = broker.transport("cust-42-ha-account")
        states: list[ConnectionState] = []
        other.on_state = states.append
        raised: list[CloudError] = []

        async def insist() -> None:
            number = 0
            while True:
                try:
                    await other.publish("binlog/v0/42/0/7", b"%d" % (number := number + 1))
                except CloudError as err:
                    raised.append(err)
                    await asyncio.sleep(0.1)

        await fill(ours, 3, lambda number: 60 + number)
        ours.start()
        await asyncio.sleep(pause)
        tasks = [asyncio.create_task(other.run()), asyncio.create_task(insist())]
        client_id_conflict = ConnectionState.CLIENT_ID_CONFLICT
        await ours.until(
            lambda: client_id_conflict in ours.states or client_id_conflict in states, 120
        )
        await asyncio.sleep(120)
        assert ours.transport.denied_topics == other.denied_topics == []
        assert ours.put_aside == []
        assert {type(err) for err in raised} & {TopicDenied} == set()
        assert all(isinstance(err, CloudUnavailable) for err in raised)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    scene(act)


def test_a_broker_that_denies_everything_is_no_second_gateway(scene: Scene) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        broker.denies = lambda _topic, _payload: True
        await fill(ours, 3, lambda number: 60 + number)
        ours.start()
        await asyncio.sleep(2 * HOUR)
        assert ConnectionState.CLIENT_ID_CONFLICT not in ours.states
        assert len(ours.transport.denied_topics) == 4
        assert ours.put_aside == []

    scene(act)


def test_restarts_of_the_broker_with_messages_in_flight_blame_nobody(scene: Scene) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        broker.acknowledges_after = 1.0
        ours.start()
        await ours.register(HEALTHY)
        for number in range(30):
            await ours.add(*(captured(each, number) for each in HEALTHY))
            await asyncio.sleep(0.7)
            broker.drop_all()
            await asyncio.sleep(20)
        await ours.until(lambda: sum(map(len, ours.done.values())) == 300, HOUR)
        assert ours.transport.denied_topics == []
        assert ours.put_aside == []
        assert ConnectionState.CLIENT_ID_CONFLICT not in ours.states

    scene(act)
