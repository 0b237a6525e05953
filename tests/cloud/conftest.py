"""Fixtures of the cloud room's tests."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

import pytest
import trustme

from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.ulogger.credentials import Credentials, build_tls_context
from custom_components.ulogger.model.backoff import Backoff
from demo.cloud.broker import LocalBroker
from demo.cloud.waiting import until_connected
from tests.support.local_cloud import CUSTOMER_ID, broker, cloud_service

from ..support.odd_broker import OddBroker

__all__ = ["broker", "cloud_service"]

QUICK = Backoff(first=0.02, longest=0.2)


def customer_context(broker: LocalBroker) -> ssl.SSLContext:
    """What an account of the broker's customer connects with."""
    customer = broker.customer
    return build_tls_context(
        Credentials.checked(customer.certificate, customer.private_key, broker.ca)
    )


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Let the loop run until a condition holds; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.002)


class Transports:
    """Runs transports for one test."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, transport: MqttTransport) -> asyncio.Task[None]:
        """Run one until the test ends."""
        task = asyncio.create_task(transport.run())
        self._tasks.append(task)
        return task

    async def connected(self, broker: LocalBroker | OddBroker, **more: Any) -> MqttTransport:
        """Run one and wait until it is connected."""
        transport = self.to(broker, **more)
        self.run(transport)
        await until_connected(transport, 10)
        return transport

    def to(self, broker: LocalBroker | OddBroker, **more: Any) -> MqttTransport:
        """Make one for a broker, not running."""
        context = (
            customer_context(broker) if isinstance(broker, LocalBroker) else more.pop("context")
        )
        defaults = {"client_id": f"cust-{CUSTOMER_ID}-ha-test", "backoff": QUICK}
        named = defaults | more
        settings = {
            name: named.pop(name)
            for name in ("client_id", "keepalive", "connect_timeout")
            if name in named
        }
        return MqttTransport(
            Broker(host="127.0.0.1", port=broker.port, tls=context, **settings), **named
        )

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def transports(socket_enabled: None) -> AsyncGenerator[Transports]:
    """Transports that end with the test."""
    running = Transports()
    yield running
    await running.stop()


@pytest.fixture
def authority() -> trustme.CA:
    """An authority of one's own."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, which asks nobody for a certificate, and a client's."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    return server, client


@pytest.fixture
async def odd_broker(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], socket_enabled: None
) -> AsyncGenerator[OddBroker]:
    """A broker that can be scripted."""
    async with OddBroker(tls[0]) as odd:
        yield odd


@pytest.fixture
def connect_oddly(
    odd_broker: OddBroker, tls: tuple[ssl.SSLContext, ssl.SSLContext], transports: Transports
) -> Callable[..., MqttTransport]:
    """Make a running transport to the scripted broker."""

    def connect(**more: Any) -> MqttTransport:
        transport = transports.to(odd_broker, context=tls[1], **more)
        transports.run(transport)
        return transport

    return connect
