"""Why the panel does not get what it asks for: a text that its user's browser translates."""

from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.const import ERR_NOT_FOUND

from ..const import DOMAIN
from ..outbox.errors import OutboxError
from .messages import Failure

ENGLISH = {
    "account_not_loaded": "The account is not loaded.",
    "core_dump_unreadable": "The core dump tells nothing.",
    "crash_gone": "There is no such crash.",
    "device_gone": "The device is not collected.",
    "line_gone": "The capture has no such line.",
}
"""What programs read, which have no translations."""


def send_not_found(connection: ActiveConnection, message_id: int, key: str) -> None:
    """Say that something is not there; ``key`` names the text among ``exceptions``."""
    connection.send_error(
        message_id, ERR_NOT_FOUND, ENGLISH[key], translation_domain=DOMAIN, translation_key=key
    )


def send_failure(
    connection: ActiveConnection, message_id: int, err: OutboxError, device: str
) -> None:
    """Say that the disk fails, for a device by its name."""
    said = failure(err, device)
    connection.send_error(
        message_id,
        said["code"],
        said["message"],
        translation_domain=said["translation_domain"],
        translation_key=said["translation_key"],
        translation_placeholders=dict(said["translation_placeholders"]),
    )


def failure(err: OutboxError, device: str) -> Failure:
    """Return a failure as Home Assistant's frontend takes errors."""
    return {
        "code": str(err.reason),
        "message": str(err),
        "translation_domain": DOMAIN,
        "translation_key": str(err.reason),
        "translation_placeholders": {"device": device},
    }
