"""The gate before a site's broker: TLS, who may come in, and what nobody may send.

A site's broker speaks TLS, takes tokens that expire, and lets a gateway speak for another device
only after it attached it; mosquitto itself knows no tokens and no devices.
"""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from ..cloud.broker import HOST
from ..cloud.certificates import CERTIFICATE, PRIVATE_KEY, Authority
from ..cloud.policy import PUBACK, _filters, _read, _text
from ..ports import free_port
from .broker import SiteBroker
from .door import Connect, Door, NotAdmitted, Way

NOT_AUTHORISED: Final = b"\x20\x02\x00\x05"
CONNECT, PUBLISH, SUBSCRIBE, SUBACK = 1, 3, 8, 9


class SiteGate:
    """Takes gateways' connections and passes them on to the broker, packet by packet.

    ``on_subscribed`` is told of each filter that the broker was asked for, ``faulty`` gets what a
    client must not do: publish with another quality of service, have something retained, speak
    for a device before it was attached. ``mute`` swallows the broker's acknowledgements. With
    ``refusing`` nobody is admitted, whatever is shown.
    """

    def __init__(
        self,
        broker: SiteBroker,
        door: Door,
        authority: Authority,
        *,
        own_topic: Callable[[str], tuple[str, str] | None],
    ) -> None:
        """Prepare. ``own_topic`` splits a topic into a device and what comes after it."""
        self.port = free_port()
        self.door = door
        self.refusing = False
        self.mute = False
        self.counters: Counter[str] = Counter()
        self.refusals: list[str] = []
        self.faulty: list[str] = []
        self.admissions: list[float] = []
        """When somebody was admitted (Unix seconds)."""
        self.on_subscribed: Callable[[str], None] = lambda _: None
        self._broker = broker
        self._authority = authority
        self._own_topic = own_topic
        self._context: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    def trust(self, pem: str) -> None:
        """Have TLS accept a certificate; what was signed with its key, too."""
        if self._context is None:
            self._context = self._new_context()
        self._context.load_verify_locations(cadata=pem)

    def _new_context(self) -> ssl.SSLContext:
        server = self._authority.directory / "server"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server / CERTIFICATE, server / PRIVATE_KEY)
        if self.door.way is Way.MTLS:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._authority.ca_file)
        return context

    async def start(self) -> None:
        """Listen; the broker may be away."""
        if self._context is None:
            self._context = await asyncio.to_thread(self._new_context)
        self._server = await asyncio.start_server(self._take, HOST, self.port, ssl=self._context)

    async def stop(self) -> None:
        """End every connection, and take no new one."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.drop()

    async def drop(self) -> None:
        """End every connection that stands, and take new ones."""
        for session in self._sessions:
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
        try:
            first, body, packet = await _read(reader)
            if first >> 4 != CONNECT:
                return
            try:
                until = self._admit(body, writer)
            except NotAdmitted as error:
                self.refusals.append(str(error))
                writer.write(NOT_AUTHORISED)
                await writer.drain()
                return
            behind, before = await asyncio.open_connection(HOST, self._broker.port)
            try:
                before.write(packet)
                asked: dict[bytes, list[str]] = {}
                async with self._while_valid(until), asyncio.TaskGroup() as way:
                    way.create_task(self._pass(reader, before, asked))
                    way.create_task(self._answer(behind, writer, asked))
            finally:
                before.close()
        except* OSError, EOFError, asyncio.CancelledError, ValueError:
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _admit(self, body: bytes, writer: asyncio.StreamWriter) -> float | None:
        encrypted = writer.get_extra_info("ssl_object")
        certificate = encrypted.getpeercert(binary_form=True) if encrypted else None
        connect = connect_of(body, certificate)
        if self.refusing:
            raise NotAdmitted("nobody may come in")
        until = self.door.admit(connect)
        self.counters["admitted"] += 1
        self.admissions.append(time.time())
        return until

    @asynccontextmanager
    async def _while_valid(self, until: float | None) -> AsyncGenerator[None]:
        """End a session when what was shown for it expires, as brokers with tokens do."""
        left = None if until is None else max(0.0, until - self.door.now()) / self.door.speed
        try:
            async with asyncio.timeout(left) as valid:
                yield
        finally:
            self.counters["expired"] += valid.expired()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: dict[bytes, list[str]],
    ) -> None:
        """Pass a gateway's packets on; raises EOFError at the end."""
        attached: set[str] = set()
        while True:
            first, body, packet = await _read(reader)
            if first >> 4 == PUBLISH:
                self._published(first, body, attached)
            elif first >> 4 == SUBSCRIBE:
                asked[body[:2]] = list(_filters(body[2:]))
                for topic_filter in asked[body[:2]]:
                    self._check_filter(topic_filter, attached)
            writer.write(packet)
            await writer.drain()

    def _published(self, first: int, body: bytes, attached: set[str]) -> None:
        topic, _ = _text(body)
        if first & 1:
            self.faulty.append(f"{topic}: retained")
        if first >> 1 & 3 != 1:
            self.faulty.append(f"{topic}: quality of service {first >> 1 & 3}")
        self.counters["published"] += 1
        self.counters["repeated"] += bool(first & 8)
        if (found := self._own_topic(topic)) is None:
            self.faulty.append(f"{topic}: no topic of a device")
            return
        device, rest = found
        if rest == "attach":
            attached.add(device)
        elif device not in attached and not self._is_gateway(device):
            self.faulty.append(f"{topic}: {device} is not attached")
        elif rest == "detach":
            attached.discard(device)

    def _check_filter(self, topic_filter: str, attached: set[str]) -> None:
        found = self._own_topic(topic_filter)
        if found is None:
            self.faulty.append(f"{topic_filter}: no topic of a device is subscribed to")
        elif found[0] not in attached and not self._is_gateway(found[0]):
            self.faulty.append(f"{topic_filter}: {found[0]} is not attached")

    def _is_gateway(self, device: str) -> bool:
        return self.door.client_id.endswith(f"/{device}")

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: dict[bytes, list[str]],
    ) -> None:
        """Pass the broker's answers on; raises EOFError at the end."""
        while True:
            first, body, packet = await _read(reader)
            if self.mute and first >> 4 == PUBACK:
                continue
            writer.write(packet)
            await writer.drain()
            if first >> 4 == SUBACK:
                for topic_filter in asked.pop(body[:2], []):
                    self.on_subscribed(topic_filter)


def connect_of(body: bytes, certificate: bytes | None) -> Connect:
    """Read a CONNECT; raises ValueError for another protocol."""
    name, rest = _text(body)
    if name != "MQTT":
        raise ValueError("another protocol")
    version, flags = rest[0], rest[1]
    client_id, rest = _text(rest[4:])
    if flags & 0x04:
        for _ in range(2):
            _, rest = _text(rest)
    user = password = None
    if flags & 0x80:
        user, rest = _text(rest)
    if flags & 0x40:
        password, rest = _text(rest)
    return Connect(version, client_id, user, password, certificate)
