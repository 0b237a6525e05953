"""What can be wrong with a gateway at a UDMI site, as repairs."""

import time
from collections.abc import Iterator
from typing import Final

from homeassistant.helpers import issue_registry as ir

from ..cloud.destination import ConnectionState
from ..model.reason import Reason
from .issue import Issue
from .own_texts import own_reason
from .udmi_site import ActiveUdmi

PATIENCE: Final = 3600.0
ATTACH_PATIENCE: Final = 600.0


def site_issues(active: ActiveUdmi) -> Iterator[Issue]:
    """Say what is wrong with a gateway."""
    destination, about = active.destination, active.id
    failure = destination.link.failure
    placeholders = {
        "destination": active.title,
        "broker": destination.link.target.endpoint.address,
        "detail": own_reason(
            active.account.hass, Reason.CLOUD_UNREACHABLE if failure is None else failure.reason
        ),
        "count": str(active.counters.waiting),
    }
    if destination.off:
        said = {**placeholders, "mode": destination.off}
        yield Issue("udmi_shut_down", about, fixable=True, placeholders=said)
        return
    since = active.disconnected_since
    match destination.state:
        case ConnectionState.CREDENTIALS_REFUSED:
            severity = ir.IssueSeverity.ERROR
            yield Issue(
                "udmi_refused",
                about,
                severity=severity,
                placeholders=placeholders,
                detail=str(failure or ""),
            )
        case ConnectionState.CLIENT_ID_CONFLICT:
            yield Issue("udmi_name_conflict", about, placeholders=placeholders)
        case _ if since is not None and time.time() - since >= PATIENCE:
            detail = str(failure or "")
            yield Issue("udmi_unreachable", about, placeholders=placeholders, detail=detail)
    if (asked := active.asked) is not None:
        said = {**placeholders, "host": asked.address}
        severity = ir.IssueSeverity.ERROR
        yield Issue("udmi_redirect", about, fixable=True, severity=severity, placeholders=said)
    lasts = active.ready_since is not None and time.time() - active.ready_since >= ATTACH_PATIENCE
    if lasts and (waiting := active.waiting_proxies):
        said = {**placeholders, "proxies": ", ".join(waiting)}
        yield Issue("udmi_not_attached", about, placeholders=said)
