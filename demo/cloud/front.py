"""Stands before a broker and holds its clients to limits, as AWS IoT Core does; a process.

Each packet of a client is read; what the limits allow goes on to the broker. The limits are read
from a file whenever that has changed, so that a policy can change while clients are connected.
"""

import asyncio
import json
import signal
import ssl
import sys
from pathlib import Path
from struct import unpack_from
from typing import Any

from .limits import Answer, Client, Limits

LARGEST_PACKET = 1 << 20


class Front:
    """The listener. ``settings`` names the ports, the certificates and the file of limits."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._limits_file = Path(settings["limits"])
        self._limits = Limits()
        self._read_at = 0
        self._server_side = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=settings["ca"]
        )
        self._server_side.load_cert_chain(*settings["server"])
        self._server_side.verify_mode = ssl.CERT_REQUIRED
        if (revoked := Path(settings["revoked"])).exists():
            self._server_side.load_verify_locations(revoked)
            self._server_side.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        self._client_side = ssl.create_default_context(cafile=settings["ca"])
        self._client_side.load_cert_chain(*settings["service"])

    async def serve(self) -> None:
        """Serve until SIGTERM."""
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        host, port = self._settings["host"], self._settings["port"]
        await asyncio.start_server(self._connected, host, port, ssl=self._server_side)
        await stopped.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_broker, to_broker = await asyncio.open_connection(
                self._settings["host"], self._settings["inner_port"], ssl=self._client_side
            )
        except OSError:
            writer.close()
            return
        down = asyncio.create_task(_copy(from_broker, writer))
        up = asyncio.create_task(self._take(reader, writer, to_broker))
        await asyncio.wait([down, up], return_when=asyncio.FIRST_COMPLETED)
        for task in (down, up):
            task.cancel()
        await asyncio.wait([down, up])
        writer.close()
        to_broker.close()

    async def _take(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        to_broker: asyncio.StreamWriter,
    ) -> None:
        """Take a client's packets until it ends, or must end."""
        client = Client(self._current())
        while (packet := await _read(reader)) is not None:
            raw, body = packet
            client.limits = self._current()
            answer, refusal = self._judge(client, raw[0], body)
            if answer is Answer.CLOSED:
                return
            if answer is Answer.REFUSED:
                writer.write(refusal)
                await writer.drain()
                continue
            to_broker.write(raw)
            await to_broker.drain()

    def _judge(self, client: Client, first: int, body: bytes) -> tuple[Answer, bytes]:
        """Say what becomes of a packet, and what a refusal of it looks like."""
        match first >> 4:
            case 3:
                length = unpack_from(">H", body)[0]
                topic = body[2 : 2 + length].decode(errors="replace")
                mid = body[2 + length : 4 + length] if first & 0x06 else b""
                size = len(body) - 2 - length - len(mid)
                answer = client.publish(topic, size)
                _tell(answer, "PUBLISH", topic)
                return answer, b"\x40\x02" + mid if mid else b""
            case 8:
                topics = _topics(body, options=1)
                answers = [client.subscribe(topic) for topic in topics]
                answer = next((each for each in answers if each is not Answer.TAKEN), Answer.TAKEN)
                for topic, each in zip(topics, answers, strict=True):
                    _tell(each, "SUBSCRIBE", topic)
                return answer, bytes((0x90, 2 + len(topics))) + body[:2] + b"\x80" * len(topics)
            case 10:
                for topic in _topics(body, options=0):
                    client.unsubscribe(topic)
        return Answer.TAKEN, b""

    def _current(self) -> Limits:
        changed_at = self._limits_file.stat().st_mtime_ns
        if changed_at != self._read_at:
            self._limits = Limits.from_dict(json.loads(self._limits_file.read_text()))
            self._read_at = changed_at
        return self._limits


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass packets on whole: an answer of our own must not come amid one."""
    try:
        while (packet := await _read(reader)) is not None:
            writer.write(packet[0])
            await writer.drain()
    except OSError:
        pass


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """Return a packet, whole and its body; None at the end."""
    try:
        head = bytearray(await reader.readexactly(1))
        length = shift = 0
        while True:
            head += await reader.readexactly(1)
            length |= (head[-1] & 0x7F) << shift
            shift += 7
            if head[-1] < 0x80:
                break
        if length > LARGEST_PACKET:
            return None
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError, OSError:
        return None
    return bytes(head) + body, body


def _topics(body: bytes, *, options: int) -> list[str]:
    topics = []
    at = 2
    while at < len(body):
        length = unpack_from(">H", body, at)[0]
        topics.append(body[at + 2 : at + 2 + length].decode(errors="replace"))
        at += 2 + length + options
    return topics


def _tell(answer: Answer, packet: str, topic: str) -> None:
    if answer is not Answer.TAKEN:
        print(f"{answer.value} {packet} {topic}", flush=True)


if __name__ == "__main__":
    asyncio.run(Front(json.loads(Path(sys.argv[1]).read_text())).serve())
