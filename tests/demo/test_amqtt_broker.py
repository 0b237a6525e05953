"""The broker in Python stands in for mosquitto where there is none."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from demo.cloud.amqtt_broker import AmqttBroker
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.harness import make_broker

pytestmark = pytest.mark.usefixtures("socket_enabled")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[AmqttBroker]:
    async with AmqttBroker(tmp_path) as broker:
        yield broker


async def test_the_service_receives_what_a_customer_publishes(broker: AmqttBroker) -> None:
    context = broker.client_context(broker.customer)
    async with (
        LocalCloud(broker) as cloud,
        aiomqtt.Client(broker.host, broker.port, tls_context=context) as customer,
    ):
        await customer.publish("binlog/v0/1/0/42", b"\4\1\0\0\0", qos=1)
        [log] = await cloud.wait_for("binlog")
    assert log.payload == b"\4\1\0\0\0"


async def test_a_client_without_a_certificate_is_refused(broker: AmqttBroker) -> None:
    nobody = ssl.create_default_context(cafile=str(broker.ca_file))
    with pytest.raises(aiomqtt.MqttError):
        async with aiomqtt.Client(broker.host, broker.port, tls_context=nobody, timeout=5):
            pass


def test_mosquitto_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.harness.shutil.which", lambda *_, **__: "/usr/sbin/mosquitto")
    assert type(make_broker(tmp_path / "a")) is LocalBroker
    monkeypatch.setattr("demo.harness.shutil.which", lambda *_, **__: None)
    assert type(make_broker(tmp_path / "b")) is AmqttBroker
