"""What can go wrong with a device, and whether trying again can help."""


class AgentError(Exception):
    """A session failed; the device keeps whatever was not committed.

    ``reason`` is a stable word for messages and translations. ``stale_cache`` says that
    the client's cached GATT table may be the cause: clear it, connect again, once.
    """

    retryable = True
    reason = "agent"
    stale_cache = False


class LinkLost(AgentError):
    """The connection broke, or the Bluetooth stack failed an operation."""

    reason = "link_lost"


class NoAnswer(AgentError):
    """The link stands, but the device stopped answering."""

    reason = "no_answer"


class BadChunks(AgentError):
    """The device answers, but with chunks that contradict each other or say nothing."""

    reason = "bad_chunks"


class StaleTransfer(AgentError):
    """The log has grown since the device fixed the transfer's length.

    Its header speaks of more than the transfer brings, so that it can't become whole. Only a
    disconnect ends such a transfer: connect again, and be there before the device's own tick.
    """

    reason = "stale_transfer"


class ChecksumFailed(AgentError):
    """The capture was fetched several times and is not whole; the device keeps it."""

    reason = "checksum"


class NotAnAgent(AgentError):
    """A characteristic that the protocol needs is missing."""

    retryable = False
    reason = "not_an_agent"
    stale_cache = True


class SubscribeFailed(AgentError):
    """The device would not notify."""

    reason = "subscribe_failed"
    stale_cache = True


class BadIdentification(AgentError):
    """The device's identification can't be used; asking again would not change it."""

    retryable = False
    reason = "bad_identification"


class BadLogConfig(AgentError):
    """The log configuration is not one that a device can take."""

    retryable = False
    reason = "bad_log_config"
