"""From the rooms' errors to what a user reads: by their reason, never by their wording.

A user reads what happened to which device and what to do; how it came about is for the log.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from homeassistant.exceptions import HomeAssistantError, ServiceValidationError

from .account.disk_space import NoDiskSpace
from .agent.errors import AgentError
from .cloud.errors import CloudError
from .cloud.pepeunit.errors import (
    ArchiveRefused,
    CipherError,
    InvalidFile,
    RestError,
    RestFailure,
)
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


@contextmanager
def unit_errors(unit: str) -> Iterator[None]:
    """Turn what Pepeunit or a file of its raises into an error that says what happened."""
    try:
        yield
    except (CloudError, InvalidFile, ArchiveRefused, CipherError) as err:
        kind, key, detail = _said(err)
        raise kind(
            translation_domain=DOMAIN,
            translation_key=key,
            translation_placeholders={"device": unit, "detail": detail},
        ) from err


def _said(err: Exception) -> tuple[type[HomeAssistantError], str, str]:
    """Return whose mistake an error is, the key of its text, and the detail."""
    match err:
        case RestError(failure=RestFailure.INVALID | RestFailure.NOT_FOUND | RestFailure.TOO_LARGE):
            return ServiceValidationError, str(err.failure), err.detail
        case RestError():
            return HomeAssistantError, str(err.failure), err.detail
        case ArchiveRefused():
            return HomeAssistantError, err.problem, err.detail
        case CipherError():
            return ServiceValidationError, err.problem, ""
        case CloudError():
            return HomeAssistantError, err.reason, str(err)
    return HomeAssistantError, "pepeunit_file", str(err)
