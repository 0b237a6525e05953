"""The blocks that the gateway of a UDMI site and its proxies consist of."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util

from ..cloud.udmi.blobs import Blobset, Kind
from ..cloud.udmi.block import BlobFailed
from ..cloud.udmi.endpoint import Endpoint
from ..cloud.udmi.localnet import Localnet
from ..cloud.udmi.pointset import Pointset
from ..cloud.udmi.proxies import Proxies, Target
from ..cloud.udmi.redirect import KEY, Redirect
from ..cloud.udmi.speaker import Speaker
from ..const import CONF_ENDPOINT, CONF_ENTITY, CONF_POINTS, DOMAIN
from ..coordinator import DeviceCoordinator
from .udmi_points import Chosen, DevicePoints, EntityPoints, chosen_of
from .udmi_site import BLOBS, ENDPOINT, POINTS, ActiveUdmi
from .unit_values import CONF_DEVICE


def add_gateway_blocks(active: ActiveUdmi) -> None:
    """Have the gateway know its proxies and take blobs."""
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
    speaker.device.add(_blobset(active, speaker))
    if chosen := chosen_of_gateway(active.account.hass, active.data):
        points = GatewayPoints(active, speaker, chosen)
        speaker.device.add(points.block)
        active.on_start.append(points.start)


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
        self.block.restore(active.memory.get(POINTS, {}).get(speaker.id, {}))

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


def _blobset(active: ActiveUdmi, speaker: Speaker) -> Blobset:
    async def keep() -> None:
        await active.async_remember(BLOBS, blobset.memory)

    async def fetch(url: str, most: int) -> bytes:
        raise BlobFailed("only data URLs")

    blobset = Blobset(
        {KEY: Kind(_redirect(active).apply)},
        changed=speaker.changed,
        now=dt_util.utcnow,
        fetch=fetch,
        run=active.account.hass.async_add_executor_job,
        keep=keep,
        tell=speaker.tell,
        memory=active.memory.get(BLOBS),
    )
    return blobset


def add_proxy_blocks(active: ActiveUdmi, speaker: Speaker, device: DeviceCoordinator) -> None:
    """Have a proxy tell of its device: points, what they are set to, and where it is."""
    hass, proxy_id = active.account.hass, speaker.id
    points = DevicePoints(
        device,
        chosen_of(hass, active.data, device),
        changed=speaker.changed,
        publish=speaker.publish,
        keep=lambda: active.keep_points(proxy_id, points.block.memory),
        memory=active.memory.get(POINTS, {}).get(proxy_id, {}),
    )
    speaker.device.add(points.block)
    points.start()
    active.on_detach(proxy_id, points.stop)

    def addresses() -> Mapping[str, str]:
        return {"ble": device.record.address} if device.record.address else {}

    speaker.device.add(Target(addresses, changed=speaker.changed, now=dt_util.utcnow))
    speaker.device.add(Localnet(addresses))


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
