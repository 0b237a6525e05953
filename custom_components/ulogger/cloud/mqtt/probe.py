"""One real connection to a broker, to find out whether it would work and if not why."""

import asyncio
import ssl
import struct

from ..errors import CloudError, ConnectTimeout, NotAuthorised
from .failures import why_not_connected, why_refused

PROBE_TIMEOUT = 15.0
ALERT_WITHIN = 2.0
_CONNACK = 0x20
_CLEAN_SESSION = 0x02
_PASSWORD = 0x40
_USERNAME = 0x80
_KEEPALIVE = 60
_DISCONNECT = b"\xe0\x00"


async def check_connection(
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    *,
    client_id: str,
    username: str | None = None,
    seconds: float = PROBE_TIMEOUT,
) -> None:
    """Connect, be accepted, and disconnect; raises CloudError that says what went wrong.

    Without a context everything travels readable, also the ``username``, which comes with an
    empty password.

    The client id must be another one than that of a running connection, which it would end.
    UnknownHost, CannotConnect, ConnectTimeout, Untrusted, CredentialsRefused and
    NotAuthorised are what can be raised. A broker that ends the connection without a word
    instead of accepting counts as NotAuthorised: AWS IoT does that to a client whose policy
    does not allow it to connect.
    """
    try:
        async with asyncio.timeout(seconds):
            await _connect_once(host, port, context, _connect_packet(client_id, username))
    except TimeoutError as err:
        raise ConnectTimeout("the broker did not answer in time") from err


async def _connect_once(
    host: str, port: int, context: ssl.SSLContext | None, packet: bytes
) -> None:
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, UnicodeError) as err:
        raise why_not_connected(err) from err
    try:
        writer.write(packet)
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


async def _listen_once(host: str, port: int, context: ssl.SSLContext | None) -> None:
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


def _connect_packet(client_id: str, username: str | None) -> bytes:
    """Return a CONNECT of MQTT 3.1.1."""
    flags, fields = _CLEAN_SESSION, [client_id]
    if username is not None:
        flags |= _USERNAME | _PASSWORD
        fields += [username, ""]
    body = struct.pack(">H4sBBH", 4, b"MQTT", 4, flags, _KEEPALIVE)
    for text in (field.encode() for field in fields):
        if len(text) > 0xFFFF:
            raise ValueError("the client id or the user name is too long")
        body += struct.pack(">H", len(text)) + text
    return b"\x10" + _length(len(body)) + body


def _length(size: int) -> bytes:
    """Return how long a packet is, in MQTT's own number format."""
    encoded = bytearray()
    while True:
        size, seven = divmod(size, 128)
        encoded.append(seven | (128 if size else 0))
        if not size:
            return bytes(encoded)
