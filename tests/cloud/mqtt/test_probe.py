"""The check of a connection names what is wrong, and never goes without TLS."""

import asyncio
import socket
import ssl

import pytest
import trustme

from custom_components.ulogger.cloud import errors as i
from custom_components.ulogger.cloud.mqtt.failures import why_not_connected
from custom_components.ulogger.cloud.mqtt.probe import check_connection
from custom_components.ulogger.cloud.ulogger.credentials import Credentials, build_tls_context
from demo.cloud.broker import LocalBroker
from demo.cloud.certificates import Issued

from ...support.odd_broker import OddBroker
from ..conftest import customer_context

NAME = "cust-42-check"


async def test_a_good_connection_passes_without_disturbing_another(broker: LocalBroker) -> None:
    await check_connection("127.0.0.1", broker.port, customer_context(broker), client_id=NAME)
    assert f"as {NAME}" in broker.log


async def test_a_broker_that_refuses_the_certificate(broker: LocalBroker) -> None:
    await broker.arefuse_customer()
    with pytest.raises(i.CredentialsRefused) as error:
        await check_connection("127.0.0.1", broker.port, customer_context(broker), client_id=NAME)
    assert not error.value.retryable


async def test_a_certificate_of_a_stranger_is_refused(broker: LocalBroker) -> None:
    stranger = Issued.by(trustme.CA(), "x.invalid")
    context = build_tls_context(
        Credentials.checked(stranger.certificate, stranger.private_key, broker.ca)
    )
    with pytest.raises(i.CredentialsRefused):
        await check_connection("127.0.0.1", broker.port, context, client_id=NAME)


async def test_a_broker_whose_certificate_is_not_trusted(broker: LocalBroker) -> None:
    customer = broker.customer
    for ca in (None, trustme.CA().cert_pem.bytes()):
        context = build_tls_context(
            Credentials.checked(customer.certificate, customer.private_key, ca)
        )
        with pytest.raises(i.Untrusted):
            await check_connection("127.0.0.1", broker.port, context, client_id=NAME)


async def test_a_broker_of_another_name_is_not_trusted(authority, socket_enabled) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.invalid").configure_cert(server)
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    async with OddBroker(server) as odd:
        with pytest.raises(i.Untrusted):
            await check_connection("127.0.0.1", odd.port, context, client_id=NAME)
        assert odd.connects == []


async def test_a_broker_without_tls_is_never_spoken_to(tls, socket_enabled) -> None:
    async with OddBroker() as plain:
        with pytest.raises(i.CloudError):
            await check_connection("127.0.0.1", plain.port, tls[1], client_id=NAME, seconds=2)
        assert plain.connects == []


async def test_nobody_at_the_port(tls, socket_enabled) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(i.CannotConnect) as error:
            await check_connection("127.0.0.1", unused.getsockname()[1], tls[1], client_id=NAME)
    assert error.value.reason == "cannot_connect"


async def test_a_name_without_an_address(tls, monkeypatch) -> None:
    async def nowhere(*_args: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nowhere)
    with pytest.raises(i.UnknownHost):
        await check_connection("nowhere.invalid", 8883, tls[1], client_id=NAME)


@pytest.mark.parametrize("host", ["a..b", "x" * 64], ids=["empty", "long"])
async def test_a_name_that_can_not_have_an_address(tls, monkeypatch, host: str) -> None:
    async def encoded(host: str, *_args: object, **_more: object) -> None:
        host.encode("idna")

    # What looks names up encodes them first.
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", encoded)
    with pytest.raises(i.UnknownHost):
        await check_connection(host, 8883, tls[1], client_id=NAME)


async def test_a_broker_that_does_not_answer(broker: LocalBroker) -> None:
    broker.freeze()
    with pytest.raises(i.ConnectTimeout):
        await check_connection(
            "127.0.0.1", broker.port, customer_context(broker), client_id=NAME, seconds=0.3
        )


@pytest.mark.parametrize(
    ("connack", "error"),
    [(5, i.NotAuthorised), (4, i.NotAuthorised), (3, i.CannotConnect), (None, i.NotAuthorised)],
)
async def test_a_broker_that_does_not_let_the_client_in(odd_broker, tls, connack, error) -> None:
    odd_broker.connack = connack
    with pytest.raises(error):
        await check_connection("127.0.0.1", odd_broker.port, tls[1], client_id=NAME)


def test_every_failure_has_a_reason_of_its_own() -> None:
    def family(kind: type[i.CloudError]) -> list[type[i.CloudError]]:
        return [kind, *(each for sub in kind.__subclasses__() for each in family(sub))]

    reasons: dict[str, type] = {}
    for kind in family(i.CloudError):
        if kind.__module__.endswith("cloud.interface"):
            assert reasons.setdefault(kind.reason, kind) is kind
    assert why_not_connected(None).reason == "cannot_connect"
    assert why_not_connected(TimeoutError()).reason == "timeout"


def ssl_error(kind: type[ssl.SSLError], reason: str) -> ssl.SSLError:
    error = kind(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (i.NotAuthorised("told so"), i.NotAuthorised),
        (socket.gaierror(), i.UnknownHost),
        (UnicodeError(), i.UnknownHost),
        (ssl_error(ssl.SSLError, "TLSV1_ALERT_UNKNOWN_CA"), i.CredentialsRefused),
        (ssl_error(ssl.SSLEOFError, "EOF"), i.CannotConnect),
        (ssl_error(ssl.SSLError, "WRONG_VERSION_NUMBER"), i.CannotConnect),
        (OSError("no route"), i.CannotConnect),
    ],
)
def test_a_failure_to_connect_is_named(error: BaseException, kind: type[i.CloudError]) -> None:
    assert type(why_not_connected(error)) is kind


async def test_a_long_user_name_goes_readably_where_that_is_wanted(socket_enabled) -> None:
    came = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set_result(await reader.read(4096))
        writer.write(b"\x20\x02\x00\x00")
        await writer.drain()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    token = "t" * 300
    await check_connection("127.0.0.1", port, None, client_id=NAME, username=token)
    packet = await came
    assert packet[:3] == b"\x10" + bytes((0x80 | (len(packet) - 3) % 128, (len(packet) - 3) // 128))
    assert packet[10] == 0xC2
    assert packet.endswith(len(token).to_bytes(2) + token.encode() + b"\x00\x00")
    server.close()
