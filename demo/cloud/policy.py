"""A gate before the broker with habits of AWS IoT's that mosquitto does not have."""

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from paho.mqtt.client import topic_matches_sub

from ..ports import free_port
from .broker import HOST, LocalBroker
from .certificates import CERTIFICATE, PRIVATE_KEY
from .limits import Answer, Client, Limits

PUBACK = 4
MOST_LATE = 1_000

type Packet = tuple[int, bytes, bytes]
"""The first byte, the body, and all of it as it came."""


class PolicyGate:
    """Takes the customer's connections and passes them on to the broker, packet by packet.

    What a policy denies is not answered: the connection is closed. ``denied`` are filters of
    topics that nothing may be published on, ``unheard`` those that may not be subscribed to.
    ``limits`` hold for every connection, and may have subscriptions refused by an answer
    instead (see `Limits`). ``acknowledges_after`` delays the
    broker's acknowledgements by so many seconds. All may change at any time.
    """

    host = HOST

    def __init__(self, broker: LocalBroker) -> None:
        self.port = free_port()
        self.denied: set[str] = set()
        self.unheard: set[str] = set()
        self.limits = Limits()
        self.refused: Counter[str] = Counter()
        self.acknowledges_after = 0.0
        self.counters: Counter[str] = Counter()
        self._broker = broker
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; the broker may be away."""
        authority = self._broker.authority
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
        server = authority.directory / "server"
        context.load_cert_chain(server / CERTIFICATE, server / PRIVATE_KEY)
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = await asyncio.start_server(self._take, HOST, self.port, ssl=context)

    async def stop(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in self._sessions:
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
        try:
            async with self._beyond() as (broker_reader, broker_writer), asyncio.TaskGroup() as way:
                way.create_task(self._pass(reader, broker_writer, writer))
                way.create_task(self._acknowledge(broker_reader, writer))
        except* OSError, EOFError, asyncio.CancelledError:
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @asynccontextmanager
    async def _beyond(
        self,
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect to the broker as the customer."""
        broker = self._broker
        context = await asyncio.to_thread(broker.client_context, broker.customer)
        reader, writer = await asyncio.open_connection(broker.host, broker.port, ssl=context)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        """Pass the customer's packets on; raises EOFError at the end and on a denial."""
        client = Client(self.limits)
        while True:
            first, body, packet = await _read(reader)
            client.limits = self.limits
            answer, refusal = self._judge(client, first, body)
            if answer is Answer.CLOSED:
                raise EOFError
            if answer is Answer.REFUSED:
                back.write(refusal)
                await back.drain()
                continue
            writer.write(packet)
            await writer.drain()

    async def _acknowledge(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass the broker's answers on, acknowledgements as late as they shall be."""
        loop = asyncio.get_running_loop()
        late: deque[asyncio.TimerHandle] = deque(maxlen=MOST_LATE)
        try:
            while True:
                first, _, packet = await _read(reader)
                if first >> 4 == PUBACK and self.acknowledges_after:
                    late.append(loop.call_later(self.acknowledges_after, writer.write, packet))
                else:
                    writer.write(packet)
                    await writer.drain()
        finally:
            for timer in late:
                timer.cancel()

    def _judge(self, client: Client, first: int, body: bytes) -> tuple[Answer, bytes]:
        """Say what becomes of a packet, and what a refusal of it looks like."""
        answer, refusal = Answer.TAKEN, b""
        match first >> 4:
            case 3:
                topic, rest = _text(body)
                mid = rest[:2] if first & 0x06 else b""
                answer = client.publish(topic, len(rest) - len(mid))
                if any(topic_matches_sub(each, topic) for each in self.denied):
                    answer = Answer.CLOSED
                refusal = b"\x40\x02" + mid if mid else b""
            case 8:
                filters = list(_filters(body[2:]))
                answers = {client.subscribe(each) for each in filters}
                for each in (Answer.REFUSED, Answer.CLOSED):
                    answer = each if each in answers else answer
                if not self.unheard.isdisjoint(filters):
                    answer = Answer.CLOSED
                if answer is not Answer.TAKEN:
                    self.refused.update(filters)
                refusal = bytes((0x90, 2 + len(filters))) + body[:2] + b"\x80" * len(filters)
            case 10:
                for topic_filter in _filters(body[2:], options=0):
                    client.unsubscribe(topic_filter)
        self.counters["denied"] += answer is not Answer.TAKEN
        return answer, refusal


def _text(data: bytes) -> tuple[str, bytes]:
    """Return a text with its length before it, and what follows."""
    end = 2 + int.from_bytes(data[:2])
    return data[2:end].decode(), data[end:]


def _filters(body: bytes, options: int = 1) -> Iterator[str]:
    """Yield the filters of a subscription, each with so many bytes of options behind it."""
    while body:
        topic_filter, rest = _text(body)
        yield topic_filter
        body = rest[options:]


async def _read(reader: asyncio.StreamReader) -> Packet:
    """Read a packet; raises EOFError when the connection ends."""
    head = await reader.readexactly(1)
    length = shift = 0
    while True:
        head += (byte := await reader.readexactly(1))
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            body = await reader.readexactly(length)
            return head[0], body, head + body
