"""Why something failed, in one word: what people are shown, in their language."""

from enum import StrEnum


class Reason(StrEnum):
    """Every reason that an error of a room can have; each has a text in every language.

    The values are translation keys, states of the sensor *Last error*, and stored beside captures.
    """

    # A session with a device
    AGENT = "agent"
    LINK_LOST = "link_lost"
    NO_ANSWER = "no_answer"
    BAD_CHUNKS = "bad_chunks"
    STALE_TRANSFER = "stale_transfer"
    CHECKSUM = "checksum"
    NOT_AN_AGENT = "not_an_agent"
    SUBSCRIBE_FAILED = "subscribe_failed"
    BAD_IDENTIFICATION = "bad_identification"
    BAD_LOG_CONFIG = "bad_log_config"

    # The way to a device
    CONNECTION_FAILED = "connection_failed"
    OUT_OF_RANGE = "out_of_range"
    NO_ADAPTER = "no_adapter"
    NO_CONNECTION_SLOT = "no_connection_slot"
    SESSION_TOO_LONG = "session_too_long"
    INTERRUPTED = "interrupted"

    # Captures on disk
    OUTBOX_FAILED = "outbox_failed"
    DISK_FULL = "disk_full"
    DISK_FAILED = "disk_failed"
    OUTBOX_LOCKED = "outbox_locked"
    OUTBOX_DAMAGED = "outbox_damaged"
    OUTBOX_TOO_NEW = "outbox_too_new"
    OUTBOX_CLOSED = "outbox_closed"
    UNSTORABLE = "unstorable"
    NO_SUCH_CAPTURE = "no_such_capture"
    NO_ROOM = "no_room"

    # A cloud
    CLOUD_FAILED = "cloud_failed"
    CLOUD_UNREACHABLE = "cloud_unreachable"
    UNKNOWN_HOST = "unknown_host"
    CANNOT_CONNECT = "cannot_connect"
    TIMEOUT = "timeout"
    TLS_UNTRUSTED = "tls_untrusted"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    HELD_BACK = "held_back"
    TOPIC_DENIED = "topic_denied"
    CERTIFICATE_REFUSED = "certificate_refused"
    NOT_AUTHORISED = "not_authorised"
    API_TOKEN_REFUSED = "api_token_refused"  # noqa: S105 - a word
    MESSAGE_REFUSED = "message_refused"
    MESSAGE_TOO_LARGE = "message_too_large"
    INVALID_MESSAGE = "invalid_message"
    INVALID_SERIAL = "invalid_serial"
    REGISTRATION_FAILED = "registration_failed"
    REGISTRATION_DENIED = "registration_denied"
    SUBSCRIPTION_REFUSED = "subscription_refused"
    COLLECTOR_OVERLOADED = "collector_overloaded"
    NOT_A_COLLECTOR = "not_a_collector"
    REDIRECTED = "redirected"
    NOT_ATTACHED = "not_attached"

    # A directory
    FOLDER_FAILED = "folder_failed"
    FOLDER_MISSING = "folder_missing"
    FOLDER_FULL = "folder_full"
    FOLDER_UNWRITABLE = "folder_unwritable"
