"""One connection: both versions of MQTT, with and without TLS, names that change, a last will."""

import asyncio
import gc
import itertools
import socket
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Self

import pytest

from custom_components.ulogger.cloud.errors import (
    CannotConnect,
    CloudUnavailable,
    ConnectTimeout,
    NotAuthorised,
    UnknownHost,
)
from custom_components.ulogger.cloud.mqtt.broker import Broker, LastWill
from custom_components.ulogger.cloud.mqtt.connection import ConnectionEnded, MqttConnection
from demo.cloud.broker import LocalBroker

from ...support.odd_broker import OddBroker
from ..conftest import customer_context, until

PASSWORD = "an old token"
NEW_PASSWORD = "a new token"


class Peer:
    """A connection, what it heard, and how often it was told of its end."""

    def __init__(self, broker: Broker) -> None:
        self.heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.ends = 0
        self.connection = MqttConnection(broker, on_message=self._hear, on_end=self._end)

    def _hear(self, topic: str, payload: bytes, _retained: bool) -> None:
        self.heard.put_nowait((topic, payload))

    def _end(self) -> None:
        self.ends += 1

    async def __aenter__(self) -> Self:
        await self.connection.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.connection.close()


@pytest.fixture
async def readable(tmp_path: Path, socket_enabled: None) -> AsyncGenerator[LocalBroker]:
    """A broker that asks for user name and password on a second port without TLS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = tmp_path / "names"
    names.touch(0o600)
    await asyncio.to_thread(set_password, names, PASSWORD)
    settings = [f"listener {port} 127.0.0.1", "allow_anonymous false", f"password_file {names}"]
    async with LocalBroker(tmp_path / "broker", settings=settings) as broker:
        broker.readable_port, broker.names = port, names
        await until_listening(port)
        yield broker


async def until_listening(port: int) -> None:
    """Wait for the second listener: the broker is said to be there with its first one."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def set_password(names: Path, password: str) -> None:
    subprocess.run(["mosquitto_passwd", "-b", str(names), "unit", password], check=True)


def with_tls(broker: LocalBroker, *, client_id: str = "cust-1-ha-test", **more) -> Broker:
    return Broker(
        host="127.0.0.1",
        port=broker.port,
        client_id=client_id,
        tls=customer_context(broker),
        **more,
    )


@pytest.mark.parametrize("version_5", [False, True])
async def test_messages_go_both_ways_in_both_versions(
    broker: LocalBroker, *, version_5: bool
) -> None:
    async with Peer(with_tls(broker, version_5=version_5)) as peer:
        assert await peer.connection.allow("echo/#")
        await peer.connection.send("echo/1", b"\0\xff")
        async with asyncio.timeout(10):
            assert await peer.heard.get() == ("echo/1", b"\0\xff")
        assert peer.connection.in_flight == 0
        level = "p5" if version_5 else "p2"
        assert f"as cust-1-ha-test ({level}" in broker.log


async def test_a_password_is_asked_anew_for_each_connection(readable: LocalBroker) -> None:
    passwords = itertools.chain([PASSWORD], itertools.repeat(NEW_PASSWORD))
    broker = Broker(
        host="127.0.0.1",
        port=readable.readable_port,
        client_id="unit-1",
        unencrypted=True,
        username="unit",
        password=lambda: next(passwords),
    )
    async with Peer(broker):
        pass
    refused = Peer(broker)
    with pytest.raises(NotAuthorised):
        await refused.connection.open()
    await asyncio.to_thread(set_password, readable.names, NEW_PASSWORD)
    await readable.arestart()
    await until_listening(readable.readable_port)
    async with Peer(broker) as peer:
        await peer.connection.send("unit/1", b"in")


def test_without_tls_a_broker_must_be_said_to_be_unencrypted(broker: LocalBroker) -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        Broker(host="127.0.0.1", port=1883, client_id="unit-1")
    with pytest.raises(ValueError, match="unencrypted"):
        with_tls(broker, unencrypted=True)


async def test_the_last_will_is_said_when_a_connection_breaks_and_not_after_a_good_bye(
    broker: LocalBroker,
) -> None:
    will = LastWill("state/gateway", b"gone")
    async with Peer(with_tls(broker, client_id="cust-1-ha-listener")) as listener:
        await listener.connection.allow("state/#")
        async with Peer(with_tls(broker, last_will=will)) as leaving:
            await leaving.connection.send("state/gateway", b"here")
        broken = Peer(with_tls(broker, last_will=will))
        await broken.connection.open()
        broken.connection.abort()
        async with asyncio.timeout(10):
            assert await listener.heard.get() == ("state/gateway", b"here")
            assert await listener.heard.get() == ("state/gateway", b"gone")
        assert listener.heard.empty()


async def test_what_waits_fails_in_the_instant_in_which_the_connection_ends(
    odd_broker: OddBroker, tls
) -> None:
    odd_broker.acknowledge = lambda _topic, _payload: False
    broker = Broker(host="127.0.0.1", port=odd_broker.port, client_id="c", tls=tls[1])
    peer = Peer(broker)
    await peer.connection.open()
    waiting = [peer.connection.send("t", bytes([number])) for number in range(3)]
    await until(lambda: len(odd_broker.published) == 3)
    odd_broker.drop_all()
    assert await peer.connection.ended()
    for future in waiting:
        with pytest.raises(ConnectionEnded) as ended:
            await future
        assert (ended.value.closed_by_broker, ended.value.in_flight) == (True, 3)
    assert peer.ends == 1
    with pytest.raises(CloudUnavailable):
        peer.connection.send("t", b"late")
    await peer.connection.close()
    assert peer.ends == 1


async def test_ones_own_end_is_not_the_brokers(odd_broker: OddBroker, tls) -> None:
    odd_broker.acknowledge = lambda _topic, _payload: False
    broker = Broker(host="127.0.0.1", port=odd_broker.port, client_id="c", tls=tls[1])
    peer = Peer(broker)
    await peer.connection.open()
    waiting = peer.connection.send("t", b"1")
    peer.connection.abort()
    assert not await peer.connection.ended()
    with pytest.raises(ConnectionEnded) as ended:
        await waiting
    assert not ended.value.closed_by_broker


async def test_many_messages_in_one_read_are_all_heard(odd_broker: OddBroker, tls) -> None:
    """TLS decrypts more than one packet at once, and wakes nobody for the others."""
    broker = Broker(host="127.0.0.1", port=odd_broker.port, client_id="c", tls=tls[1])
    async with Peer(broker) as peer:
        for number in range(200):
            odd_broker.send("t", bytes([number]))
        async with asyncio.timeout(5):
            heard = [await peer.heard.get() for _ in range(200)]
    assert heard == [("t", bytes([number])) for number in range(200)]


@pytest.mark.parametrize(
    "failure",
    [socket.gaierror(-2, "unknown"), UnicodeError("label too long")],
    ids=["no address", "no name at all"],
)
async def test_a_name_without_an_address_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    peer = Peer(Broker(host="broker.invalid", port=1883, client_id="c", unencrypted=True))
    with pytest.raises(UnknownHost):
        await peer.connection.open()


async def test_whoever_does_not_answer_is_given_up_in_time(socket_enabled: None) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    broker = Broker(
        host="127.0.0.1", port=port, client_id="c", unencrypted=True, connect_timeout=0.05
    )
    with pytest.raises(ConnectTimeout):
        await Peer(broker).connection.open()
    server.close()


async def test_nobody_there_is_told_as_that(socket_enabled: None) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    peer = Peer(Broker(host="127.0.0.1", port=port, client_id="c", unencrypted=True))
    with pytest.raises(CannotConnect):
        await peer.connection.open()


async def test_a_cancelled_attempt_leaves_no_socket_behind(
    odd_broker: OddBroker, tls, recwarn: pytest.WarningsRecorder
) -> None:
    broker = Broker(host="127.0.0.1", port=odd_broker.port, client_id="c", tls=tls[1])
    for turn in range(10):
        peer = Peer(broker)
        opening = asyncio.create_task(peer.connection.open())
        for _ in range(turn):
            await asyncio.sleep(0.001)
        opening.cancel()
        await asyncio.wait([opening])
        await peer.connection.close()
    await until(lambda: not odd_broker.writers)
    gc.collect()
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]
