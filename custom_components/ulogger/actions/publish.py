"""The actions that send something of a user's own to the cloud, for devices or the gateway."""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

import probatio
from homeassistant.core import HomeAssistant, ServiceCall, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import async_register_admin_service

from ..cloud.destination import TakesTelemetry
from ..cloud.errors import CloudUnavailable
from ..const import DOMAIN
from ..errors import user_errors
from ..gateway.gateway import Gateway
from ..model.identity import DeviceIdentity, DeviceKey
from ..model.level import LEVELS
from ..model.telemetry import Event, Metric, TextLine
from . import samples
from .by_hand import ATTR_APPLICATION_ID, ATTR_SERIAL, KEY_FIELDS, checked, whose
from .samples import ATTR_TIMESTAMP, ATTR_TYPE, Addressed, mistake
from .targets import Targets, async_named, async_targets, gateway_of, name_of, required

ATTR_METRICS = "metrics"
ATTR_EVENTS = "events"
ATTR_MESSAGE = "message"
ATTR_LEVEL = "level"

METRICS_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_METRICS): samples.METRICS_SCHEMA,
        probatio.Optional(ATTR_TIMESTAMP): samples.TIME,
        **KEY_FIELDS,
    }
)
EVENT_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_TYPE): cv.string,
        probatio.Optional(ATTR_TIMESTAMP): samples.TIME,
        **KEY_FIELDS,
    }
)
EVENTS_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_EVENTS): probatio.All(cv.ensure_list, [samples.EVENT_SCHEMA]),
        probatio.Optional(ATTR_TIMESTAMP): samples.TIME,
        **KEY_FIELDS,
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
type Batch[SampleT] = dict[DeviceKey, list[SampleT]]


@callback
def async_register_publish_actions(hass: HomeAssistant) -> None:
    """Register the actions; who speaks in a device's name to the cloud is an administrator."""
    for name, publish, schema in (
        ("publish_metrics", _publish_metrics, METRICS_SCHEMA),
        ("publish_event", _publish_event, EVENT_SCHEMA),
        ("publish_events", _publish_events, EVENTS_SCHEMA),
        ("publish_log", _publish_log, LOG_SCHEMA),
    ):
        async_register_admin_service(hass, DOMAIN, name, publish, schema)


async def _publish_metrics(call: ServiceCall) -> None:
    """Send metrics: each of a device of its own, or all of the targets; with one time, or many."""

    async def send(there: TakesTelemetry, batch: Batch[Metric]) -> None:
        await there.publish_metrics(batch)

    metrics = samples.parse_metrics(call.data[ATTR_METRICS], call.data.get(ATTR_TIMESTAMP))
    await _publish(call, metrics, send)


async def _publish_event(call: ServiceCall) -> None:
    """Send an event."""
    event = {ATTR_TYPE: call.data[ATTR_TYPE]}
    await _publish(call, samples.parse_events([event], call.data.get(ATTR_TIMESTAMP)), _send_events)


async def _publish_events(call: ServiceCall) -> None:
    """Send several events, with whatever else stands in them."""
    events = samples.parse_events(call.data[ATTR_EVENTS], call.data.get(ATTR_TIMESTAMP))
    await _publish(call, events, _send_events)


async def _send_events(there: TakesTelemetry, batch: Batch[Event]) -> None:
    await there.publish_events(batch)


async def _publish[SampleT](
    call: ServiceCall,
    addressed: Addressed[SampleT],
    send: Callable[[TakesTelemetry, Batch[SampleT]], Awaitable[None]],
) -> None:
    """Send each sample for its device or for the targets, an account's all at once."""
    batches: dict[Gateway, Batch[SampleT]] = defaultdict(lambda: defaultdict(list))
    targets = _senders(call) if any(device is None for device, _ in addressed) else {}
    given = {device for device, _ in addressed if device is not None}
    named = {device: _own(async_named(call.hass, device)) for device in given}
    for device, sample in addressed:
        for gateway, identities in (targets if device is None else named[device]).items():
            for identity in identities:
                batches[gateway][identity.key].append(sample)
    able = {gateway: required(gateway, gateway.telemetry) for gateway in batches}
    for gateway, batch in batches.items():
        with _told(name_of(gateway, key) for key in batch):
            for each in able[gateway]:
                await send(each, batch)


async def _publish_log(call: ServiceCall) -> None:
    """Send lines of text."""
    level = LEVELS.index(call.data[ATTR_LEVEL])
    now = time.time()
    message: str = call.data[ATTR_MESSAGE]
    lines = [TextLine(now, level, line) for line in message.splitlines()]
    if not message.strip():
        raise mistake("no_lines")
    for gateway, identities in _senders(call).items():
        for identity in identities:
            with _told([name_of(gateway, identity.key)]):
                for each in required(gateway, gateway.text_logs):
                    await each.publish_text_log(identity, lines)


def _senders(call: ServiceCall) -> Senders:
    """Return the targets, or whom the call says: a device that need not be collected here."""
    if call.data.keys() & {ATTR_APPLICATION_ID, ATTR_SERIAL}:
        gateway, identity = whose(call)
        return {gateway: [checked(identity)]}
    return _own(async_targets(call.hass, call, gateways=True))


def _own(targets: Targets) -> Senders:
    senders: Senders = defaultdict(list)
    for device in targets.devices:
        senders[gateway_of(device)].append(device.identity)
    for gateway in targets.gateways:
        senders[gateway].append(gateway.identity)
    return senders


@contextmanager
def _told(names: Iterable[str]) -> Iterator[None]:
    """Say who could not send; unlike captures, nothing of this is kept and sent later."""
    named = ", ".join(names)
    with user_errors(named):
        try:
            yield
        except CloudUnavailable as err:
            raise HomeAssistantError(
                translation_domain=DOMAIN,
                translation_key="not_published",
                translation_placeholders={"device": named},
            ) from err
