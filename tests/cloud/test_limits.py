"""A broker with AWS IoT's limits says no as AWS IoT does, and the integration lives with it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.cloud.broker import LocalBroker
from demo.cloud.limits import WILDCARDS, Answer, Client, Limits
from demo.cloud.policy import PolicyGate
from demo.cloud.service import LocalCloud
from demo.cloud.waiting import until_connected

from .conftest import QUICK, Transports, customer_context, until

BODY = b"frames"
LOG = LogHeader(4, 0, 0, 1, 1, 1, len(BODY), xor_checksum(BODY)).pack() + BODY


@pytest.fixture
async def gate(broker: LocalBroker) -> AsyncGenerator[PolicyGate]:
    """A gate with AWS IoT's limits."""
    async with PolicyGate(broker) as gate:
        yield gate


async def connected(gate: PolicyGate, broker: LocalBroker, transports: Transports) -> MqttTransport:
    """Run a transport through the gate, and wait until it is connected."""
    context = customer_context(broker)
    transport = MqttTransport(
        Broker(host=gate.host, port=gate.port, client_id="cust-42-ha-test", tls=context),
        backoff=QUICK,
    )
    transports.run(transport)
    await until_connected(transport, 10)
    return transport


async def keep_nothing(_tokens: Any) -> None:
    pass


async def insist(transport: Any, cloud: UloggerCloud, capture: Capture) -> None:
    for _ in range(20):
        await until_connected(transport, 10)
        try:
            await cloud.deliver(capture)
        except CloudError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError(capture)


@pytest.mark.parametrize("closes", [True, False])
async def test_devices_deliver_where_wildcards_are_refused(
    gate: PolicyGate, broker: LocalBroker, transports: Transports, closes: bool
) -> None:
    gate.limits = Limits(refused=WILDCARDS, closes=closes)
    async with LocalCloud(broker) as service:
        transport = await connected(gate, broker, transports)
        cloud = UloggerCloud(transport, customer_id=42, tokens=TokenCache({}, keep_nothing))
        devices = [DeviceIdentity(7, f"S{number}", "t", "1", "g") for number in range(4)]
        for device in devices:
            await insist(transport, cloud, Capture(CaptureKind.LOG, device, LOG, 0))
        received = await service.wait_for("binlog", 4)
        assert {service.device_of(each).serial for each in received} == {
            device.serial for device in devices
        }
        assert gate.refused == {"boot/v0/42/0/+/+": 1}
        assert transport.counters["connection_lost"] == int(closes)


async def test_a_policy_that_changes_meets_who_is_connected(
    gate: PolicyGate, broker: LocalBroker, transports: Transports
) -> None:
    async with LocalCloud(broker) as service:
        transport = await connected(gate, broker, transports)
        await transport.publish("metrics/v0/42/0/7", b"1")
        gate.limits = Limits(denied=("metrics/*",))
        with pytest.raises(CloudError):
            await transport.publish("metrics/v0/42/0/7", b"2")
        await until(lambda: transport.connected and transport.counters["connection_lost"])
        await transport.publish("events/v0/42/0/7", b"3")
        gate.limits = Limits(denied=("metrics/*",), closes=False)
        await transport.publish("events/v0/42/0/7", b"4")
        await service.wait_for("events", 2)
        assert [each.payload for each in service.of("metrics")] == [b"1"]


@pytest.mark.parametrize("topic", ["t/" + "x" * 255, "t/" + "\N{CRAB}" * 64])
async def test_a_topic_over_256_bytes_closes_the_connection(
    gate: PolicyGate, broker: LocalBroker, transports: Transports, topic: str
) -> None:
    transport = await connected(gate, broker, transports)
    await transport.subscribe(topic, lambda *_: None)
    await until(lambda: gate.refused == {topic: 1})
    await until_connected(transport, 10)


def test_the_fifty_first_subscription_closes_and_one_that_was_left_makes_room() -> None:
    client = Client(Limits())
    assert all(client.subscribe(f"t/{number}") is Answer.TAKEN for number in range(50))
    assert client.subscribe("t/0") is Answer.TAKEN
    assert client.subscribe("t/50") is Answer.CLOSED
    client.unsubscribe("t/7")
    assert client.subscribe("t/50") is Answer.TAKEN
    assert client.publish("t", 131_072) is Answer.TAKEN
    assert client.publish("t", 131_073) is Answer.CLOSED
