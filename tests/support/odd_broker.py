"""A broker on a loopback port that does what no good broker does, by script."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import pack, unpack_from
from typing import Self

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ = 1, 3, 4, 8, 10, 12


@dataclass
class OddBroker:
    """Speaks just enough MQTT 3.1.1. ``context`` None is plain TCP."""

    context: ssl.SSLContext | None = None
    connack: int | None = 0
    acknowledge: Callable[[str, bytes], bool] = lambda _topic, _payload: True
    close_on: Callable[[str, bytes], bool] = lambda _topic, _payload: False
    allows: Callable[[str], bool] = lambda _filter: True
    host: str = "127.0.0.1"
    port: int = 0
    connects: list[str] = field(default_factory=list)
    published: list[tuple[str, bytes, int]] = field(default_factory=list)
    subscribed: list[str] = field(default_factory=list)
    pings: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, ssl=self.context
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        self.drop_all()

    def drop_all(self) -> None:
        """Close every connection."""
        for writer in self.writers:
            writer.close()
        self.writers.clear()

    def send(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0 to everybody."""
        name = topic.encode()
        for writer in self.writers:
            writer.write(_packet(0x30, pack(">H", len(name)) + name + payload))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                kind, body = await _read(reader)
                if not self._answer(kind, body, writer):
                    break
        except asyncio.IncompleteReadError, ConnectionError, ssl.SSLError:
            pass
        finally:
            writer.close()
            if writer in self.writers:
                self.writers.remove(writer)

    def _answer(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        match first >> 4:
            case 1:
                length = unpack_from(">H", body, 10)[0]
                self.connects.append(body[12 : 12 + length].decode())
                if self.connack is None:
                    return False
                writer.write(bytes((0x20, 2, 0, self.connack)))
            case 3:
                length = unpack_from(">H", body)[0]
                topic, mid = body[2 : 2 + length].decode(), body[2 + length : 4 + length]
                payload = body[4 + length :]
                self.published.append((topic, payload, first & 0x0F))
                if self.close_on(topic, payload):
                    return False
                if self.acknowledge(topic, payload):
                    writer.write(b"\x40\x02" + mid)
            case 8:
                length = unpack_from(">H", body, 2)[0]
                topic = body[4 : 4 + length].decode()
                self.subscribed.append(topic)
                writer.write(b"\x90\x03" + body[:2] + (b"\1" if self.allows(topic) else b"\x80"))
            case 10:
                writer.write(b"\xb0\x02" + body[:2])
            case 12:
                self.pings += 1
                writer.write(b"\xd0\x00")
            case 14:
                return False
        return True


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, await reader.readexactly(length)


def _packet(first: int, body: bytes) -> bytes:
    length, encoded = len(body), bytearray()
    while True:
        length, byte = divmod(length, 128)
        encoded.append(byte | (0x80 if length else 0))
        if not length:
            return bytes((first,)) + bytes(encoded) + body
