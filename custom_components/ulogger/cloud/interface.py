"""What every cloud must offer, what it stands on, and how both fail."""

from collections.abc import Awaitable, Callable
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
    that this very message is the cause and others may pass, ``reason`` names the case.
    """

    retryable = True
    about_message = False
    reason = "cloud_failed"


class CloudUnavailable(CloudError):
    """There is no connection, or it was lost before the acknowledgement came."""

    reason = "cloud_unreachable"


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

    async def deliver(self, capture: Capture) -> None:
        """Return once the cloud has acknowledged the capture; raises CloudError."""

    async def forget(self, key: DeviceKey) -> None:
        """Forget what is known of a device."""
