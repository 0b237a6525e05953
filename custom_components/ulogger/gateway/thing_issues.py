"""What can be wrong with a thing at Clesyde, as repairs."""

import time
from collections.abc import Iterator
from typing import Final

from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util

from ..cloud.destination import ConnectionState, OffersRemoteAccess
from .destinations import ActiveDestination
from .issue import Issue

CERTIFICATE_NOTICE: Final = 30 * 24 * 3600.0
CLOUD_PATIENCE: Final = 3600.0
REMOTE_PATIENCE: Final = 600.0
REMOTE_CERTIFICATE_NOTICE: Final = 7 * 24 * 3600.0
"""Seconds; it is rotated without a person, so less notice is enough."""


def thing_issues(active: ActiveDestination) -> Iterator[Issue]:
    """Say what is wrong with a thing."""
    placeholders = {"destination": active.title, "count": str(active.counters.waiting)}
    match active.destination.state:
        case ConnectionState.CREDENTIALS_REFUSED:
            severity = ir.IssueSeverity.ERROR
            yield Issue("clesyde_refused", active.id, severity=severity, placeholders=placeholders)
        case ConnectionState.CLIENT_ID_CONFLICT:
            yield Issue("clesyde_name_conflict", active.id, placeholders=placeholders)
    for topic in active.destination.denied_topics:
        said = {**placeholders, "topic": topic}
        yield Issue("clesyde_denied", f"{active.id}-{topic}", fixable=True, placeholders=said)
    if isinstance(active.destination, OffersRemoteAccess):
        yield from _with_keys(active, active.destination, placeholders)


def _with_keys(
    active: ActiveDestination, thing: OffersRemoteAccess, placeholders: dict[str, str]
) -> Iterator[Issue]:
    """Say what is wrong with a thing that has its keys."""
    now, about = time.time(), active.id
    since = active.disconnected_since
    if since is not None and now - since >= CLOUD_PATIENCE:
        yield Issue("clesyde_unreachable", about, placeholders=placeholders)
    date = dt_util.utc_from_timestamp(thing.certificate_expires_at).date().isoformat()
    if thing.certificate_expires_at - now <= CERTIFICATE_NOTICE:
        said = {**placeholders, "date": date}
        yield Issue("clesyde_certificate_expires", about, placeholders=said)
    if not thing.remote_wanted:
        return
    date = dt_util.utc_from_timestamp(thing.remote_certificate_expires_at).date().isoformat()
    if thing.remote_certificate_expires_at - now <= REMOTE_CERTIFICATE_NOTICE:
        said = {**placeholders, "date": date}
        yield Issue("remote_certificate_expires", about, placeholders=said)
    if (failure := thing.remote_failure) is None or now - failure[1] < REMOTE_PATIENCE:
        return
    match failure[0]:
        case "starting":
            return
        case "no_token":
            yield Issue("remote_no_token", about, placeholders=placeholders)
        case "certificate":
            yield Issue("remote_certificate_unusable", about, placeholders=placeholders)
        case _:
            yield Issue("remote_no_tunnel", about, placeholders=placeholders)
