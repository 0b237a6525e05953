"""The UDMI gateways that an account is, each a config subentry."""

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, override

from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import __version__
from homeassistant.core import callback
from homeassistant.loader import async_get_integration
from homeassistant.util import dt as dt_util

from ..account.account import Account
from ..account.destination_keys import async_load_keys
from ..account.udmi_memory import UdmiMemory, async_tidy_memories
from ..cloud.errors import CloudError
from ..cloud.udmi.lifecycle import Lifecycle
from ..cloud.udmi.link import Target, UdmiLink
from ..cloud.udmi.progress import Progress, Sent
from ..cloud.udmi.rotation import KeyKeeper, Rotation
from ..cloud.udmi.speaker import Speaker
from ..cloud.udmi.status import read_stamp, stamp
from ..cloud.udmi.system import measure
from ..cloud.udmi.udmi import ROTATE_KEY, UdmiDestination
from ..cloud.udmi.wishes import LevelWishes
from ..const import CONF_CLIENT_SUFFIX, CONF_KEYS, DOMAIN, SUBENTRY_UDMI
from ..insight.reading import Reading
from ..model.capture import Capture
from ..outbox.errors import OutboxError
from .destinations import ActiveDestination
from .sent_parts import SentParts
from .udmi_blocks import add_gateway_blocks, add_proxy_blocks
from .udmi_connection import StoredKeyPair, async_transport, endpoint_of, key_pair
from .udmi_proxies import ProxyIds, proxy_identity
from .udmi_site import ANSWERED, OFF, STARTS, WISHED, ActiveUdmi

_LOGGER = logging.getLogger(__name__)


class SentOfUdmi(Progress):
    """What a site has of captures, in the file that other destinations keep that in, too."""

    def __init__(self, parts: SentParts) -> None:
        self._parts = parts

    @override
    def sent(self, capture: Capture, capture_id: int) -> Sent:
        return Sent(*self._parts.sent(capture, capture_id))

    @override
    async def note(self, capture: Capture, capture_id: int, sent: Sent) -> None:
        await self._parts.note(capture, capture_id, SentParts.of(*sent))

    @override
    async def done(self, capture_id: int) -> None:
        await self._parts.done(capture_id)


async def async_udmi_destinations(account: Account) -> list[ActiveDestination]:
    """Make the account's gateways; nothing connects yet."""
    hass, entry = account.hass, account.entry
    subentries = list(entry.get_subentries_of_type(SUBENTRY_UDMI))
    await async_tidy_memories(hass, entry.entry_id, {each.subentry_id for each in subentries})
    return [await _async_gateway(account, each) for each in subentries]


async def _async_gateway(account: Account, subentry: ConfigSubentry) -> ActiveUdmi:
    hass, entry, data = account.hass, account.entry, subentry.data
    memory = UdmiMemory(hass, entry.entry_id, subentry.subentry_id)
    await memory.async_load()
    stored = await async_load_keys(hass, entry, data[CONF_KEYS]) or {}
    endpoint = endpoint_of(data, stored, memory)
    link = UdmiLink(Target(endpoint, key_pair(stored)), partial(async_transport, account, data))
    ids = ProxyIds(account, data, memory, endpoint.device_id)
    parts = SentParts(hass, entry.entry_id, subentry.subentry_id)
    await parts.async_load(await _async_ids(account))

    async def keep_wished(told_at: Mapping[str, float]) -> None:
        try:
            await memory.async_keep(WISHED, dict(told_at))
        except OSError as err:
            _LOGGER.warning("When a log level was wished for was not kept: %s", err)

    destination = UdmiDestination(
        subentry.subentry_id,
        link,
        progress=SentOfUdmi(parts),
        proxy_of=ids.proxy_of,
        device_of=ids.device_of,
        reading_of=partial(_async_reading, account),
        report_of=partial(_async_report, account),
        wishes=LevelWishes(memory.get(WISHED, {}), keep_wished, time.time),
        run=hass.async_add_executor_job,
        off=memory.get(OFF, ""),
    )
    active = ActiveUdmi(account, destination, subentry, memory, ids)
    lifecycle = await _async_lifecycle(active)
    integration = await async_get_integration(hass, DOMAIN)
    identity = {
        "serial_no": f"ha-{entry.data[CONF_CLIENT_SUFFIX]}",
        "hardware": {"make": "Home Assistant", "model": "uLogger gateway"},
        "software": {"home_assistant": __version__, "ulogger": str(integration.version)},
    }
    destination.gateway = _speaker(
        active,
        endpoint.device_id,
        lambda: identity,
        lifecycle,
        partial(_measure, active),
    )
    destination.make_proxy = partial(_proxy, active)
    destination.on_attached = active.attached
    add_gateway_blocks(active)
    _obey(active, StoredKeyPair(account, data[CONF_KEYS]))
    return active


def _obey(active: ActiveUdmi, keeper: KeyKeeper) -> None:
    """Have the gateway obey the commands of its site."""
    destination, hass = active.destination, active.account.hass

    def report(message: str, category: str, level: int) -> None:
        destination.gateway.device.report(message, category, level)

    rotation = Rotation(
        destination.link,
        keeper,
        report=report,
        announce=active.async_announce,
        run=hass.async_add_executor_job,
        now=dt_util.utcnow,
    )
    destination.on_command[ROTATE_KEY] = rotation.rotate


async def _async_lifecycle(active: ActiveUdmi) -> Lifecycle:
    """Count one more start, on disk, before anybody is told of it."""
    memory = active.memory
    starts = memory.get(STARTS, {})
    count = int(starts.get("count", -1)) + 1
    last_start = dt_util.utcnow()
    try:
        await memory.async_keep(STARTS, {"count": count, "last_start": stamp(last_start)})
    except OSError as err:
        _LOGGER.warning("%s: the start was not kept: %s", active.title, err)

    def changed() -> None:
        active.destination.gateway.changed()

    return Lifecycle(
        changed,
        active.ended,
        last_start=read_stamp(stamp(last_start)),
        restart_count=count,
        answered=memory.get(ANSWERED, ""),
    )


def _speaker(
    active: ActiveUdmi,
    device_id: str,
    identity: Any,
    lifecycle: Lifecycle | None = None,
    measured: Any = None,
) -> Speaker:
    destination = active.destination
    return Speaker(
        device_id,
        identity=identity,
        publish=destination.publish,
        changed=destination.changed,
        clock=time.monotonic,
        now=dt_util.utcnow,
        latch=destination.link.target.endpoint.sync,
        lifecycle=lifecycle,
        measure=measured,
    )


@callback
def _proxy(active: ActiveUdmi, proxy_id: str) -> Speaker | None:
    """Make the proxy of a device, None where there is no such device."""
    key = active.ids.device_of(proxy_id)
    devices = active.account.entry.runtime_data.devices
    if key is None or (device := devices.get(key)) is None:
        return None
    speaker = _speaker(active, proxy_id, lambda: proxy_identity(device.identity))
    add_proxy_blocks(active, speaker, device)
    return speaker


@callback
def _measure(active: ActiveUdmi) -> None:
    """Have memory, disk and load told."""

    async def tell() -> None:
        hass = active.account.hass
        metrics = await hass.async_add_executor_job(measure, hass.config.config_dir)
        active.destination.gateway.publish("system", {"metrics": metrics})

    active.destination.do(tell)


async def _async_ids(account: Account) -> set[int]:
    """Name the captures that there are; an outbox that can't be read names none."""
    try:
        return {row.capture_id for row in await account.outbox.listing()}
    except OutboxError:
        return set()


async def _async_reading(account: Account, capture_id: int) -> Reading:
    readings = account.entry.runtime_data.readings
    try:
        await readings.async_turn(capture_id)
        reading: Reading = await readings.async_reading(capture_id)
    except OutboxError as err:
        raise CloudError(f"capture {capture_id} can't be read: {err}") from err
    return reading


async def _async_report(account: Account, capture: Capture) -> Any:
    return await account.entry.runtime_data.crashes.async_report_of(capture)
