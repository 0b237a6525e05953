"""From the rooms' errors to what a user reads: by their reason, never by their wording.

A user reads what happened to which device and what to do; how it came about is for the log.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from homeassistant.exceptions import HomeAssistantError

from .account.disk_space import NoDiskSpace
from .agent.errors import AgentError
from .cloud.errors import CloudError
from .collecting.connection import ConnectError
from .const import DOMAIN
from .model.plain_text import one_line
from .outbox.errors import OutboxError

_LOGGER = logging.getLogger(__name__)


@contextmanager
def user_errors(device: str) -> Iterator[None]:
    """Turn what a room raises into an error that says what happened to *device*, by its name."""
    try:
        yield
    except (AgentError, ConnectError, OutboxError, NoDiskSpace, CloudError) as err:
        _LOGGER.info("%s: %s (%s)", device, one_line(err), err.reason)
        raise HomeAssistantError(
            translation_domain=DOMAIN,
            translation_key=err.reason,
            translation_placeholders={"device": device},
        ) from err
