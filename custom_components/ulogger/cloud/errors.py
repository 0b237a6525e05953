"""What every cloud must offer, what it stands on, and how both fail."""

from ..model.reason import Reason


class CloudError(Exception):
    """The cloud did not do what it was asked.

    ``retryable`` says whether the same can help later without anybody's help, ``about_message``
    that this very message is the cause and others may pass, ``about_kind`` that it is all of its
    kind, ``final`` that the cloud wants to hear it never again, ``reason`` names the case.
    ``retry_after`` is not 0 where nothing was sent at all, and won't be before so many seconds
    have passed.
    """

    retryable = True
    about_message = False
    about_kind = False
    final = False
    retry_after = 0.0
    reason = Reason.CLOUD_FAILED


class CloudUnavailable(CloudError):
    """There is no connection, or it was lost before the acknowledgement came.

    ``sent`` says whether the message may have left.
    """

    reason = Reason.CLOUD_UNREACHABLE

    def __init__(self, detail: str = "", *, sent: bool = True) -> None:
        """Say what is missing."""
        super().__init__(detail)
        self.sent = sent


class UnknownHost(CloudUnavailable):
    """The broker's name has no address."""

    reason = Reason.UNKNOWN_HOST


class CannotConnect(CloudUnavailable):
    """Nothing answers at the broker's address."""

    reason = Reason.CANNOT_CONNECT


class ConnectTimeout(CloudUnavailable):
    """The broker did not answer in time."""

    reason = Reason.TIMEOUT


class Untrusted(CloudUnavailable):
    """The broker's certificate is not trusted. Nothing is ever sent without that trust."""

    reason = Reason.TLS_UNTRUSTED


class NotAcknowledged(CloudUnavailable):
    """The broker took a message and never acknowledged it."""

    reason = Reason.NOT_ACKNOWLEDGED


class HeldBack(CloudUnavailable):
    """The broker closed the connection on the like of this: it goes later, alone."""

    reason = Reason.HELD_BACK

    def __init__(self, detail: str, seconds: float) -> None:
        """Say why, and for how many seconds."""
        super().__init__(f"{detail}; it is tried again in {seconds:.0f} s")
        self.retry_after = seconds


class TopicDenied(CloudError):
    """The broker closes the connection on every message on ``topic``; it is tried ever less often.

    ``one_message`` says that only this message was tried yet: another one may still pass.
    """

    about_kind = True
    reason = Reason.TOPIC_DENIED

    def __init__(self, topic: str, seconds: float, *, one_message: bool = False) -> None:
        """Name the topic, and in how many seconds it is tried again."""
        super().__init__(f"the broker closes the connection on every message on {topic}")
        self.topic = topic
        self.retry_after = seconds
        self.one_message = one_message


class CredentialsRefused(CloudError):
    """The broker refuses the client's certificate."""

    retryable = False
    reason = Reason.CERTIFICATE_REFUSED


class NotAuthorised(CredentialsRefused):
    """The certificate is good, but the broker does not let this customer in."""

    reason = Reason.NOT_AUTHORISED


class ApiTokenRefused(CredentialsRefused):
    """The HTTP API refuses the customer's token."""

    reason = Reason.API_TOKEN_REFUSED


class MessageRefused(CloudError):
    """The cloud refuses this message each time."""

    retryable = False
    about_message = True
    reason = Reason.MESSAGE_REFUSED


class MessageTooLarge(MessageRefused):
    """The message is larger than the cloud takes, and can't be split."""

    reason = Reason.MESSAGE_TOO_LARGE


class InvalidMessage(MessageRefused):
    """The message is not something that the cloud could understand."""

    reason = Reason.INVALID_MESSAGE


class InvalidSerial(MessageRefused):
    """The device's serial would change the structure of a topic."""

    reason = Reason.INVALID_SERIAL


class RegistrationFailed(CloudError):
    """The cloud gave no usable session token."""

    reason = Reason.REGISTRATION_FAILED

    def __init__(self, detail: str, seconds: float = 0.0) -> None:
        """Say why, and for how many seconds nobody should try again."""
        super().__init__(detail)
        self.retry_after = seconds


class RegistrationDenied(TopicDenied):
    """The broker closes the connection on every registration."""

    reason = Reason.REGISTRATION_DENIED


class SubscriptionRefused(CloudError):
    """The broker does not let us hear what the cloud answers."""

    reason = Reason.SUBSCRIPTION_REFUSED
