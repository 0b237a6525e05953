"""One real connection to a broker, to find out whether it would work and if not why."""

import asyncio
import ssl
import struct

from ..errors import CloudError, ConnectTimeout, NotAuthorised
from .failures import why_not_connected, why_refused

PROBE_TIMEOUT = 15.0
ALERT_WITHIN = 2.0
_CONNACK = 0x20
_PROTOCOL = struct.pack(">H4sBBH", 4, b"MQTT", 4, 0x02, 60)
"""Name and level of MQTT 3.1.1, clean session, keepalive 60 s."""
_DISCONNECT = b"\xe0\x00"


async def check_connection(
    host: str,
    port: int,
    context: ssl.SSLContext,
    *,
    client_id: str,
    seconds: float = PROBE_TIMEOUT,
) -> None:
    """Connect, be accepted, and disconnect; raises CloudError that says what went wrong.

    The client id must be another one than that of a running connection, which it would end.
    UnknownHost, CannotConnect, ConnectTimeout, Untrusted, CredentialsRefused and
    NotAuthorised are what can be raised. A broker that ends the connection without a word
    instead of accepting counts as NotAuthorised: AWS IoT does that to a client whose policy
    does not allow it to connect.
    """
    try:
        async with asyncio.timeout(seconds):
            await _connect_once(host, port, context, client_id)
    except TimeoutError as err:
        raise ConnectTimeout("the broker did not answer in time") from err


async def _connect_once(host: str, port: int, context: ssl.SSLContext, client_id: str) -> None:
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except OSError as err:
        raise why_not_connected(err) from err
    try:
        writer.write(_connect_packet(client_id))
        answer = await reader.readexactly(4)
        writer.write(_DISCONNECT)
    except (asyncio.IncompleteReadError, ConnectionError) as err:
        await _listen_once(host, port, context)
        raise NotAuthorised("the broker closed the connection instead of accepting it") from err
    except OSError as err:
        raise why_not_connected(err) from err
    finally:
        writer.close()
    if answer[0] != _CONNACK:
        raise CloudError("whatever answers there does not speak MQTT")
    if answer[3] != 0:
        raise why_refused(answer[3])


async def _listen_once(host: str, port: int, context: ssl.SSLContext) -> None:
    """Raise CredentialsRefused if the broker refuses the certificate of a client that is silent.

    With TLS 1.3 the refusal comes after the handshake. Whatever has been sent to the broker by
    then makes it reset the connection, and the reset overtakes the alert that says why.
    """
    try:
        async with asyncio.timeout(ALERT_WITHIN):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                await reader.read(1)
            finally:
                writer.close()
    except TimeoutError, ConnectionError:
        return
    except OSError as err:
        raise why_not_connected(err) from err


def _connect_packet(client_id: str) -> bytes:
    name = client_id.encode()
    body = _PROTOCOL + struct.pack(">H", len(name)) + name
    if len(body) > 127:
        raise ValueError("the client id is too long")
    return bytes((0x10, len(body))) + body
