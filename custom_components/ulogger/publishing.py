"""The actions that send something of a user's own to the cloud, for devices or the gateway."""

import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import probatio
from homeassistant.core import HomeAssistant, ServiceCall, callback
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv

from .capture.model import DeviceIdentity
from .cloud.ulogger.cloud import UloggerCloud
from .cloud.ulogger.text_logs import TextLine
from .const import DOMAIN
from .errors import translated
from .log_level import LEVELS
from .targets import async_targets

ATTR_METRICS = "metrics"
ATTR_TIMESTAMP = "timestamp"
ATTR_TYPE = "type"
ATTR_MESSAGE = "message"
ATTR_LEVEL = "level"
LONGEST_NAME = 64

METRICS_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_METRICS): {cv.string: probatio.Any(int, float)},
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

type Publish = Callable[[UloggerCloud, DeviceIdentity], Coroutine[Any, Any, None]]


@callback
def async_register_publishing(hass: HomeAssistant) -> None:
    """Register the actions."""
    hass.services.async_register(DOMAIN, "publish_metrics", _publish_metrics, METRICS_SCHEMA)
    hass.services.async_register(DOMAIN, "publish_event", _publish_event, EVENT_SCHEMA)
    hass.services.async_register(DOMAIN, "publish_log", _publish_log, LOG_SCHEMA)


async def _publish_metrics(call: ServiceCall) -> None:
    """Send metrics, all with one time."""
    values = call.data[ATTR_METRICS]
    if not values:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="no_metrics")
    stamp = _timestamp(call)
    metrics = [{"name": _name(name), "value": value, **stamp} for name, value in values.items()]
    await _publish(call, lambda cloud, identity: cloud.publish_metrics(identity.key, metrics))


async def _publish_event(call: ServiceCall) -> None:
    """Send an event."""
    events = [{"type": _name(call.data[ATTR_TYPE]), **_timestamp(call)}]
    await _publish(call, lambda cloud, identity: cloud.publish_events(identity.key, events))


async def _publish_log(call: ServiceCall) -> None:
    """Send lines of text."""
    level = LEVELS.index(call.data[ATTR_LEVEL])
    now = time.time()
    lines = [TextLine(now, level, line) for line in call.data[ATTR_MESSAGE].splitlines()]
    await _publish(call, lambda cloud, identity: cloud.publish_text_log(identity, lines))


async def _publish(call: ServiceCall, publish: Publish) -> None:
    targets = async_targets(call.hass, call, gateways=True)
    everyone = [(device.gateway.cloud, device.identity) for device in targets.devices]
    everyone += [(gateway.cloud, gateway.identity) for gateway in targets.gateways]
    for cloud, identity in everyone:
        with translated(identity.serial):
            await publish(cloud, identity)


def _name(name: str) -> str:
    """Check a metric's name or an event's type."""
    if 0 < len(name) <= LONGEST_NAME and not any(c.isspace() or c == "=" for c in name):
        return name
    raise ServiceValidationError(
        translation_domain=DOMAIN,
        translation_key="invalid_name",
        translation_placeholders={"name": name[:LONGEST_NAME]},
    )


def _timestamp(call: ServiceCall) -> dict[str, int]:
    """Give the time in Unix seconds, if there is one; the cloud takes its own otherwise."""
    when: datetime | None = call.data.get(ATTR_TIMESTAMP)
    return {} if when is None else {"timestamp": int(when.timestamp())}
