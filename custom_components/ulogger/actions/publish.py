"""The actions that send something of a user's own to the cloud, for devices or the gateway."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import probatio
from homeassistant.core import HomeAssistant, ServiceCall, callback
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import async_register_admin_service
from homeassistant.util import dt as dt_util

from ..cloud.errors import CloudUnavailable
from ..const import DOMAIN
from ..errors import user_errors
from ..gateway.gateway import Gateway
from ..model.identity import DeviceIdentity
from ..model.level import LEVELS
from ..model.telemetry import Event, Metric, TextLine
from .targets import async_targets, gateway_of, required

ATTR_METRICS = "metrics"
ATTR_TIMESTAMP = "timestamp"
ATTR_TYPE = "type"
ATTR_MESSAGE = "message"
ATTR_LEVEL = "level"
LONGEST_NAME = 64
LARGEST_NUMBER = sys.float_info.max

METRICS_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_METRICS): dict,
        probatio.Optional(ATTR_TIMESTAMP): cv.datetime,
    }
)
EVENT_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_TYPE): cv.string,
        probatio.Optional(ATTR_TIMESTAMP): cv.datetime,
    }
)
LOG_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_MESSAGE): cv.string,
        probatio.Optional(ATTR_LEVEL, default="info"): probatio.In(LEVELS),
    }
)

type Senders = dict[Gateway, list[DeviceIdentity]]
"""Whom a call is for: devices of an account, or its gateway itself."""


@callback
def async_register_publish_actions(hass: HomeAssistant) -> None:
    """Register the actions; who speaks in a device's name to the cloud is an administrator."""
    for name, publish, schema in (
        ("publish_metrics", _publish_metrics, METRICS_SCHEMA),
        ("publish_event", _publish_event, EVENT_SCHEMA),
        ("publish_log", _publish_log, LOG_SCHEMA),
    ):
        async_register_admin_service(hass, DOMAIN, name, publish, schema)


async def _publish_metrics(call: ServiceCall) -> None:
    """Send metrics, all with one time."""
    values = call.data[ATTR_METRICS]
    if not values:
        raise _mistake("no_metrics")
    at = _timestamp(call)
    metrics = [Metric(_name(name), _number(name, value), at) for name, value in values.items()]
    for gateway, identities in _senders(call).items():
        with _told(identities):
            for each in required(gateway, gateway.telemetry):
                await each.publish_metrics({identity.key: metrics for identity in identities})


async def _publish_event(call: ServiceCall) -> None:
    """Send an event."""
    events = [Event(_name(call.data[ATTR_TYPE]), _timestamp(call))]
    for gateway, identities in _senders(call).items():
        with _told(identities):
            for each in required(gateway, gateway.telemetry):
                await each.publish_events({identity.key: events for identity in identities})


async def _publish_log(call: ServiceCall) -> None:
    """Send lines of text."""
    level = LEVELS.index(call.data[ATTR_LEVEL])
    now = time.time()
    message: str = call.data[ATTR_MESSAGE]
    lines = [TextLine(now, level, line) for line in message.splitlines()]
    if not message.strip():
        raise _mistake("no_lines")
    for gateway, identities in _senders(call).items():
        for identity in identities:
            with _told([identity]):
                for each in required(gateway, gateway.text_logs):
                    await each.publish_text_log(identity, lines)


def _senders(call: ServiceCall) -> Senders:
    targets = async_targets(call.hass, call, gateways=True)
    senders: Senders = defaultdict(list)
    for device in targets.devices:
        senders[gateway_of(device)].append(device.identity)
    for gateway in targets.gateways:
        senders[gateway].append(gateway.identity)
    return senders


@contextmanager
def _told(identities: list[DeviceIdentity]) -> Iterator[None]:
    """Say who could not send; unlike captures, nothing of this is kept and sent later."""
    serials = ", ".join(identity.serial for identity in identities)
    with user_errors(serials):
        try:
            yield
        except CloudUnavailable as err:
            raise HomeAssistantError(
                translation_domain=DOMAIN,
                translation_key="not_published",
                translation_placeholders={"device": serials, "detail": str(err)},
            ) from err


def _mistake(key: str, **placeholders: object) -> ServiceValidationError:
    shown = {name: str(value)[:LONGEST_NAME] for name, value in placeholders.items()}
    return ServiceValidationError(
        translation_domain=DOMAIN, translation_key=key, translation_placeholders=shown
    )


def _name(name: object) -> str:
    """Check a metric's name or an event's type."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise _mistake("invalid_name", name=name)
    if not name.isprintable() or any(char.isspace() or char == "=" for char in name):
        raise _mistake("invalid_name", name=name)
    return name


def _number(name: str, value: object) -> int | float:
    """Check a metric's value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mistake("invalid_value", name=name, value=value)
    if not abs(value) <= LARGEST_NUMBER:
        raise _mistake("invalid_value", name=name, value=value)
    return value


def _timestamp(call: ServiceCall) -> int | None:
    """Give the time in Unix seconds, if there is one; the cloud takes its own otherwise.

    A time without a zone is one of Home Assistant's own zone.
    """
    when: datetime | None = call.data.get(ATTR_TIMESTAMP)
    if when is None:
        return None
    if (seconds := int(dt_util.as_timestamp(dt_util.as_utc(when)))) < 0:
        raise _mistake("invalid_timestamp", timestamp=when)
    return seconds
