"""What the broker drops silently shows in what comes back, and what never does."""

import asyncio

import pytest

from custom_components.ulogger.cloud.pepeunit.echoes import HOLD, PROBATION, Echoes
from custom_components.ulogger.cloud.pepeunit.errors import SilentlyDenied

LOG, STATE = "d/output_base_topic/u/log/pepeunit", "d/output_base_topic/u/state/pepeunit"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def echoes(clock: Clock) -> Echoes:
    made = Echoes(clock, within=0.01)
    for topic in (LOG, STATE):
        made.listening(topic, active=True)
    return made


async def send(echoes: Echoes, topic: str, payload: bytes = b"x", *, back: bool) -> None:
    echoes.check(topic)
    async with echoes.awaited(topic, payload):
        if back:
            asyncio.get_running_loop().call_soon(echoes.heard, topic, payload)


async def test_what_comes_back_is_passed_on(echoes: Echoes) -> None:
    await send(echoes, LOG, back=True)
    assert not echoes.denied
    assert not echoes.mute


async def test_what_does_not_come_back_is_denied_ever_longer(echoes: Echoes, clock: Clock) -> None:
    changes: list[list[str]] = []
    echoes.on_denied = lambda: changes.append(echoes.denied)
    await send(echoes, STATE, back=True)
    waits = []
    for _ in range(3):
        with pytest.raises(SilentlyDenied) as caught:
            await send(echoes, LOG, back=False)
        waits.append(caught.value.retry_after)
        with pytest.raises(SilentlyDenied):
            echoes.check(LOG)
        clock.now += caught.value.retry_after
    assert waits == [HOLD.delay(times) for times in (1, 2, 3)]
    assert changes == [[LOG]]
    await send(echoes, STATE, back=True)
    await send(echoes, LOG, back=True)
    assert changes == [[LOG], []]


async def test_a_topic_that_may_not_be_heard_is_denied_once_the_broker_tells(
    echoes: Echoes,
) -> None:
    echoes.listening(LOG, active=False)
    await send(echoes, LOG, back=False)
    await send(echoes, STATE, back=True)
    with pytest.raises(SilentlyDenied):
        await send(echoes, LOG, back=False)


async def test_a_topic_that_the_broker_refuses_is_denied_from_the_first_message_on(
    clock: Clock,
) -> None:
    """As after a restart, when nothing has come back yet on any topic."""
    echoes = Echoes(clock, within=0.01)
    echoes.listening(STATE, active=True)
    with pytest.raises(SilentlyDenied):
        echoes.check(LOG, refused=True)
    assert echoes.denied == [LOG]
    echoes.check(STATE, refused=True)


async def test_a_broker_that_never_tells_is_believed_until_it_does(echoes: Echoes) -> None:
    for _ in range(PROBATION):
        assert not echoes.mute
        await send(echoes, LOG, back=False)
    assert echoes.mute
    await send(echoes, LOG, back=False)
    await send(echoes, STATE, back=True)
    await asyncio.sleep(0)
    assert not echoes.mute
    with pytest.raises(SilentlyDenied):
        await send(echoes, LOG, back=False)


async def test_two_alike_have_to_come_back_twice(echoes: Echoes) -> None:
    await send(echoes, STATE, back=True)

    outcomes = await asyncio.gather(
        *(send(echoes, LOG, back=back) for back in (False, True)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["NoneType", "SilentlyDenied"]


async def test_topics_that_are_dropped_are_denied_no_longer(echoes: Echoes) -> None:
    await send(echoes, STATE, back=True)
    with pytest.raises(SilentlyDenied):
        await send(echoes, LOG, back=False)
    echoes.keep_only({STATE})
    assert not echoes.denied
    with pytest.raises(SilentlyDenied):
        await send(echoes, STATE, back=False)
    echoes.forgive()
    assert not echoes.denied
