"""Registrations that nobody answers delay no device, and become few."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.cloud.errors import RegistrationFailed
from custom_components.ulogger.cloud.ulogger.service import SILENT, RegistrationService
from custom_components.ulogger.outbox.model import CaptureState
from demo.device.virtual_time import run_virtually

from ...support.cloud_account import Account, account, captured, device
from ...support.virtual_broker import VirtualBroker

HOUR = 3600.0
HEALTHY = device(9_999)

type Act = Callable[[Account, VirtualBroker], Coroutine[Any, Any, None]]


def play(directory: Path, act: Act) -> None:
    async def played() -> None:
        broker = VirtualBroker()
        broker.registers = lambda serial: serial == HEALTHY.serial
        async with account(directory, broker) as ours:
            await act(ours, broker)

    run_virtually(played())


@pytest.mark.parametrize("known", [True, False], ids=["with a token", "without a token"])
@pytest.mark.parametrize("unanswered", [0, 40, 200, 500])
def test_unanswered_registrations_delay_a_healthy_device_by_seconds(
    tmp_path: Path, unanswered: int, known: bool
) -> None:
    async def act(ours: Account, _broker: VirtualBroker) -> None:
        if known:
            await ours.register([HEALTHY])
        everybody = [*(device(number) for number in range(unanswered)), HEALTHY]
        await ours.add(*(captured(each) for each in everybody))
        ours.start()
        waited = await ours.until(ours.has([HEALTHY]), HOUR)
        assert waited < (1 if known else 10)

    play(tmp_path, act)


@pytest.mark.parametrize("denied_wildcard", [False, True])
def test_a_newcomer_waits_for_no_service_that_is_silent_about_others(
    tmp_path: Path, denied_wildcard: bool
) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        if denied_wildcard:
            ours.cloud._registrar._replies._refused = True
        await ours.add(*(captured(device(number)) for number in range(100)))
        ours.start()
        await asyncio.sleep(2 * HOUR)
        before = len(broker.arrivals("boot"))
        await ours.add(captured(HEALTHY))
        begun = asyncio.get_running_loop().time()
        assert await ours.until(ours.has([HEALTHY]), HOUR) - begun < 30
        assert len(broker.arrivals("boot")) - before < 2 * SILENT + 2

    play(tmp_path, act)


def test_a_silent_service_is_asked_ever_less_often_and_heard_when_it_is_back(
    tmp_path: Path,
) -> None:
    async def act(ours: Account, broker: VirtualBroker) -> None:
        devices = [device(number) for number in range(60)]
        await ours.add(*(captured(each) for each in devices))
        ours.start()
        asked = []
        for _ in range(4):
            before = len(broker.arrivals("boot"))
            await asyncio.sleep(HOUR)
            asked.append(len(broker.arrivals("boot")) - before)
        # Each once, then a few at a time.
        assert asked[0] < 60 + 40
        assert max(asked[2:]) <= 7 * SILENT
        assert {row.state for row in await ours.outbox.listing()} == {CaptureState.WAITING}
        assert ours.put_aside == []
        broker.registers = lambda _serial: True
        await ours.until(ours.has(devices), 0.5 * HOUR)

    play(tmp_path, act)


def test_some_answers_mean_that_the_service_is_there() -> None:
    now = 0.0
    service = RegistrationService(15.0, lambda: now)
    for round_ in range(10):
        for number in range(SILENT - 1):
            with service.attempt((7, f"silent {number}")):
                service.unanswered(now)
        with service.attempt((7, f"heard {round_}")):
            service.answered((7, f"heard {round_}"))
        now += 1


def test_rounds_of_silence_double_and_what_began_before_does_not_count() -> None:
    now = 0.0
    service = RegistrationService(15.0, lambda: now)
    keys = [(7, str(number)) for number in range(500)]
    for key in keys:
        with service.attempt(key):
            pass
    waits = []
    for _ in range(10):
        began = now
        now += 15
        for _ in keys:
            service.unanswered(began)
        with pytest.raises(RegistrationFailed) as error, service.attempt(keys[0]):
            pass
        waits.append(error.value.retry_after)
        now += error.value.retry_after
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]
    with service.attempt((7, "a newcomer")):
        pass


def test_probes_that_come_to_nothing_make_room_for_others() -> None:
    now = 0.0
    service = RegistrationService(15.0, lambda: now)
    keys = [(7, str(number)) for number in range(10)]
    for key in keys:
        with service.attempt(key):
            service.unanswered(now)
    now += 100
    for key in keys:
        with pytest.raises(ConnectionError), service.attempt(key):
            raise ConnectionError
