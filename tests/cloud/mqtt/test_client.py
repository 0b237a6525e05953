"""The connection lasts: over restarts, freezes, refusals, take-overs and bad messages."""

import asyncio
import logging
import time

import pytest

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import (
    CloudUnavailable,
    MessageRefused,
    MessageTooLarge,
    NotAcknowledged,
)
from custom_components.ulogger.cloud.mqtt.client import LARGEST_MESSAGE, UNWELCOME_DELAY
from custom_components.ulogger.model.backoff import Backoff
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.cloud.waiting import until_connected

from ..conftest import Transports, until


class States:
    """Remembers states and waits for one."""

    def __init__(self, transport) -> None:
        self.seen = []
        self._changed = asyncio.Event()
        transport.on_state = self._take

    def _take(self, state) -> None:
        self.seen.append(state)
        self._changed.set()

    async def reached(self, state, seconds=15) -> None:
        async with asyncio.timeout(seconds):
            while state not in self.seen:
                self._changed.clear()
                await self._changed.wait()


async def test_a_message_is_acknowledged_once_it_is_at_the_broker(
    broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    await transport.publish("binlog/v0/42/0/7", b"log")
    (received,) = await cloud_service.wait_for("binlog")
    assert (received.topic, received.payload) == ("binlog/v0/42/0/7", b"log")


async def test_one_connection_serves_many_messages(
    broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    started = time.perf_counter()
    for number in range(100):
        await transport.publish("binlog/v0/42/0/7", bytes(4390) + bytes([number]))
    assert (time.perf_counter() - started) / 100 < 0.01
    assert transport.counters["published"] == 100
    assert broker.log.count("as cust-42-ha-test") == 1


async def test_after_a_restart_of_the_broker_it_is_back_with_its_subscriptions(
    broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    states = States(transport)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await transport.subscribe("config/v0/42/0/7/S1", lambda _topic, data, _: heard.put_nowait(data))
    await broker.arestart()
    await states.reached(ConnectionState.DISCONNECTED)
    await until_connected(transport, 10)
    await cloud_service.publish("config/v0/42/0/7/S1", b"again")
    async with asyncio.timeout(10):
        assert await heard.get() == b"again"


async def test_what_was_unsubscribed_is_not_heard_any_longer(
    broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    heard: asyncio.Queue[str] = asyncio.Queue()
    unsubscribe = await transport.subscribe("config/a", lambda topic, *_: heard.put_nowait(topic))
    await transport.subscribe("config/b", lambda topic, *_: heard.put_nowait(topic))
    await unsubscribe()
    await cloud_service.publish("config/a", b"")
    await cloud_service.publish("config/b", b"")
    async with asyncio.timeout(10):
        assert await heard.get() == "config/b"
    assert heard.empty()


async def test_a_connection_is_renewed_in_order_and_nothing_in_flight_is_lost(
    broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    states = States(transport)
    sending = [
        asyncio.create_task(transport.publish("binlog/v0/42/0/7", bytes([number])))
        for number in range(10)
    ]
    # They are on the way after one turn, and acknowledged after some.
    await asyncio.sleep(0)
    await transport.renew()
    await asyncio.gather(*sending)
    await until_connected(transport, 10)
    assert states.seen == [ConnectionState.CONNECTING, ConnectionState.CONNECTED]
    assert transport.counters["renewed"] == 1
    assert not transport.counters["connection_lost"]
    await transport.publish("binlog/v0/42/0/7", b"after")
    assert broker.log.count("as cust-42-ha-test") == 2


async def test_without_a_connection_sending_fails_at_once(
    broker: LocalBroker, transports: Transports
) -> None:
    transport = transports.to(broker)
    with pytest.raises(CloudUnavailable) as error:
        await transport.publish("binlog/v0/42/0/7", b"log")
    assert error.value.retryable


async def test_a_lost_connection_fails_what_is_in_flight_at_once(
    broker: LocalBroker, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    broker.freeze()
    sending = asyncio.create_task(transport.publish("binlog/v0/42/0/7", b"log"))
    await until(lambda: transport._connection.in_flight)
    await broker.astop()
    # The broker may have acknowledged in the instant between thaw and end.
    (result,) = await asyncio.wait_for(asyncio.gather(sending, return_exceptions=True), 5)
    assert result is None or isinstance(result, CloudUnavailable)


async def test_a_dead_link_is_noticed_by_its_silence(
    broker: LocalBroker, transports: Transports
) -> None:
    transport = await transports.connected(broker, keepalive=1)
    states = States(transport)
    broker.freeze()
    await states.reached(ConnectionState.DISCONNECTED, seconds=10)
    assert any(event.reason == "link_lost" for event in transport.history)
    broker.thaw()
    await until_connected(transport, 10)


def test_a_dead_link_is_noticed_within_a_minute() -> None:
    from custom_components.ulogger.cloud.mqtt.broker import KEEPALIVE

    assert 2 * KEEPALIVE + 2 <= 60


async def test_a_refused_certificate_is_told_and_not_tried_again_soon(
    broker: LocalBroker, transports: Transports
) -> None:
    await broker.arefuse_customer()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.Event().wait()

    transport = transports.to(broker, sleep=sleep)
    states = States(transport)
    transports.run(transport)
    await states.reached(ConnectionState.CREDENTIALS_REFUSED)
    await until(lambda: waits)
    assert waits[0] >= UNWELCOME_DELAY / 2
    assert transport.last_failure.reason == "certificate_refused"
    assert not transport.last_failure.retryable


async def test_after_the_certificate_is_accepted_again_a_retry_connects(
    broker: LocalBroker, transports: Transports
) -> None:
    await broker.arefuse_customer()
    transport = transports.to(broker)
    states = States(transport)
    transports.run(transport)
    await states.reached(ConnectionState.CREDENTIALS_REFUSED)
    await broker.aaccept_customer()
    transport.retry_now()
    await until_connected(transport, 10)


async def test_a_second_client_with_the_same_name_is_noticed(
    broker: LocalBroker, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    states = States(transport)
    other = transports.to(broker, backoff=Backoff(first=0.3, longest=0.3))
    transports.run(other)
    await until(lambda: ConnectionState.CLIENT_ID_CONFLICT in (transport.state, other.state), 20)
    # The one that gave way rests; the other one keeps the connection, and that is no storm.
    assert len(states.seen) < 30


async def test_an_ordinary_restart_is_no_take_over(
    broker: LocalBroker, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    states = States(transport)
    for _ in range(4):
        await broker.astop()
        await until(lambda: not transport.connected)
        # One attempt finds nobody.
        failed = transport.counters["connect_failed"]
        await until(lambda failed=failed: transport.counters["connect_failed"] > failed)
        await broker.astart()
        await until_connected(transport, 10)
    assert ConnectionState.CLIENT_ID_CONFLICT not in states.seen


async def test_a_broker_that_never_acknowledges_is_survived_and_counted(
    odd_broker, connect_oddly
) -> None:
    odd_broker.acknowledge = lambda _topic, _payload: False
    transport = connect_oddly(acknowledge_timeout=0.1)
    await until_connected(transport, 5)
    with pytest.raises(NotAcknowledged) as error:
        await transport.publish("t", b"1")
    assert error.value.retryable
    assert not error.value.about_message
    assert transport.counters["not_acknowledged"] == 1
    odd_broker.acknowledge = lambda _topic, _payload: True
    await until(lambda: len(odd_broker.connects) > 1)
    await until_connected(transport, 5)
    await transport.publish("t", b"2")


async def test_a_real_broker_that_takes_only_small_messages_refuses_a_large_one(
    tmp_path, socket_enabled, transports: Transports
) -> None:
    ahead = 0.0
    settings = ["max_packet_size 2000"]
    async with LocalBroker(tmp_path, customer_id=42, settings=settings) as small:
        transport = await transports.connected(small, clock=lambda: time.monotonic() + ahead)
        for expected in (CloudUnavailable, CloudUnavailable, MessageRefused):
            await transport.publish("binlog/v0/42/0/7", bytes(100))
            ahead += 60
            with pytest.raises(expected):
                await transport.publish("binlog/v0/42/0/7", bytes(4000))
            await until(lambda: not transport.connected)
            await until_connected(transport, 10)
        await transport.publish("binlog/v0/42/0/7", bytes(100))
        assert transport.denied_topics == []


async def test_a_message_over_the_limit_is_refused_before_it_harms_the_connection(
    odd_broker, connect_oddly
) -> None:
    transport = connect_oddly()
    await until_connected(transport, 5)
    with pytest.raises(MessageTooLarge):
        await transport.publish("t", bytes(LARGEST_MESSAGE + 1))
    await transport.publish("t", bytes(LARGEST_MESSAGE))
    assert len(odd_broker.published) == 1


async def test_no_more_than_the_limit_is_in_flight(odd_broker, connect_oddly) -> None:
    held = asyncio.Event()
    odd_broker.acknowledge = lambda _topic, _payload: held.is_set()
    transport = connect_oddly(in_flight=5, acknowledge_timeout=2)
    await until_connected(transport, 5)
    sending = [asyncio.create_task(transport.publish("t", bytes([n]))) for n in range(9)]
    await until(lambda: len(odd_broker.published) == 5)
    held.set()
    await asyncio.gather(*sending, return_exceptions=True)
    assert len(odd_broker.published) <= 9


async def test_messages_go_with_qos_1_and_are_not_retained(odd_broker, connect_oddly) -> None:
    transport = connect_oddly()
    await until_connected(transport, 5)
    await transport.publish("t", b"1")
    assert odd_broker.published == [("t", b"1", 0b0010)]


async def test_a_refused_subscription_is_told_to_its_owner(odd_broker, connect_oddly) -> None:
    odd_broker.allows = lambda topic_filter: "+" not in topic_filter
    transport = connect_oddly()
    await until_connected(transport, 5)
    refused: list[str] = []
    await transport.subscribe("a/+", lambda *_: None, lambda: refused.append("a/+"))
    await transport.subscribe("a/b", lambda *_: None, lambda: refused.append("a/b"))
    assert refused == ["a/+"]
    assert transport.counters["subscription_refused"] == 1


async def test_a_mistake_in_a_listener_does_not_end_the_connection(
    odd_broker, connect_oddly
) -> None:
    transport = connect_oddly()
    await until_connected(transport, 5)
    unhandled = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: unhandled.append(context)
    )
    heard: list[bytes] = []

    def listener(_topic: str, payload: bytes, _retained: bool) -> None:
        heard.append(payload)
        if payload == b"1":
            raise ValueError

    await transport.subscribe("t", listener)
    odd_broker.send("t", b"1")
    odd_broker.send("t", b"2")
    await until(lambda: len(heard) == 2)
    assert transport.connected
    assert len(unhandled) == 1


async def test_stopping_says_good_bye_and_is_quick_even_to_a_frozen_broker(
    broker: LocalBroker, transports: Transports
) -> None:
    transport = transports.to(broker)
    task = transports.run(transport)
    await until_connected(transport, 10)
    broker.freeze()
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 4
    assert not transport.connected


async def test_history_is_bounded_and_says_what_happened(odd_broker, connect_oddly) -> None:
    odd_broker.connack = 3
    transport = connect_oddly(backoff=Backoff(first=0, longest=0))
    await until(lambda: transport.counters["connect_failed"] > 60)
    assert len(transport.history) == 50
    shown = transport.diagnostics()
    assert shown["history"][-1]["reason"] in {"cannot_connect", None}
    assert shown["failures_in_a_row"] > 60


async def test_a_broker_that_does_not_let_the_client_in_is_a_refusal_of_credentials(
    odd_broker, connect_oddly
) -> None:
    odd_broker.connack = 5
    transport = connect_oddly()
    states = States(transport)
    await states.reached(ConnectionState.CREDENTIALS_REFUSED)
    assert transport.last_failure.reason == "not_authorised"


async def test_a_closed_port_is_tried_again_with_growing_waits(transports, tls) -> None:
    waits: list[float] = []
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            enough.set()
            await asyncio.Event().wait()

    from ...support.odd_broker import OddBroker

    nobody = OddBroker(port=1)
    transport = transports.to(
        nobody, context=tls[1], sleep=sleep, backoff=Backoff(1, 60, chance=lambda: 0)
    )
    transports.run(transport)
    async with asyncio.timeout(10):
        await enough.wait()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert transport.last_failure.reason == "cannot_connect"


async def test_a_broker_that_refuses_us_fills_nobodys_log(
    broker: LocalBroker, transports: Transports, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "custom_components.ulogger")
    await broker.arefuse_customer()
    transport = transports.to(broker)
    states = States(transport)
    transports.run(transport)
    await states.reached(ConnectionState.CREDENTIALS_REFUSED)
    assert [each for each in caplog.records if each.levelno > logging.INFO] == []


async def test_with_debugging_on_neither_key_nor_payload_is_logged(
    broker: LocalBroker, transports: Transports, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        transport = await transports.connected(broker)
        await transport.publish("binlog/v0/42/0/7", b"a log of a customer")
        await broker.arestart()
        await until(lambda: transport.counters["connection_lost"])
        await until_connected(transport, 10)
    assert "Sending PUBLISH" in caplog.text
    assert broker.customer.private_key.splitlines()[1] not in caplog.text
    assert "PRIVATE KEY" not in caplog.text
    assert "a log of a customer" not in caplog.text
