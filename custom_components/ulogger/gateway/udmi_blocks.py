"""The blocks that the gateway of a UDMI site and its proxies consist of."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util

from ..account.store import DeviceRecord
from ..cloud.destination import ConnectionState
from ..cloud.errors import CloudError
from ..cloud.udmi.blobs import Kind
from ..cloud.udmi.discovery import GATEWAY_FEATURES, PROXY_FEATURES, Discovery, Inventory
from ..cloud.udmi.endpoint import Endpoint
from ..cloud.udmi.localnet import Addresses, Localnet
from ..cloud.udmi.pointset import Pointset
from ..cloud.udmi.proxies import Proxies, Target
from ..cloud.udmi.redirect import KEY, Redirect
from ..cloud.udmi.speaker import Speaker
from ..const import CONF_ENDPOINT, CONF_ENTITY, CONF_POINTS, DOMAIN
from ..coordinator import DeviceCoordinator
from .udmi_blobs import make_blobset
from .udmi_discovery import BLE, BleScanner, Points
from .udmi_localnet import GatewayAddresses, follow_reach, proxy_addresses
from .udmi_points import Chosen, DevicePoints, EntityPoints, chosen_of
from .udmi_site import BLOBS, ENDPOINT, ActiveUdmi
from .unit_values import CONF_DEVICE


def add_gateway_blocks(active: ActiveUdmi) -> None:
    """Have the gateway know its proxies and take blobs."""
    hass = active.account.hass
    destination, speaker = active.destination, active.destination.gateway
    proxies = Proxies(
        active.known,
        on_attach=destination.attach,
        on_detach=destination.detach,
        changed=speaker.changed,
        clock=time.monotonic,
        now=dt_util.utcnow,
        tell=speaker.tell,
    )
    speaker.device.add(proxies)
    destination.on_not_attached = proxies.failed
    destination.on_heard = proxies.worked

    async def flush() -> None:
        with suppress(CloudError):
            await destination.flush_state(speaker)

    redirect = _redirect(active)
    blobset = make_blobset(
        hass,
        lambda: active.account.entry.runtime_data.images,
        {KEY: Kind(redirect.apply, admit=redirect.admit)},
        changed=speaker.changed,
        keep=lambda memory: active.memory.async_keep(BLOBS, dict(memory)),
        flush=flush,
        tell=speaker.tell,
        memory=active.memory.get(BLOBS),
    )
    speaker.device.add(blobset)
    active.on_end(blobset.close)
    enumeration: Callable[[], Points] = dict
    if chosen := chosen_of_gateway(hass, active.data):
        points = GatewayPoints(active, speaker, chosen)
        speaker.device.add(points.block)
        active.on_start.append(points.start)
        enumeration = partial(_enumeration, points.block)
    _add_place(active, speaker, _addresses(active), enumeration)


def _addresses(active: ActiveUdmi) -> Addresses:
    """Return what tells where the gateway is; looked up on every connection."""
    destination, addresses = active.destination, GatewayAddresses(active.account.hass)

    async def look() -> None:
        endpoint = destination.link.target.endpoint
        if await addresses.async_look(endpoint.hostname, endpoint.port):
            destination.gateway.changed()

    @callback
    def changed(state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            destination.do(look)

    active.state_changed.add(changed)
    return addresses


def _add_place(
    active: ActiveUdmi, speaker: Speaker, addresses: Addresses, points: Callable[[], Points]
) -> None:
    """Have a device tell where it is, and what it offers; the gateway also what is around it."""
    own = speaker is active.destination.gateway
    discovery = Discovery(
        {BLE: _scanner(active).listen} if own else {},
        Inventory(
            addresses,
            lambda: GATEWAY_FEATURES if own else PROXY_FEATURES,
            points,
            lambda: sorted(active.destination.proxies) if own else (),
        ),
        changed=speaker.changed,
        publish=speaker.publish,
        clock=time.monotonic,
        now=dt_util.utcnow,
    )
    speaker.device.add(Localnet(addresses))
    speaker.device.add(discovery)
    if own:
        active.on_end(discovery.close)
    else:
        active.on_detach(speaker.id, discovery.close)


def _scanner(active: ActiveUdmi) -> BleScanner:
    """Return what hears advertisements, and knows whose they are."""

    def known(address: str) -> DeviceRecord | None:
        devices = active.account.entry.runtime_data.devices
        found = (each.record for each in devices.values() if each.record.address == address)
        return next(found, None)

    def points_of(proxy_id: str) -> Points:
        proxy = active.destination.proxies.get(proxy_id)
        block = None if proxy is None else proxy.device.blocks.get(Pointset.name)
        return _enumeration(block) if isinstance(block, Pointset) else {}

    return BleScanner(
        active.account.hass,
        known,
        lambda record: active.ids.proxy_of(record.identity.key),
        points_of,
    )


def _enumeration(block: Pointset) -> Points:
    return block.enumeration


class GatewayPoints:
    """Entities that are of no device of ours, as points of the gateway itself."""

    def __init__(self, active: ActiveUdmi, speaker: Speaker, chosen: Sequence[Chosen]) -> None:
        self._active = active
        self._entities = entities = EntityPoints(active.account.hass, chosen)
        self.block = Pointset(
            entities.points,
            changed=speaker.changed,
            publish=speaker.publish,
            clock=time.monotonic,
            now=dt_util.utcnow,
            read=entities.read,
            write=entities.write,
            check=entities.check,
            shows=entities.shows,
            keep=lambda: active.keep_points(speaker.id, self.block.memory),
        )
        self.block.restore(active.kept_points(speaker.id))

    @callback
    def start(self) -> None:
        """Follow the entities until the account is unloaded."""
        on_unload = self._active.account.entry.async_on_unload
        on_unload(self._entities.follow(self.block.report))
        on_unload(self.block.close)


@callback
def chosen_of_gateway(hass: HomeAssistant, data: Mapping[str, Any]) -> list[Chosen]:
    """Return the entities that were made points and are of no device that is collected."""
    devices, entities = dr.async_get(hass), er.async_get(hass)

    def is_own(chosen: Chosen) -> bool:
        if chosen.get(CONF_DEVICE):
            return False
        entity = entities.async_get(chosen[CONF_ENTITY])
        device = devices.async_get(entity.device_id) if entity and entity.device_id else None
        ours = (
            {name for domain, name, *_ in device.identifiers if domain == DOMAIN} if device else ()
        )
        return not any("-" in name for name in ours)

    return [each for each in data.get(CONF_POINTS, ()) if is_own(each)]


def add_proxy_blocks(active: ActiveUdmi, speaker: Speaker, device: DeviceCoordinator) -> None:
    """Have a proxy tell of its device: points, what they are set to, and where it is."""
    hass, proxy_id = active.account.hass, speaker.id
    points = DevicePoints(
        device,
        chosen_of(hass, active.data, device),
        changed=speaker.changed,
        publish=speaker.publish,
        keep=lambda: active.keep_points(proxy_id, points.block.memory),
        memory=active.kept_points(proxy_id),
    )
    speaker.device.add(points.block)
    points.start()
    active.on_detach(proxy_id, lambda: points.stop() if active.ending else points.release())
    addresses = partial(proxy_addresses, device)
    target = Target(addresses, changed=speaker.changed, now=dt_util.utcnow)
    speaker.device.add(target)
    active.on_detach(proxy_id, follow_reach(device, target))
    _add_place(active, speaker, addresses, partial(_enumeration, points.block))


def _redirect(active: ActiveUdmi) -> Redirect:
    destination = active.destination
    first = Endpoint.from_dict(active.data[CONF_ENDPOINT]).without_secrets().as_dict()

    async def remember(endpoint: Endpoint) -> None:
        await active.memory.async_keep(ENDPOINT, {"from": first, "to": endpoint.as_dict()})

    return Redirect(
        destination.link,
        approved=active.approved,
        ask=active.async_ask,
        flush=lambda: destination.flush_state(destination.gateway),
        remember=remember,
        clock=time.monotonic,
    )
