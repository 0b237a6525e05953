"""What a broker closes the connection on is found out, and nobody else is blamed."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.errors import CloudError, HeldBack, MessageRefused, TopicDenied
from custom_components.ulogger.cloud.mqtt.breaker import (
    HOLD,
    QUIET,
    STRIKES,
    Breaker,
)

LOGS, DUMPS, TEXTS = TOPICS = "binlog/7", "core-dump", "logs/7"


class Scene:
    """A breaker, a clock, and a broker that closes on what a test says."""

    def __init__(self, denies: Callable[[str, bytes], bool] = lambda _topic, _mark: False) -> None:
        self.now = 1_000.0
        self.denies = denies
        self.told = 0
        self.closings = 0
        self.breaker = Breaker(lambda: self.now)
        self.breaker.on_denied = self._tell
        self.breaker.opened()

    def _tell(self) -> None:
        self.told += 1

    def send(self, topic: str, mark: bytes, *, beside: bool = False) -> bool:
        """Send one message; say if it was taken; raises what the breaker raises."""
        alone = self.breaker.must_go_alone(topic, mark)
        if self.denies(topic, mark):
            self.closings += 1
            self.breaker.closed(topic, mark, alone=alone or not beside)
            self.breaker.opened()
            return False
        self.breaker.passed(topic, mark)
        return True

    def deny(self, topic: str, mark: bytes) -> None:
        """Have a message close a connection on which another one has passed."""
        self.breaker.passed("other", b"")
        assert not self.send(topic, mark)


@pytest.fixture
def scene() -> Scene:
    return Scene(lambda topic, _mark: topic == TEXTS)


def test_a_topic_is_denied_by_three_messages_and_rests_ever_longer(scene: Scene) -> None:
    waits = []
    for number in range(20):
        scene.deny(TEXTS, bytes([number]))
        with pytest.raises(CloudError) as error:
            scene.send(TEXTS, bytes([number]))
        waits.append(error.value.retry_after)
        assert scene.breaker.denied == ([TEXTS] if number >= STRIKES - 1 else [])
        assert isinstance(error.value, TopicDenied) == (number >= STRIKES - 1)
        scene.now += error.value.retry_after
    assert waits[:3] == [5.0, 10.0, 20.0]
    assert waits[-1] == HOLD.longest
    assert scene.told == 1


def test_other_topics_pass_at_once_while_one_is_denied(scene: Scene) -> None:
    for number in range(STRIKES):
        scene.deny(TEXTS, bytes([number]))
        scene.now += 100
    assert scene.send(LOGS, b"log")
    assert scene.send(DUMPS, b"dump")
    assert scene.breaker.denied == [TEXTS]


def test_a_topic_that_is_allowed_again_is_cleared_by_the_next_try(scene: Scene) -> None:
    for number in range(STRIKES):
        scene.deny(TEXTS, bytes([number]))
        scene.now += 100
    scene.denies = lambda _topic, _mark: False
    scene.send("other", b"")
    assert scene.send(TEXTS, b"new")
    assert scene.breaker.denied == []
    assert scene.told == 2
    # Those that struck under the policy of then are as good as any.
    assert all(scene.send(TEXTS, bytes([number])) for number in range(STRIKES))


def test_forgiving_tries_at_once(scene: Scene) -> None:
    for number in range(STRIKES):
        scene.deny(TEXTS, bytes([number]))
        scene.now += 100
    scene.breaker.forgive()
    scene.denies = lambda _topic, _mark: False
    assert scene.send(TEXTS, b"new")
    assert scene.told == 2


def test_a_message_among_good_ones_of_its_topic_is_refused_and_the_topic_is_not() -> None:
    scene = Scene(lambda _topic, mark: mark == b"poison")
    for strike in range(STRIKES):
        assert scene.send(LOGS, b"good %d" % strike)
        scene.now += 100
        scene.deny(LOGS, b"poison")
        assert scene.breaker.refuses(LOGS, b"poison") == (strike == STRIKES - 1)
    assert scene.closings == STRIKES
    with pytest.raises(MessageRefused):
        scene.send(LOGS, b"poison")
    assert scene.breaker.denied == []
    assert scene.send(LOGS, b"another")


def test_while_one_message_alone_has_struck_another_may_show_that_the_topic_is_good() -> None:
    scene = Scene(lambda _topic, mark: mark == b"poison")
    for _ in range(STRIKES):
        scene.deny(DUMPS, b"poison")
        scene.now += 100
    scene.deny(DUMPS, b"poison")
    with pytest.raises(TopicDenied) as error:
        scene.send(DUMPS, b"poison")
    assert error.value.one_message
    scene.send("other", b"")
    assert scene.send(DUMPS, b"witness")
    assert scene.breaker.denied == []
    # It was never seen to fail beside others: once more, and it is known.
    assert not scene.breaker.refuses(DUMPS, b"poison")
    scene.now += 100
    scene.deny(DUMPS, b"poison")
    assert scene.breaker.refuses(DUMPS, b"poison")


def test_what_failed_in_company_strikes_nobody_and_goes_alone() -> None:
    scene = Scene()
    for _ in range(10):
        scene.breaker.passed(LOGS, b"0")
        assert not scene.breaker.closed(LOGS, b"1", alone=False)
        assert not scene.breaker.closed(DUMPS, b"2", alone=False)
        scene.breaker.opened()
    assert scene.breaker.must_go_alone(LOGS, b"1")
    # What is new on their topics goes alone, too, but on no other.
    assert scene.breaker.must_go_alone(LOGS, b"3")
    assert not scene.breaker.must_go_alone(TEXTS, b"4")
    assert scene.send(LOGS, b"3")
    assert not scene.breaker.must_go_alone(LOGS, b"5")
    assert not scene.breaker.denied


def test_where_nothing_passes_in_between_nothing_strikes() -> None:
    """A client with our id closes each connection, whatever is in flight."""
    scene = Scene(lambda _topic, _mark: True)
    for _ in range(50):
        scene.now += QUIET / 2
        try:
            scene.send(LOGS, b"log")
        except HeldBack:
            scene.breaker.opened()
    assert scene.breaker.denied == []
    assert not scene.breaker.refuses(LOGS, b"log")


def test_a_connection_that_stood_quietly_proves_as_much_as_a_message() -> None:
    scene = Scene(lambda _topic, _mark: True)
    for _ in range(STRIKES):
        scene.now += 100
        scene.send(DUMPS, b"the only one")
    assert scene.breaker.denied == [DUMPS]


def test_a_topic_that_never_passed_waits_for_one_that_did() -> None:
    scene = Scene()
    assert scene.send(LOGS, b"1")
    scene.breaker.closed(LOGS, b"2", alone=False)
    scene.breaker.closed(TEXTS, b"3", alone=False)
    scene.breaker.opened()
    with pytest.raises(HeldBack) as error:
        scene.send(TEXTS, b"3")
    assert error.value.retry_after == QUIET
    assert scene.send(LOGS, b"2")
    assert scene.send(TEXTS, b"3")


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    denied=st.sets(st.sampled_from([LOGS, DUMPS, TEXTS]), max_size=2),
    poisons=st.sets(st.integers(0, 9), max_size=3),
)
def test_the_good_pass_and_the_denied_close_ever_less_often(
    seed: int, denied: set[str], poisons: set[int]
) -> None:
    chance = Random(seed)
    scene = Scene(lambda topic, mark: topic in denied or mark[-1] in poisons)
    waiting = {(topic, topic.encode() + bytes([n])) for topic in TOPICS for n in range(10)}

    def is_good(topic: str, mark: bytes) -> bool:
        return not scene.denies(topic, mark)

    refused = set()
    for _ in range(4_000):
        topic, mark = each = chance.choice(sorted(waiting))
        try:
            if scene.send(topic, mark, beside=chance.random() < 0.5):
                waiting.discard(each)
                # What is delivered is followed by another one.
                waiting.add((topic, b"+" + mark))
        except MessageRefused:
            refused.add(each)
        except HeldBack, TopicDenied:
            pass
        scene.now += 2
    assert not any(is_good(*each) for each in refused)
    assert not any(topic in denied for topic, _ in refused)
    assert set(scene.breaker.denied) == denied
    if len(denied) < len(TOPICS):
        assert len({mark[-1] for topic, mark in refused}) == len(poisons)
    # 4,000 messages in over two hours, and a few dozen of them cost a connection.
    assert scene.closings < 30 + 20 * len(denied) + 12 * 3 * len(poisons)
