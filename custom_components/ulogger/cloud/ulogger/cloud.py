"""uLogger's cloud over any MQTT transport: captures up, log configurations down."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Protocol, override

from ...capture.errors import CaptureError
from ...capture.joining import Joined, join
from ...capture.log_buffer import check_log, with_session_token
from ...capture.timestamps import dated
from ...model.capture import Capture, CaptureKind
from ...model.identity import ULOGGER, DeviceIdentity, DeviceKey
from ...model.log_config import LogConfig
from ...model.telemetry import Event, Metric, TextLine
from ..destination import ConnectionState, Destination
from ..errors import CloudError, InvalidMessage, MessageTooLarge
from ..mqtt.transport import Transport
from .device_topics import DeviceTopics
from .messages import parse_log_config
from .registration import REPLY_TIMEOUT, Registrar
from .route import TelemetryRoute
from .telemetry import LARGEST_MESSAGE, MqttTelemetry, Sender
from .text_logs import Sequences, text_log_messages
from .tokens import TokenCache
from .topics import LONGEST_AT_AWS, Topics

WINDOW: Final = 20
"""Captures of one device that wait for their acknowledgement at once."""
LARGEST_JOINED: Final = 16_384
"""Bytes of a log that was made of several: no more than the memory of a usual device has."""


class Quota(Protocol):
    """What a device may send in a day."""

    def counted(self, key: DeviceKey, size: int) -> None:
        """Count bytes that a device has just sent."""

    def exhausted(self) -> Collection[DeviceKey]:
        """Name the devices that have sent on this UTC day what they may."""
        ...


class UloggerCloud(Destination):
    """One customer's group at uLogger. Every method that sends raises CloudError.

    ``http`` is a second way for metrics and events. ``quota`` counts what each device sends in
    a day, where there is a limit on that. ``topic_prefix`` stands before every topic when
    ``transport`` is a broker that bridges to uLogger; ``longest_topic`` is how many bytes of a
    topic the cloud's broker takes, without that prefix. ``on_log_config`` is called with each
    log configuration for a device that is followed (see `follow_log_config`), and whether the
    broker had retained it: then it may have come before.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        customer_id: int,
        group_id: int = 0,
        topic_prefix: str = "",
        longest_topic: int = LONGEST_AT_AWS,
        tokens: TokenCache,
        http: Sender | None = None,
        reply_timeout: float = REPLY_TIMEOUT,
    ) -> None:
        topics = Topics(customer_id, group_id, topic_prefix, longest_topic)
        self.id = ULOGGER
        self.transport = transport
        self.topics = topics
        self.route = TelemetryRoute(
            MqttTelemetry(transport, topics), lambda: self.transport.connected, http
        )
        self.tokens = tokens
        self.counters: Counter[str] = Counter()
        self.on_log_config: Callable[[DeviceKey, LogConfig, bool], None] | None = None
        self._registrar = Registrar(
            transport, topics, tokens, self.counters, reply_timeout=reply_timeout
        )
        self._configs = DeviceTopics(
            transport, topics.log_configs, topics.log_config, self._configured
        )
        self._followed: set[DeviceKey] = set()
        self._sequences = Sequences()
        self.quota: Quota | None = None

    # The connection

    @property
    def on_state(self) -> Callable[[ConnectionState], None] | None:
        """Called with each new state of the connection."""
        return self.transport.on_state

    @on_state.setter
    def on_state(self, listener: Callable[[ConnectionState], None] | None) -> None:
        self.transport.on_state = listener

    @property
    def on_denied(self) -> Callable[[], None] | None:
        """Called when the topics that the broker denies have changed."""
        return self.transport.on_denied

    @on_denied.setter
    def on_denied(self, listener: Callable[[], None] | None) -> None:
        self.transport.on_denied = listener

    @property
    @override
    def state(self) -> ConnectionState:
        """How the connection stands."""
        return self.transport.state

    @property
    @override
    def connected(self) -> bool:
        """Whether a capture could be delivered now."""
        return self.transport.connected

    @override
    async def run(self) -> None:
        """Keep the connection, and hear session tokens also where nobody asked for them."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.transport.run())
            tasks.create_task(self.listen_for_tokens())

    async def listen_for_tokens(self) -> None:
        """Hear tokens that the cloud pushes, over all reconnections.

        Registrations listen for theirs in any case.
        """
        with suppress(CloudError):
            await self._registrar.listen()

    @override
    def forgive(self) -> None:
        """Try at once what the broker denied: its policy may have been changed."""
        self.transport.forgive()

    # Captures

    @override
    def window(self, capture: Capture) -> int:
        """Return how many captures of a device may be under way: the connection keeps their order.

        Only one where a quota is counted, and where one of them may be what the broker closes
        the connection on.
        """
        topic = self.topics.core_dump
        if capture.kind is CaptureKind.LOG:
            topic = self.topics.binary_log(capture.device.application_id)
        return 1 if self.quota or self.transport.suspects(topic) else WINDOW

    @override
    def over_quota(self) -> Collection[DeviceKey]:
        """Name the devices whose logs must wait for the next UTC day."""
        return () if self.quota is None else self.quota.exhausted()

    def registered(self, device: DeviceIdentity) -> bool:
        """Whether the cloud has given this firmware of the device a session token."""
        return self.tokens.get(device) is not None

    @override
    def ready(self, capture: Capture) -> bool:
        """Whether the capture could go at once: a log needs its device's session token."""
        return capture.kind is not CaptureKind.LOG or self.tokens.get(capture.device) is not None

    @override
    async def prepare(self, capture: Capture) -> None:
        """Have the capture's device registered."""
        await self.register(capture.device)

    @override
    async def deliver(self, capture: Capture, capture_id: int = 0) -> None:
        """Return once the cloud has acknowledged the capture.

        A log without a time of its own is given that of its arrival. What was joined (see
        `join`) counts as the one message that it is.

        A log carries no serial: only its session token names the device. So a log whose
        device can't be registered stays where it is; it never goes up without a token.
        """
        capture = replace(capture, data=dated(capture))
        if len(capture.data) > LARGEST_MESSAGE:
            raise MessageTooLarge(f"a capture of {len(capture.data)} bytes")
        if capture.kind is CaptureKind.CORE_DUMP:
            await self.transport.publish(self.topics.core_dump, capture.data)
        else:
            await self._deliver_log(capture)
        self.counters["captures_delivered"] += 1
        if self.quota is not None:
            self.quota.counted(capture.device.key, len(capture.data))

    def join(self, before: Capture, captures: Sequence[Capture]) -> Joined | None:
        """Return one log that says what the first few of some say, if there is one.

        That saves messages, and of the device's daily limit the headers.
        """
        return join(before, captures, LARGEST_JOINED)

    async def register(self, device: DeviceIdentity) -> int:
        """Return the device's session token, registering it if need be."""
        return await self._registrar.token(device)

    @override
    async def forget(self, key: DeviceKey) -> None:
        """Forget a device's session token; it registers again next time."""
        await self.tokens.forget(key)

    async def _deliver_log(self, capture: Capture) -> None:
        try:
            check_log(capture.data)
        except CaptureError as err:
            raise InvalidMessage(f"the log can't be sent: {err}") from err
        token = await self.register(capture.device)
        await self.transport.publish(
            self.topics.binary_log(capture.device.application_id),
            with_session_token(capture.data, token),
        )

    # Metrics and events

    @property
    def takes_telemetry_now(self) -> bool:
        """Whether there is a way that could be tried now."""
        return self.route.available

    async def publish_metrics(self, metrics: Mapping[DeviceKey, Sequence[Metric]]) -> None:
        """Publish metrics of any devices."""
        await self.route.publish_metrics(metrics)

    async def publish_events(self, events: Mapping[DeviceKey, Sequence[Event]]) -> None:
        """Publish events of any devices."""
        await self.route.publish_events(events)

    # Text logs

    async def publish_text_log(self, device: DeviceIdentity, lines: Sequence[TextLine]) -> None:
        """Publish lines of text as a device's log."""
        messages = text_log_messages(device, lines, lambda: self._sequences.next(device.key))
        for message in messages:
            await self.transport.publish(self.topics.text_logs(device.application_id), message)

    # Log configurations

    async def follow_log_config(self, key: DeviceKey, identified_at: float = 0.0) -> None:
        """Have ``on_log_config`` called for a device, over all reconnections.

        Where the broker lets us hear a few devices only, those come first that were identified last
        (``identified_at``, Unix seconds; `device_identified` notes a later time).
        """
        self._followed.add(key)
        await self._configs.listen(key, identified_at)

    def device_identified(self, key: DeviceKey, at: float) -> None:
        """Note when a device that is followed was identified."""
        self._configs.identified(key, at)

    async def unfollow_log_config(self, key: DeviceKey) -> None:
        """Don't have ``on_log_config`` called for a device any longer."""
        self._followed.discard(key)
        await self._configs.leave(key)

    def _configured(self, key: DeviceKey | None, payload: bytes, retained: bool) -> None:  # noqa: FBT001
        if key is None or key not in self._followed:
            self.counters["log_configs_for_others"] += 1
            return
        try:
            config, names_readable = parse_log_config(payload)
        except InvalidMessage:
            self.counters["log_configs_invalid"] += 1
            return
        self.counters["log_configs"] += 1
        self.counters["log_config_names_invalid"] += not names_readable
        if self.on_log_config is not None:
            self.on_log_config(key, config, retained)

    # Diagnostics

    @override
    def diagnostics(self) -> Mapping[str, Any]:
        """Return counts of what was done and refused; nothing in it is secret."""
        return {
            "transport": dict(self.transport.diagnostics()),
            "counters": dict(self.counters),
            "tokens": len(self.tokens),
            "boot_wildcard_refused": self._registrar.wildcard_refused,
            "config_wildcard_refused": self._configs.wildcard_refused,
        }
