"""One MQTT connection: paho's client on the event loop, from `open` to `close`.

| state | how it is entered | how it is left |
|---|---|---|
| new | by making it | `open` |
| connecting | `open`: the executor opens the socket, CONNECT is sent | CONNACK, an error, `abort` |
| connected | CONNACK with code 0 | the broker or the network ends it, `close`, `abort` |
| ended | once, for ever | never: a new connection is made for each attempt |

Invariants: everything but connecting happens on the loop's thread; whatever waits for an answer of
the broker is answered or fails, at the latest in the instant in which the connection ends; a
message is never sent twice by this connection, since whoever keeps it sends it again.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, override

from paho.mqtt.client import (
    Client,
    ConnectFlags,
    DisconnectFlags,
    MQTTMessage,
)
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ..errors import CannotConnect, CloudError, CloudUnavailable, ConnectTimeout, MessageRefused
from .broker import Broker
from .failures import why_not_connected, why_refused

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

_LOGGER = logging.getLogger(__name__)
_PAHO_LOGGER = logging.getLogger(f"{__name__}.paho")
# paho calls each lost connection an error; whoever looks for one switches debugging on.
_PAHO_LOGGER.addFilter(lambda _record: _LOGGER.isEnabledFor(logging.DEBUG))

CLOSE_TIMEOUT = 2.0
MISC_EVERY = 1.0
"""Seconds between looks at whether a ping is due or unanswered."""
MOST_PACKETS = 500
"""Packets that are read in one go: what TLS has decrypted already wakes no reader."""
KEEPALIVE_TIMEOUT = 141
"""The reason that paho gives when the broker has answered no ping."""


class ConnectionEnded(CloudUnavailable):
    """The connection ended with messages in flight.

    ``closed_by_broker`` is False when it was ours or the network's fault; ``in_flight``
    counts the messages without an acknowledgement.
    """

    def __init__(self, *, closed_by_broker: bool, in_flight: int) -> None:
        super().__init__("the connection was lost before the acknowledgement came")
        self.closed_by_broker = closed_by_broker
        self.in_flight = in_flight


class WatchedSocket(ssl.SSLSocket):
    """A TLS socket that remembers why reading failed; paho keeps only that it did."""

    failure: OSError | None = None

    @override
    def do_handshake(self, block: bool = False) -> None:
        """Shake hands; paho would leave the socket open when that fails."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    @override
    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read, noting an error that is more than *nothing there yet*."""
        try:
            return super().recv(buflen, flags)
        except ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError:
            raise
        except OSError as err:
            self.failure = err
            raise


class MqttConnection:
    """One connection to a broker.

    Acknowledgements fail at the moment the connection ends, instead of after a time limit, and a
    refused certificate is distinguished from a broker that does not answer. ``on_message`` gets
    each message's topic, payload, and whether it was retained; ``on_end`` is called once, at the
    end.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        on_message: Callable[[str, bytes, bool], None],
        on_end: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._on_payload = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[bool] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._socket: SocketLike | None = None
        self._failure: OSError | None = None
        self._misc: asyncio.TimerHandle | None = None
        self._client = self._make_client()

    def _make_client(self) -> Client:
        broker = self._broker
        client = Client(
            callback_api_version=CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if broker.version_5 else True,
            protocol=broker.protocol,
            reconnect_on_failure=False,
        )
        client.enable_logger(_PAHO_LOGGER)
        client.connect_timeout = broker.connect_timeout
        # What is not acknowledged is sent again by whoever keeps it, not by paho.
        client.max_inflight_messages_set(0)
        if broker.tls is not None:
            broker.tls.sslsocket_class = WatchedSocket
            client.tls_set_context(broker.tls)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password and broker.password())
        if (will := broker.last_will) is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_socket_register_write
        client.on_socket_unregister_write = self._on_socket_unregister_write
        return client

    # Life

    async def open(self) -> None:
        """Connect; raises CloudError that says why not."""
        broker = self._broker
        connecting = self._loop.run_in_executor(
            None, self._client.connect, broker.host, broker.port, broker.keepalive
        )
        try:
            await asyncio.shield(connecting)
            async with asyncio.timeout(broker.connect_timeout):
                await asyncio.wait([self._connected])
            self._connected.result()
        except asyncio.CancelledError:
            # The executor can't be stopped: what it still opens is closed when it is done.
            connecting.add_done_callback(self._discard)
            await asyncio.wait([connecting], timeout=CLOSE_TIMEOUT)
            raise
        except TimeoutError as err:
            self.abort()
            raise ConnectTimeout("the broker did not answer in time") from err
        except (OSError, UnicodeError) as err:
            self.abort()
            raise why_not_connected(err) from err
        except CloudError:
            self.abort()
            raise

    async def ended(self) -> bool:
        """Wait for the end; return whether it was the broker that closed the connection."""
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        """Say good-bye, as far as the broker listens."""
        try:
            if not self._ended.done():
                self._client.disconnect()
                await asyncio.wait([self._ended], timeout=CLOSE_TIMEOUT)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once; everything that waits fails."""
        if (sock := self._socket) is not None:
            self._forget(sock)
            sock.close()
        self._end(by_broker=False)

    # Traffic

    @property
    def in_flight(self) -> int:
        """How many answers of the broker are awaited."""
        return len(self._waiting)

    def send(self, topic: str, payload: bytes) -> asyncio.Future[None]:
        """Send a message with QoS 1; the future is done at its acknowledgement."""
        info = self._client.publish(topic, payload, qos=1)
        return self._answer(info.rc, info.mid)

    async def allow(self, topic_filter: str) -> bool:
        """Subscribe; return whether the broker allows it."""
        result, mid = self._client.subscribe(topic_filter, qos=1)
        codes: Sequence[ReasonCode] = await self._answer(result, mid)
        return not any(code.is_failure for code in codes)

    def drop(self, topic_filter: str) -> None:
        """Unsubscribe; nobody waits for the answer."""
        self._client.unsubscribe(topic_filter)

    def _answer(self, result: MQTTErrorCode, mid: int | None) -> asyncio.Future[Any]:
        if mid is None or result != MQTTErrorCode.MQTT_ERR_SUCCESS or self._ended.done():
            raise CloudUnavailable("there is no connection to the broker", sent=False)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[mid] = future
        return future

    # What paho asks of the loop

    def _on_socket_open(self, _client: Client, _userdata: Any, sock: SocketLike) -> None:
        """Take the new socket over from the executor thread that opened it."""
        self._loop.call_soon_threadsafe(self._watch, sock)

    def _watch(self, sock: SocketLike) -> None:
        if self._ended.done():
            sock.close()
        elif sock.fileno() >= 0:
            self._socket = sock
            self._loop.add_reader(sock, self._read)
            self._look_after()

    def _on_socket_register_write(self, _client: Client, _userdata: Any, sock: SocketLike) -> None:
        # The first packet is queued by the thread that connects, the others on the loop.
        self._loop.call_soon_threadsafe(self._watch_write, sock)

    def _watch_write(self, sock: SocketLike) -> None:
        if sock is self._socket and self._client.want_write():
            self._loop.add_writer(sock, self._write)

    def _on_socket_unregister_write(
        self, _client: Client, _userdata: Any, sock: SocketLike
    ) -> None:
        if sock is self._socket:
            self._loop.remove_writer(sock)

    def _on_socket_close(self, _client: Client, _userdata: Any, sock: SocketLike) -> None:
        if sock is self._socket:
            self._forget(sock)

    def _forget(self, sock: SocketLike) -> None:
        self._socket = None
        self._failure = getattr(sock, "failure", None)
        if self._misc is not None:
            self._misc.cancel()
            self._misc = None
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)

    def _read(self) -> None:
        self._client.loop_read(MOST_PACKETS)

    def _write(self) -> None:
        self._client.loop_write()

    def _look_after(self) -> None:
        """Have pings sent and missed ones noticed."""
        if self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._misc = self._loop.call_later(MISC_EVERY, self._look_after)

    # What paho says

    def _on_connect(
        self,
        _client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason_code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._connected.done():
            return
        if reason_code.is_failure:
            code = reason_code.value
            self._connected.set_exception(why_refused(_RETURN_CODES.get(code, code)))
        else:
            self._connected.set_result(None)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        said = flags.is_disconnect_packet_from_server
        self._end(by_broker=said or reason_code.value not in {0, KEEPALIVE_TIMEOUT})

    def _on_publish(
        self,
        _client: Client,
        _userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        _properties: Properties,
    ) -> None:
        """Pass on an acknowledgement; one of MQTT 5 can be a refusal."""
        if (future := self._taken(mid)) is None:
            return
        if reason_code.is_failure:
            future.set_exception(MessageRefused(f"the broker refuses it: {reason_code}"))
        else:
            future.set_result(None)

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: Any,
        mid: int,
        reason_codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if (future := self._taken(mid)) is not None:
            future.set_result(reason_codes)

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        # A mistake in a callback must not end the connection.
        payload = bytes(message.payload)
        self._loop.call_soon(self._on_payload, topic, payload, message.retain)

    # The end

    def _taken(self, mid: int) -> asyncio.Future[Any] | None:
        future = self._waiting.pop(mid, None)
        return None if future is None or future.done() else future

    def _end(self, *, by_broker: bool) -> None:
        """End once: fail the attempt to connect, or all that waits for an answer."""
        if self._ended.done():
            return
        self._ended.set_result(by_broker)
        if not self._connected.done():
            self._connected.set_exception(self._why_never_connected())
            self._connected.exception()
        self._on_end()
        waiting, self._waiting = self._waiting, {}
        lost = [future for future in waiting.values() if not future.done()]
        for future in lost:
            future.set_exception(ConnectionEnded(closed_by_broker=by_broker, in_flight=len(lost)))

    def _why_never_connected(self) -> CloudError:
        if self._failure is None:
            return CannotConnect("the broker closed the connection")
        return why_not_connected(self._failure)

    def _discard(self, connecting: asyncio.Future[Any]) -> None:
        if not connecting.cancelled():
            connecting.exception()
        self.abort()


_RETURN_CODES = {134: 4, 135: 5}
"""Reasons of MQTT 5, by which paho names the return codes of MQTT 3.1.1 too."""
