"""The local cloud does what tests and demo believe of it."""

import asyncio
import json

import aiomqtt
import pytest

from demo.cloud.broker import LocalBroker
from demo.cloud.service import FIRST_TOKEN, LocalCloud

BOOT = {"device_type": "t", "git": "abc", "serial": "S1", "version": "1.0"}


def customer(broker: LocalBroker, **more) -> aiomqtt.Client:
    context = broker.client_context(broker.customer)
    return aiomqtt.Client(broker.host, broker.port, tls_context=context, timeout=5, **more)


async def test_a_registration_is_answered_with_a_token_of_its_own(
    broker: LocalBroker, cloud_service: LocalCloud
) -> None:
    async with customer(broker) as client:
        await client.subscribe("boot/v0/42/0/7/S1", qos=1)
        for expected in (FIRST_TOKEN, FIRST_TOKEN + 1):
            await client.publish("boot/v0/42/0/7", json.dumps(BOOT), qos=1)
            reply = await anext(client.messages)
            assert json.loads(reply.payload) == {"token": expected}
            assert cloud_service.registrations[expected].serial == "S1"


async def test_messages_are_kept_in_order(broker: LocalBroker, cloud_service: LocalCloud) -> None:
    async with customer(broker) as client:
        for number in range(20):
            await client.publish("binlog/v0/42/0/7", bytes([number]), qos=1)
    kept = await cloud_service.wait_for("binlog", 20)
    assert [message.payload[0] for message in kept] == list(range(20))


async def test_what_was_acknowledged_survives_a_restart_of_the_broker(
    broker: LocalBroker, cloud_service: LocalCloud
) -> None:
    await cloud_service.stop()
    async with customer(broker) as client:
        await client.publish("core-dump/v0/42/0", b"dump", qos=1)
    await broker.arestart()
    await cloud_service.start()
    (kept,) = await cloud_service.wait_for("core-dump")
    assert kept.payload == b"dump"


async def test_a_revoked_customer_can_not_connect(broker: LocalBroker) -> None:
    await broker.arefuse_customer()
    with pytest.raises(aiomqtt.MqttError):
        async with customer(broker):
            pass
    await broker.aaccept_customer()
    async with customer(broker):
        pass


async def test_a_frozen_broker_answers_once_it_thaws(broker: LocalBroker) -> None:
    async with customer(broker) as client:
        broker.freeze()
        publish = asyncio.create_task(client.publish("events/v0/42/0/7", b"{}", qos=1))
        done, _ = await asyncio.wait([publish], timeout=0.2)
        assert not done
        broker.thaw()
        await publish
