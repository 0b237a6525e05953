"""The action that searches what devices logged, over all captures that are kept of them."""

from datetime import datetime

import probatio
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import async_register_admin_service
from homeassistant.util import dt as dt_util

from ..const import DOMAIN
from ..errors import user_errors
from ..gateway.log_search import async_search_logs
from ..insight.search import LARGEST_PAGE, Query
from ..model.level import Level
from .targets import async_targets

ATTR_SINCE = "since"
ATTR_UNTIL = "until"
ATTR_LEVEL = "level"
ATTR_MODULE = "module"
ATTR_CONTAINS = "contains"
ATTR_LIMIT = "limit"
ATTR_PAGE = "page"
LEVELS = tuple(level.name.lower() for level in Level if level <= Level.METRIC)
"""From the lowest severity that is looked for; *metric* finds metrics alone."""
LONGEST_TEXT = 256
MOST_PAGES = 10_000

GET_LOGS_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Optional(ATTR_SINCE): cv.datetime,
        probatio.Optional(ATTR_UNTIL): cv.datetime,
        probatio.Optional(ATTR_LEVEL): probatio.In(LEVELS),
        probatio.Optional(ATTR_MODULE): probatio.All(
            probatio.Coerce(str), probatio.Length(min=1, max=LONGEST_TEXT)
        ),
        probatio.Optional(ATTR_CONTAINS): probatio.All(
            cv.string, probatio.Length(max=LONGEST_TEXT)
        ),
        probatio.Optional(ATTR_LIMIT, default=100): probatio.All(
            probatio.Coerce(int), probatio.Range(min=1, max=LARGEST_PAGE)
        ),
        probatio.Optional(ATTR_PAGE, default=1): probatio.All(
            probatio.Coerce(int), probatio.Range(min=1, max=MOST_PAGES)
        ),
    }
)


@callback
def async_register_log_actions(hass: HomeAssistant) -> None:
    """Register the action; what devices logged is an administrator's to read."""
    async_register_admin_service(
        hass,
        DOMAIN,
        "get_logs",
        _get_logs,
        GET_LOGS_SCHEMA,
        supports_response=SupportsResponse.ONLY,
    )


async def _get_logs(call: ServiceCall) -> ServiceResponse:
    """Return one page of what was found, the newest first."""
    query = _query(call)
    devices = async_targets(call.hass, call).devices
    with user_errors(", ".join(device.called for device in devices)):
        page = await async_search_logs(call.hass, devices, query)
    return {
        "lines": [line.as_dict() for line in page.lines],
        "page": query.page,
        "more": page.more,
    }


def _query(call: ServiceCall) -> Query:
    """Return what is looked for; a time without a zone is one of Home Assistant's own zone."""
    data = call.data
    since, until = _moment(data.get(ATTR_SINCE)), _moment(data.get(ATTR_UNTIL))
    if since is not None and until is not None and since >= until:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="invalid_period",
            translation_placeholders={
                "since": str(data[ATTR_SINCE]),
                "until": str(data[ATTR_UNTIL]),
            },
        )
    return Query(
        since,
        until,
        Level[data[ATTR_LEVEL].upper()] if ATTR_LEVEL in data else None,
        data.get(ATTR_MODULE),
        data.get(ATTR_CONTAINS),
        data[ATTR_LIMIT],
        data[ATTR_PAGE],
    )


def _moment(when: datetime | None) -> float | None:
    return None if when is None else dt_util.as_utc(when).timestamp()
