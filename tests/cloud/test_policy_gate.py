"""The gate before the local broker does what AWS IoT does, and our connection copes with it."""

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudError, CloudUnavailable
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import LARGEST_MESSAGE, MqttTransport
from custom_components.ulogger.model.backoff import Backoff
from demo.cloud.broker import LocalBroker
from demo.cloud.policy import PolicyGate
from demo.cloud.service import LocalCloud
from demo.cloud.waiting import until_connected

from .conftest import QUICK, Transports, customer_context, until


@pytest.fixture
async def gate(broker: LocalBroker, socket_enabled: None) -> AsyncGenerator[PolicyGate]:
    async with PolicyGate(broker) as opened:
        yield opened


def through(gate: PolicyGate, broker: LocalBroker, backoff: Backoff = QUICK) -> MqttTransport:
    """Make a transport that reaches the broker through the gate."""
    return MqttTransport(
        Broker(
            host=gate.host,
            port=gate.port,
            client_id="cust-42-ha-test",
            tls=customer_context(broker),
        ),
        backoff=backoff,
    )


async def test_what_is_allowed_passes_both_ways(
    gate: PolicyGate, broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    transport = through(gate, broker)
    transports.run(transport)
    await until_connected(transport, 10)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await transport.subscribe(
        "config/v0/42/0/7/S1", lambda _topic, data, _retained: heard.put_nowait(data)
    )
    await transport.publish("core-dump/v0/42/0", bytes(LARGEST_MESSAGE))
    await cloud_service.wait_for("core-dump")
    await cloud_service.publish("config/v0/42/0/7/S1", b"hello")
    async with asyncio.timeout(10):
        assert await heard.get() == b"hello"


async def test_what_is_denied_ends_the_connection_and_goes_no_further(
    gate: PolicyGate, broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    gate.denied.add("core-dump/#")
    transport = through(gate, broker)
    transports.run(transport)
    await until_connected(transport, 10)
    await transport.publish("binlog/v0/42/0/7", b"a log")
    with pytest.raises(CloudUnavailable):
        await transport.publish("core-dump/v0/42/0", b"a dump")
    await until(lambda: not transport.connected)
    await until_connected(transport, 10)
    await transport.publish("binlog/v0/42/0/7", b"another log")
    await cloud_service.wait_for("binlog", 2)
    assert gate.counters["denied"] == 1
    assert cloud_service.of("core-dump") == []
    gate.denied.clear()


async def test_a_denied_subscription_ends_the_connection(
    gate: PolicyGate, broker: LocalBroker, transports: Transports
) -> None:
    gate.unheard.add("boot/v0/42/0/+/+")
    transport = through(gate, broker)
    transports.run(transport)
    await until_connected(transport, 10)
    await transport.subscribe("boot/v0/42/0/7/S1", lambda *_: None)
    assert gate.counters["denied"] == 0
    await transport.subscribe("boot/v0/42/0/+/+", lambda *_: None)
    assert gate.counters["denied"] >= 1


async def test_acknowledgements_come_as_late_as_they_shall(
    gate: PolicyGate, broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    gate.acknowledges_after = 0.3
    transport = through(gate, broker)
    transports.run(transport)
    await until_connected(transport, 10)
    began = time.monotonic()
    await asyncio.gather(*(transport.publish("binlog/v0/42/0/7", b"%d" % n) for n in range(5)))
    assert 0.3 <= time.monotonic() - began < 1.2


async def test_two_gateways_with_one_name_are_noticed_though_acknowledgements_are_slow(
    gate: PolicyGate, broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    gate.acknowledges_after = 3.0
    both = [through(gate, broker, Backoff(first=0.3, longest=0.6)) for _ in range(2)]
    raised: list[CloudError] = []

    async def insist(transport: MqttTransport) -> None:
        while True:
            try:
                await transport.publish("binlog/v0/42/0/7", b"the same log")
            except CloudError as err:
                raised.append(err)
                await asyncio.sleep(0.02)

    for transport in both:
        transports.run(transport)
    sending = [asyncio.create_task(insist(transport)) for transport in both]
    await until(lambda: any(each.state is ConnectionState.CLIENT_ID_CONFLICT for each in both), 40)
    for task in sending:
        task.cancel()
    assert all(isinstance(err, CloudUnavailable) for err in raised)
    assert [each.denied_topics for each in both] == [[], []]
