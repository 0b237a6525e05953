"""What a person should look at of one Pepeunit unit."""

import time
from collections.abc import Iterator
from typing import Final

from homeassistant.helpers import issue_registry as ir

from ..cloud.destination import ConnectionState
from .issue import Issue
from .own_texts import own_text
from .pepeunit import ActivePepeunit
from .unit_words import why_kept

PATIENCE: Final = 3600.0


def unit_issues(unit: ActivePepeunit) -> Iterator[Issue]:
    """Go through what is not as it should be."""
    if unit.readable:
        yield Issue("pepeunit_readable", unit.id)
    if unit.destination.state is ConnectionState.CREDENTIALS_REFUSED or unit.updates.forbidden:
        yield Issue("pepeunit_refused", unit.id, severity=ir.IssueSeverity.ERROR)
    elif unit.destination.state is ConnectionState.CLIENT_ID_CONFLICT:
        yield Issue("pepeunit_conflict", unit.id)
    elif unit.disconnected_since is not None and time.time() - unit.disconnected_since >= PATIENCE:
        count = str(unit.counters.waiting)
        yield Issue("pepeunit_unreachable", unit.id, placeholders={"count": count})
    for topic in unit.destination.link.denied:
        about = f"{unit.id}-{topic}"
        yield Issue("pepeunit_denied", about, fixable=True, placeholders={"topic": topic})
    for which, failure in unit.updates.failures.items():
        file = f"{which}.json"
        why = why_kept(unit.account.hass, unit.title, file, failure)
        placeholders = {"file": file, "detail": why}
        yield Issue("pepeunit_file_kept", f"{unit.id}-{which}", placeholders=placeholders)
    for node in unit.destination.missing:
        yield Issue("pepeunit_node_gone", f"{unit.id}-{node}", placeholders={"node": node})
    if unit.updates.fetched:
        yield Issue(
            "pepeunit_firmware",
            unit.id,
            fixable=True,
            placeholders={
                "version": unit.updates.commit or "?",
                "images": ", ".join(unit.updates.images)
                or own_text(unit.account.hass, "common.no_images")
                or "",
            },
        )
