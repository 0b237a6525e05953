"""How Pepeunit fails, and what of it a person can mend."""

from enum import StrEnum

from ...model.reason import Reason
from ..errors import CloudError, CloudUnavailable


class InvalidFile(Exception):
    """A file of the unit can't be taken: ``field`` is wrong as ``problem`` says.

    ``problem`` is a key of a message. ``field`` is the name in the file, empty for the whole.
    """

    def __init__(self, problem: str, field: str = "", detail: str = "") -> None:
        """Name the field and what is wrong with it."""
        super().__init__(": ".join(filter(None, (field, problem, detail))))
        self.problem = problem
        self.field = field
        self.detail = detail


class InvalidCommand(Exception):
    """A message on a command topic is no command."""


class CipherError(Exception):
    """A text can't be encrypted or decrypted; ``problem`` is a key of a message."""

    def __init__(self, problem: str) -> None:
        """Name the problem."""
        super().__init__(problem)
        self.problem = problem


class ArchiveRefused(Exception):
    """An update archive is not what it must be; ``problem`` is a key of a message."""

    def __init__(self, problem: str, detail: str = "") -> None:
        """Name the problem, and which part of the archive has it."""
        super().__init__(f"{problem}: {detail}" if detail else problem)
        self.problem = problem
        self.detail = detail


class RestFailure(StrEnum):
    """What the API did not do, as a key of a message."""

    FORBIDDEN = "pepeunit_forbidden"
    INVALID = "pepeunit_invalid"
    NOT_A_UUID = "pepeunit_not_a_uuid"
    NOT_FOUND = "pepeunit_not_found"
    UNREACHABLE = "pepeunit_unreachable"
    UNTRUSTED = "pepeunit_untrusted"
    TOO_LARGE = "pepeunit_too_large"
    FAILED = "pepeunit_failed"


class RestError(CloudError):
    """The API did not do what it was asked; ``detail`` is its own explanation."""

    def __init__(self, failure: RestFailure, detail: str = "") -> None:
        """Name the failure."""
        super().__init__(f"{failure}: {detail}" if detail else str(failure))
        self.failure = failure
        self.detail = detail
        if failure is RestFailure.FORBIDDEN:
            self.retryable = False
            self.reason = Reason.API_TOKEN_REFUSED
        elif failure is RestFailure.UNREACHABLE:
            self.reason = Reason.CLOUD_UNREACHABLE
        elif failure is RestFailure.UNTRUSTED:
            self.reason = Reason.TLS_UNTRUSTED


class SilentlyDenied(CloudUnavailable):
    """The broker acknowledges messages on ``topic`` and passes them on to nobody."""

    about_kind = True
    reason = Reason.TOPIC_DENIED

    def __init__(self, topic: str, seconds: float) -> None:
        """Name the topic, and in how many seconds it is tried again."""
        super().__init__(f"the broker drops what is sent on {topic}")
        self.topic = topic
        self.retry_after = seconds


class NoLogTopic(CloudError):
    """The unit's schema has no topic for logs."""

    reason = Reason.TOPIC_DENIED
    about_kind = True
    retry_after = 60.0
