"""From the rooms' errors to what a user reads: by their reason, never by their wording."""

from collections.abc import Iterator
from contextlib import contextmanager

from homeassistant.exceptions import HomeAssistantError

from .agent.errors import AgentError
from .cloud.interface import CloudError
from .const import DOMAIN
from .outbox.errors import OutboxError
from .room import NoRoom
from .visit import VisitError

type RoomError = AgentError | CloudError | NoRoom | OutboxError | VisitError


def _reasons(*families: type[RoomError]) -> list[str]:
    found: dict[str, None] = {}
    for family in families:
        found[family.reason] = None
        found.update(dict.fromkeys(_reasons(*family.__subclasses__())))
    return list(found)


REASONS = _reasons(AgentError, VisitError, OutboxError, NoRoom, CloudError)
"""Every reason that a user can be shown; each has a translation."""


@contextmanager
def translated(device: str) -> Iterator[None]:
    """Turn what a room raises into an error that says what happened to *device*."""
    try:
        yield
    except (AgentError, VisitError, OutboxError, NoRoom, CloudError) as err:
        raise HomeAssistantError(
            translation_domain=DOMAIN,
            translation_key=err.reason,
            translation_placeholders={"device": device, "detail": str(err)},
        ) from err
