"""What can go wrong with a device, and whether trying again can help."""

from ..model.reason import Reason


class AgentError(Exception):
    """A session failed; the device keeps whatever was not committed.

    ``reason`` is a stable word for messages and translations. ``stale_cache`` says that
    the client's cached GATT table may be the cause: clear it, connect again, once.
    """

    retryable = True
    reason = Reason.AGENT
    stale_cache = False


class LinkLost(AgentError):
    """The connection broke, or the Bluetooth stack failed an operation."""

    reason = Reason.LINK_LOST


class NoAnswer(AgentError):
    """The link stands, but the device stopped answering."""

    reason = Reason.NO_ANSWER


class BadChunks(AgentError):
    """The device answers, but with chunks that contradict each other or say nothing."""

    reason = Reason.BAD_CHUNKS


class StaleTransfer(AgentError):
    """The log has grown since the device fixed the transfer's length.

    Its header speaks of more than the transfer brings, so that it can't become whole. Only a
    disconnect ends such a transfer: connect again, and be there before the device's own tick.
    """

    reason = Reason.STALE_TRANSFER


class ChecksumFailed(AgentError):
    """The capture was fetched several times and is not whole; the device keeps it."""

    reason = Reason.CHECKSUM


class NotAnAgent(AgentError):
    """A characteristic that the protocol needs is missing."""

    retryable = False
    reason = Reason.NOT_AN_AGENT
    stale_cache = True


class SubscribeFailed(AgentError):
    """The device would not notify."""

    reason = Reason.SUBSCRIBE_FAILED
    stale_cache = True


class BadIdentification(AgentError):
    """The device's identification can't be used; asking again would not change it."""

    retryable = False
    reason = Reason.BAD_IDENTIFICATION


class BadLogConfig(AgentError):
    """The log configuration is not one that a device can take."""

    retryable = False
    reason = Reason.BAD_LOG_CONFIG
