"""A TCP proxy on the loopback interface that makes the way to a port as long as asked for."""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_READ_AT_ONCE = 1 << 16


class DelayProxy:
    """Forwards connections to a local port, every byte half a round trip later and in order.

    ``rtt`` is in seconds. Nothing else is limited: what comes is read at once, however much is
    on its way, and what is due is written. It has a thread and a loop of its own, so that whoever
    is measured holds up no bytes, and none of its work is taken for that of the loop measured.
    """

    def __init__(self, port: int, rtt: float) -> None:
        self.port = 0
        self._target = port
        self._delay = rtt / 2
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="delay proxy", daemon=True)
        self._listening = threading.Event()
        self._ended = asyncio.Event()

    def __enter__(self) -> Self:
        """Listen on a free port, which is ``port`` from then on."""
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._connected, HOST, 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._listening.set()
            await self._ended.wait()
            server.close()
            server.abort_clients()

    async def _connected(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """Join a connection to a new one at the target, until both sides have closed."""
        try:
            target, to_target = await asyncio.open_connection(HOST, self._target)
        except OSError:
            to_client.close()
            return
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._forward(client, to_target))
                ways.create_task(self._forward(target, to_client))
        finally:
            to_client.close()
            to_target.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write what one side sends to the other, each piece when its time has come."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(reader, pieces))
            while True:
                due, piece = await pieces.get()
                if (early := due - self._loop.time()) > 0:
                    await asyncio.sleep(early)
                if not piece:
                    break
                writer.write(piece)
        with contextlib.suppress(OSError):  # the other side may have gone first
            writer.write_eof()

    async def _read(
        self, reader: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        """Note when each piece is due; an empty one is the end."""
        piece = b"more"
        while piece:
            try:
                piece = await reader.read(_READ_AT_ONCE)
            except ConnectionError:
                piece = b""
            pieces.put_nowait((self._loop.time() + self._delay, piece))
