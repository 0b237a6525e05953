"""What every cloud must offer, what it stands on, and how both fail."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Protocol

from ..capture.model import Capture, DeviceKey

type MessageCallback = Callable[[str, bytes, bool], None]
"""Topic and payload of a message, and whether the broker had retained it, and so may send it
again with each subscription; called on the event loop, must not block."""
type Unsubscribe = Callable[[], Awaitable[None]]


class CloudError(Exception):
    """The cloud did not do what it was asked.

    ``retryable`` says whether the same can help later without anybody's help, ``about_message``
    that this very message is the cause and others may pass, ``about_kind`` that it is all of its
    kind, ``reason`` names the case. ``retry_after`` is not 0 where nothing was sent at all, and
    won't be before so many seconds have passed.
    """

    retryable = True
    about_message = False
    about_kind = False
    retry_after = 0.0
    reason = "cloud_failed"


class CloudUnavailable(CloudError):
    """There is no connection, or it was lost before the acknowledgement came.

    ``sent`` says whether the message may have left.
    """

    reason = "cloud_unreachable"

    def __init__(self, detail: str = "", *, sent: bool = True) -> None:
        """Say what is missing."""
        super().__init__(detail)
        self.sent = sent


class UnknownHost(CloudUnavailable):
    """The broker's name has no address."""

    reason = "unknown_host"


class CannotConnect(CloudUnavailable):
    """Nothing answers at the broker's address."""

    reason = "cannot_connect"


class ConnectTimeout(CloudUnavailable):
    """The broker did not answer in time."""

    reason = "timeout"


class Untrusted(CloudUnavailable):
    """The broker's certificate is not trusted. Nothing is ever sent without that trust."""

    reason = "tls_untrusted"


class NotAcknowledged(CloudUnavailable):
    """The broker took a message and never acknowledged it."""

    reason = "not_acknowledged"


class HeldBack(CloudUnavailable):
    """The broker closed the connection on the like of this: it goes later, alone."""

    reason = "held_back"

    def __init__(self, detail: str, seconds: float) -> None:
        """Say why, and for how many seconds."""
        super().__init__(f"{detail}; it is tried again in {seconds:.0f} s")
        self.retry_after = seconds


class TopicDenied(CloudError):
    """The broker closes the connection on every message on ``topic``; it is tried ever less often.

    ``one_message`` says that only this message was tried yet: another one may still pass.
    """

    about_kind = True
    reason = "topic_denied"

    def __init__(self, topic: str, seconds: float, *, one_message: bool = False) -> None:
        """Name the topic, and in how many seconds it is tried again."""
        super().__init__(f"the broker closes the connection on every message on {topic}")
        self.topic = topic
        self.retry_after = seconds
        self.one_message = one_message


class CredentialsRefused(CloudError):
    """The broker refuses the client's certificate."""

    retryable = False
    reason = "certificate_refused"


class NotAuthorised(CredentialsRefused):
    """The certificate is good, but the broker does not let this customer in."""

    reason = "not_authorised"


class ApiTokenRefused(CredentialsRefused):
    """The HTTP API refuses the customer's token."""

    reason = "api_token_refused"


class MessageRefused(CloudError):
    """The cloud refuses this message each time."""

    retryable = False
    about_message = True
    reason = "message_refused"


class MessageTooLarge(MessageRefused):
    """The message is larger than the cloud takes, and can't be split."""

    reason = "message_too_large"


class InvalidMessage(MessageRefused):
    """The message is not something that the cloud could understand."""

    reason = "invalid_message"


class InvalidSerial(MessageRefused):
    """The device's serial would change the structure of a topic."""

    reason = "invalid_serial"


class RegistrationFailed(CloudError):
    """The cloud gave no usable session token."""

    reason = "registration_failed"

    def __init__(self, detail: str, seconds: float = 0.0) -> None:
        """Say why, and for how many seconds nobody should try again."""
        super().__init__(detail)
        self.retry_after = seconds


class RegistrationDenied(TopicDenied):
    """The broker closes the connection on every registration."""

    reason = "registration_denied"


class SubscriptionRefused(CloudError):
    """The broker does not let us hear what the cloud answers."""

    reason = "subscription_refused"


class TransportState(StrEnum):
    """How a transport stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CREDENTIALS_REFUSED = "credentials_refused"
    TAKEN_OVER = "taken_over"


class Transport(Protocol):
    """An MQTT connection, whoever owns it.

    Messages go out with QoS 1 and are never retained.
    """

    on_state: Callable[[TransportState], None] | None
    on_denied: Callable[[], None] | None = None
    """Called when `denied_topics` has changed."""

    @property
    def denied_topics(self) -> Sequence[str]:
        """The topics on which the broker closes the connection each time."""
        return ()

    def forgive(self) -> None:
        """Try at once what the broker denied: its policy may have been changed."""
        return

    @property
    def connected(self) -> bool:
        """Whether a message could be sent now."""

    @property
    def state(self) -> TransportState:
        """How the connection stands."""

    async def run(self) -> None:
        """Keep the connection until cancelled."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Return once the broker has acknowledged the message; raises CloudError."""

    async def subscribe(
        self,
        topic_filter: str,
        callback: MessageCallback,
        on_refused: Callable[[], None] | None = None,
        *,
        on_allowed: Callable[[], None] | None = None,
        rank: Callable[[], float] | None = None,
    ) -> Unsubscribe:
        """Have ``callback`` called for each message, over all reconnections.

        Returns once it is known what comes of it, at once without a connection. ``on_refused``
        is called when the broker does not allow the filter, now or later, and ``on_allowed``
        when it does. Where not all can be listened to at once, those of the highest ``rank``
        come first; without one it must be listened to.
        """

    async def subscribed(self, topic_filter: str) -> bool:
        """Wait until the broker has answered for a filter that is subscribed to, and tell.

        False when it refuses, or when the filter waits for its turn. Raises CloudUnavailable
        without a connection.
        """


class Cloud(Protocol):
    """A cloud that takes captures."""

    @property
    def connected(self) -> bool:
        """Whether a capture could be delivered now."""

    def ready(self, capture: Capture) -> bool:
        """Whether the capture could go at once; `prepare` makes it so."""
        return True

    async def prepare(self, capture: Capture) -> None:
        """Get what the capture needs before it can go; may take long; raises CloudError."""

    async def deliver(self, capture: Capture) -> None:
        """Return once the cloud has acknowledged the capture; raises CloudError."""

    async def forget(self, key: DeviceKey) -> None:
        """Forget what is known of a device."""
