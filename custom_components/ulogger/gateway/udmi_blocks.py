"""The blocks that the gateway of a UDMI site and its proxies consist of."""

import time
from collections.abc import Mapping

from homeassistant.util import dt as dt_util

from ..cloud.udmi.blobs import Blobset, Kind
from ..cloud.udmi.block import BlobFailed
from ..cloud.udmi.endpoint import Endpoint
from ..cloud.udmi.localnet import Localnet
from ..cloud.udmi.proxies import Proxies, Target
from ..cloud.udmi.redirect import KEY, Redirect
from ..cloud.udmi.speaker import Speaker
from ..const import CONF_ENDPOINT
from ..coordinator import DeviceCoordinator
from .udmi_site import BLOBS, ENDPOINT, ActiveUdmi


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
    """Have a proxy know where its device is."""

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
