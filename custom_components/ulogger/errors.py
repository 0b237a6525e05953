"""From the rooms' errors to what a user reads: by their reason, never by their wording."""

from collections.abc import Iterator
from contextlib import contextmanager

from homeassistant.exceptions import HomeAssistantError

from .account.disk_space import NoDiskSpace
from .agent.errors import AgentError
from .cloud.errors import CloudError
from .collecting.connection import ConnectError
from .const import DOMAIN
from .outbox.errors import OutboxError


@contextmanager
def user_errors(device: str) -> Iterator[None]:
    """Turn what a room raises into an error that says what happened to *device*."""
    try:
        yield
    except (AgentError, ConnectError, OutboxError, NoDiskSpace, CloudError) as err:
        raise HomeAssistantError(
            translation_domain=DOMAIN,
            translation_key=err.reason,
            translation_placeholders={"device": device, "detail": str(err)},
        ) from err
