"""From the rooms' errors to what a user reads: by their reason, never by their wording.

A user reads what happened to which device and what to do; how it came about is for the log.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError

from .account.disk_space import NoDiskSpace
from .account.key_store import SecretsNotKept
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
from .gateway.unit_words import why_kept
from .model.plain_text import one_line, plain_text
from .outbox.errors import OutboxError

_LOGGER = logging.getLogger(__name__)

CALLERS_MISTAKES = frozenset(
    {
        RestFailure.INVALID,
        RestFailure.NOT_A_UUID,
        RestFailure.NOT_FOUND,
        RestFailure.TOO_LARGE,
    }
)


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
def unit_errors(hass: HomeAssistant, unit: str) -> Iterator[None]:
    """Turn what Pepeunit or a file of its raises into an error that says what happened."""
    try:
        yield
    except (CloudError, InvalidFile, SecretsNotKept, ArchiveRefused, CipherError) as err:
        kind, key, detail = _said(hass, unit, err)
        _LOGGER.info("%s: %s (%s)", unit, one_line(err), key)
        raise kind(
            translation_domain=DOMAIN,
            translation_key=key,
            translation_placeholders={"device": unit, "detail": detail},
        ) from err


def _said(
    hass: HomeAssistant, unit: str, err: Exception
) -> tuple[type[HomeAssistantError], str, str]:
    """Return whose mistake an error is, the key of its text, and the detail."""
    match err:
        case RestError(failure=failure) if failure in CALLERS_MISTAKES:
            return ServiceValidationError, str(failure), err.detail
        case RestError():
            return HomeAssistantError, str(err.failure), err.detail
        case ArchiveRefused():
            return HomeAssistantError, err.problem, plain_text(err.detail)
        case CipherError():
            return ServiceValidationError, err.problem, ""
        case CloudError():
            return HomeAssistantError, err.reason, ""
    return HomeAssistantError, "pepeunit_file", why_kept(hass, unit, "JSON", err)
