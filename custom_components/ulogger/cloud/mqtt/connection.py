"""One MQTT connection on the event loop: aiomqtt's, which also tells at once how it ended."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any, override

import aiomqtt
from aiomqtt.types import PahoSocket
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ..errors import CannotConnect, CloudError, CloudUnavailable
from .failures import why_not_connected, why_refused

_LOGGER = logging.getLogger(__name__)
_PAHO_LOGGER = logging.getLogger(f"{__name__}.paho")
# paho calls each lost connection an error; whoever looks for one switches debugging on.
_PAHO_LOGGER.addFilter(lambda _record: _LOGGER.isEnabledFor(logging.DEBUG))

CLOSE_TIMEOUT = 2.0
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


class MqttConnection(aiomqtt.Client):
    """One connection, from `open` to `close`. A new one is made for each attempt.

    Acknowledgements fail at the moment the connection ends, instead of after a time limit,
    and a refused certificate is told from a broker that does not answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        *,
        client_id: str,
        keepalive: int,
        connect_timeout: float,
        on_message: Callable[[str, bytes, bool], None],
        on_end: Callable[[], None],
    ) -> None:
        context.sslsocket_class = WatchedSocket
        super().__init__(
            host,
            port,
            identifier=client_id,
            tls_context=context,
            keepalive=keepalive,
            timeout=connect_timeout,
            clean_session=True,
            logger=_PAHO_LOGGER,
        )
        # What is not acknowledged is sent again by whoever keeps it, not by paho.
        self._client.max_inflight_messages_set(0)
        self._on_payload = on_message
        self._on_end = on_end
        self._watched: PahoSocket | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    # Life

    async def open(self) -> None:
        """Connect; raises CloudError that says why not."""
        entering = asyncio.ensure_future(self.__aenter__())
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The executor can't be stopped: what it still opens is closed when it is done.
            entering.add_done_callback(self._discard)
            await asyncio.wait([entering], timeout=CLOSE_TIMEOUT)
            raise
        except aiomqtt.MqttError as err:
            self.abort()
            raise self._open_failure(err) from err

    async def ended(self) -> bool:
        """Wait for the end; tell whether it was the broker that closed the connection."""
        await asyncio.wait([self._disconnected])
        return self._closed_by_broker()

    async def close(self) -> None:
        """Say good-bye, as far as the broker listens."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.__aexit__(None, None, None)
        except TimeoutError, aiomqtt.MqttError, OSError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once; everything that waits fails."""
        self._client._sock_close()  # noqa: SLF001 - paho has no public way to close silently
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        self._fail_waiting()

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
        """Subscribe; tell whether the broker allows it."""
        result, mid = self._client.subscribe(topic_filter, qos=1)
        codes: Sequence[ReasonCode] = await self._answer(result, mid)
        return not any(code.is_failure for code in codes)

    def drop(self, topic_filter: str) -> None:
        """Unsubscribe; nobody waits for the answer."""
        self._client.unsubscribe(topic_filter)

    def _answer(self, result: MQTTErrorCode, mid: int | None) -> asyncio.Future[Any]:
        if mid is None or result != MQTTErrorCode.MQTT_ERR_SUCCESS or self._disconnected.done():
            raise CloudUnavailable("there is no connection to the broker", sent=False)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[mid] = future
        return future

    def _resolve(self, mid: int, result: object) -> None:
        future = self._waiting.pop(mid, None)
        if future is not None and not future.done():
            future.set_result(result)

    def _fail_waiting(self) -> None:
        self._on_end()
        waiting, self._waiting = self._waiting, {}
        lost = [future for future in waiting.values() if not future.done()]
        for future in lost:
            future.set_exception(
                ConnectionEnded(closed_by_broker=self._closed_by_broker(), in_flight=len(lost))
            )

    def _closed_by_broker(self) -> bool:
        if not self._disconnected.done() or (err := self._disconnected.exception()) is None:
            return False
        code = err.rc if isinstance(err, aiomqtt.MqttCodeError) else None
        return not (isinstance(code, ReasonCode) and code.value == KEEPALIVE_TIMEOUT)

    def _open_failure(self, err: aiomqtt.MqttError) -> CloudError:
        if isinstance(err, aiomqtt.exceptions.MqttConnectError):
            code = err.rc.value if isinstance(err.rc, ReasonCode) else err.rc
            return why_refused(_RETURN_CODES.get(code or 0, code or 0))
        if isinstance(cause := err.__context__, OSError):
            return why_not_connected(cause)
        failure = getattr(self._watched, "failure", None)
        if failure is None and isinstance(err, aiomqtt.MqttCodeError):
            return CannotConnect("the broker closed the connection")
        return why_not_connected(failure)

    def _discard(self, entering: asyncio.Future[Any]) -> None:
        if not entering.cancelled():
            entering.exception()
        self.abort()

    # What aiomqtt hears from paho

    @override
    def _on_socket_open(self, client: PahoClient, userdata: Any, sock: PahoSocket) -> None:
        self._watched = sock
        super()._on_socket_open(client, userdata, sock)

    @override
    def _on_connect(
        self,
        client: PahoClient,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        super()._on_connect(client, userdata, flags, reason_code, properties)

    @override
    def _on_disconnect(
        self,
        client: PahoClient,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        """Fail what waits; aiomqtt would let it wait for its time limit."""
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttCodeError(reason_code, "Closed"))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        self._fail_waiting()

    @override
    def _on_publish(
        self,
        client: PahoClient,
        userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        self._resolve(mid, None)

    @override
    def _on_subscribe(
        self,
        client: PahoClient,
        userdata: Any,
        mid: int,
        reason_codes: list[ReasonCode],
        properties: Properties | None = None,
    ) -> None:
        self._resolve(mid, reason_codes)

    @override
    def _on_unsubscribe(
        self,
        client: PahoClient,
        userdata: Any,
        mid: int,
        reason_codes: list[ReasonCode],
        properties: Properties | None = None,
    ) -> None:
        pass

    @override
    def _on_message(self, client: PahoClient, userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        # A mistake in a callback must not end the connection.
        payload = bytes(message.payload)
        self._loop.call_soon(self._on_payload, topic, payload, message.retain)


_RETURN_CODES = {134: 4, 135: 5}
"""MQTT 5 names by which paho tells the return codes of MQTT 3.1.1."""
