"""The rules of Pepeunit's broker, before a mosquitto that has none: who may do what, silently.

Pepeunit runs another broker with these rules. mosquitto itself would close the connection on a
message that it denies, which Pepeunit's never does.
"""

import asyncio
from collections import Counter
from contextlib import suppress

from ..cloud.broker import HOST
from ..cloud.policy import _filters, _read, _text
from ..ports import free_port
from .broker import PepeunitBroker

NOT_AUTHORISED = b"\x20\x02\x00\x05"
DENIED_FILTER = 0x80
MOST_LEVELS = 5


class Gate:
    """Takes units' connections and passes them on to the broker, packet by packet.

    ``allowed`` names for each token the topics that its unit may hear and send on; a token that
    is not there is not let in. A message that is not allowed is acknowledged and dropped. On
    topics in ``muted`` nothing is passed to a unit, though it may subscribe to them. A retained
    message ends the connection. All may change at any time.
    """

    def __init__(self, broker: PepeunitBroker) -> None:
        self.port = free_port()
        self.allowed: dict[str, set[str]] = {}
        self.muted: set[str] = set()
        self.counters: Counter[str] = Counter()
        self.subscribed: dict[str, set[str]] = {}
        """The topics that each client listens to now, by their client ids."""
        self._broker = broker
        self._servers: list[asyncio.Server] = []
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; the broker may be away."""
        self._servers.append(await asyncio.start_server(self._take, HOST, self.port))

    async def stop(self) -> None:
        """End every connection."""
        for server in self._servers:
            server.close()
        self._servers.clear()
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
        client_id = ""
        heard: set[str] = set()
        try:
            first, body, packet = await _read(reader)
            client_id, user = _client(body)
            if first >> 4 != 1 or user not in self.allowed:
                self.counters["refused"] += 1
                writer.write(NOT_AUTHORISED)
                await writer.drain()
                return
            self.subscribed[client_id] = heard
            behind, before = await asyncio.open_connection(HOST, self._broker.port)
            try:
                before.write(packet)
                async with asyncio.TaskGroup() as way:
                    way.create_task(self._pass(reader, before, writer, (client_id, user)))
                    way.create_task(self._answer(behind, writer))
            finally:
                before.close()
        except* OSError, EOFError, asyncio.CancelledError, ValueError:
            pass
        finally:
            # A unit that connected again meanwhile keeps what it has subscribed to since.
            if self.subscribed.get(client_id) is heard:
                del self.subscribed[client_id]
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        who: tuple[str, str],
    ) -> None:
        """Pass a unit's packets on; raises EOFError at the end."""
        while True:
            first, body, packet = await _read(reader)
            answer = self._judge(who, first, body)
            if answer is not None:
                back.write(answer)
                await back.drain()
                continue
            writer.write(packet)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            first, body, packet = await _read(reader)
            if first >> 4 == 3 and _text(body)[0] in self.muted:
                continue
            writer.write(packet)
            await writer.drain()

    def _judge(self, who: tuple[str, str], first: int, body: bytes) -> bytes | None:
        """Return what is answered in the broker's place, None where it answers itself."""
        client_id, user = who
        allowed = self.allowed.get(user, set())
        match first >> 4:
            case 3:
                topic, rest = _text(body)
                if first & 1 or topic.count("/") >= MOST_LEVELS:
                    self.counters["retained"] += first & 1
                    raise EOFError
                if topic not in allowed:
                    self.counters["denied"] += 1
                    return b"\x40\x02" + rest[:2] if first & 0x06 else b""
            case 8:
                filters = list(_filters(body[2:]))
                if not allowed.issuperset(filters):
                    self.counters["unheard"] += 1
                    codes = bytes(0 if each in allowed else DENIED_FILTER for each in filters)
                    return bytes((0x90, 2 + len(filters))) + body[:2] + codes
                self.subscribed.setdefault(client_id, set()).update(filters)
            case 10:
                gone = _filters(body[2:], options=0)
                self.subscribed.setdefault(client_id, set()).difference_update(gone)
        return None


def _client(connect: bytes) -> tuple[str, str]:
    """Return the client id and the user name of a CONNECT."""
    name, rest = _text(connect)
    if name != "MQTT":
        raise ValueError("another protocol")
    flags = rest[1]
    client_id, rest = _text(rest[4:])
    if flags & 0x04:
        for _ in range(2):
            _, rest = _text(rest)
    return client_id, _text(rest)[0] if flags & 0x80 else ""
