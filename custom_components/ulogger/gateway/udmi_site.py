"""One gateway of a UDMI site at work, and what a person has to decide for it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, override

from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import callback
from homeassistant.util import dt as dt_util

from ..account.account import Account
from ..account.udmi_memory import UdmiMemory
from ..cloud.destination import ConnectionState
from ..cloud.errors import CloudError
from ..cloud.udmi.endpoint import Endpoint
from ..cloud.udmi.lifecycle import Mode
from ..cloud.udmi.status import Severity, make_status
from ..cloud.udmi.udmi import UdmiDestination
from ..const import CONF_APPROVED_HOSTS, CONF_ENDPOINT, DOMAIN
from ..coordinator import DeviceCoordinator
from .destinations import ActiveDestination
from .udmi_proxies import KnownProxies, ProxyIds
from .udmi_records import Records

_LOGGER = logging.getLogger(__name__)

EVENT_KEY_ROTATED: Final = f"{DOMAIN}_udmi_new_key"
"""Fired with the public part of a key that a site is to know before it is used."""
ENDPOINT: Final = "endpoint"
OFF: Final = "off"
STARTS: Final = "starts"
ANSWERED: Final = "answered"
WISHED: Final = "wished"
BLOBS: Final = "blobs"
POINTS: Final = "points"
"""Names in the memory of a gateway."""


class ActiveUdmi(ActiveDestination):
    """A gateway at work.

    ``asked`` is the endpoint that a person has to approve, ``ready_since`` is in Unix
    seconds, ``known`` names the proxies that there are devices for, ``ending`` says whether the
    account is being unloaded.
    """

    destination: UdmiDestination

    def __init__(
        self,
        account: Account,
        destination: UdmiDestination,
        subentry: ConfigSubentry,
        memory: UdmiMemory,
        ids: ProxyIds,
    ) -> None:
        super().__init__(account, destination, subentry.title, subentry.subentry_id)
        self.data = subentry.data
        self.memory = memory
        self.ids = ids
        self.asked: Endpoint | None = None
        self.known = KnownProxies(account, ids)
        self.on_start: list[Callable[[], None]] = []
        self._on_detach: dict[str, list[Callable[[], None]]] = {}
        self._on_end: list[Callable[[], None]] = []
        self.ending = False
        self._points: dict[str, Any] = dict(memory.get(POINTS, {}))
        self.ready_since: float | None = None
        self._answer: asyncio.Future[bool] | None = None
        self.state_changed.add(self._note_ready)

    # Life

    @callback
    def _note_ready(self, state: ConnectionState) -> None:
        self.ready_since = time.time() if state is ConnectionState.CONNECTED else None

    @callback
    @override
    def start(self) -> None:
        entry = self.account.entry
        gateway = entry.runtime_data
        entry.async_on_unload(gateway.async_add_device_listener(self._device_there))
        entry.async_on_unload(Records(self.account.hass, self.destination.gateway).start())
        self.destination.gateway.tell(
            make_status(
                "The gateway has started", "system.base.start", Severity.NOTICE, dt_util.utcnow()
            )
        )
        self.destination.on_detached = self.detached
        entry.async_on_unload(self._end_all)
        for start in self.on_start:
            start()
        super().start()

    @callback
    def on_detach(self, proxy_id: str, end: Callable[[], None]) -> None:
        """Have something ended with a proxy, at the latest with the account."""
        self._on_detach.setdefault(proxy_id, []).append(end)

    @callback
    def on_end(self, end: Callable[[], None]) -> None:
        """Have something ended with the account."""
        self._on_end.append(end)

    @callback
    def detached(self, proxy_id: str) -> None:
        """End what belongs to a proxy."""
        for end in self._on_detach.pop(proxy_id, ()):
            end()

    @callback
    def _end_all(self) -> None:
        self.ending = True
        for proxy_id in list(self._on_detach):
            self.detached(proxy_id)
        while self._on_end:
            self._on_end.pop()()

    @callback
    def kept_points(self, device_id: str) -> Mapping[str, Any]:
        """Return what points of a device were set to, whether it is on disk yet or not."""
        kept: Mapping[str, Any] = self._points.get(device_id, {})
        return kept

    @callback
    def keep_points(self, device_id: str, memory: Mapping[str, Any]) -> None:
        """Put on disk what points of a device were set to."""
        self._points = {**self._points, device_id: dict(memory)}
        if not memory:
            del self._points[device_id]
        kept = dict(self._points) or None
        self.account.entry.async_create_task(
            self.account.hass, self.async_remember(POINTS, kept), f"{DOMAIN} set points"
        )

    @callback
    def _device_there(self, device: DeviceCoordinator) -> None:
        """Have a device numbered, and attached if the site has named its proxy already."""
        proxy_id = self.ids.proxy_of(device.identity.key)
        if proxy_id not in self.destination.proxies:
            self.destination.gateway.device.again("gateway")

    @callback
    def attached(self) -> None:
        """Have captures go that waited for their proxies."""
        if self.connected:
            self.delivery.resume()
        self.account.changed.notify()

    @property
    def waiting_proxies(self) -> list[str]:
        """The proxies of devices here that the site does not speak with, while it is connected."""
        if not self.connected or not self.destination.gateway.timer.open:
            return []
        proxies = self.destination.proxies
        return sorted(
            each for each in self.known if each not in proxies or not proxies[each].attached
        )

    # What a site wants

    @callback
    def ended(self, mode: Mode, last_start: str) -> None:
        """Do what a mode means, once the site has heard that it is done."""
        self.destination.do(partial(self._async_end, mode, last_start))

    async def _async_end(self, mode: Mode, last_start: str) -> None:
        entry = self.account.entry
        if mode is Mode.RESTART:
            if last_start:
                await self.async_remember(ANSWERED, last_start)
        else:
            await self.async_remember(OFF, mode.value)
        try:
            await self.destination.flush_state(self.destination.gateway)
        except CloudError as err:
            _LOGGER.debug("%s: the last state did not arrive: %s", self.title, err)
        _LOGGER.info("%s: the site wants %s of %s", entry.title, mode.value, self.title)
        self.account.hass.config_entries.async_schedule_reload(entry.entry_id)

    async def async_switch_on(self) -> None:
        """Have the gateway back that a site has switched off; raises OSError."""
        await self.memory.async_keep(OFF, None)
        self.account.hass.config_entries.async_schedule_reload(self.account.entry_id)

    async def async_remember(self, name: str, value: Any) -> None:
        """Put something on disk that must outlive a restart, as far as the disk takes it."""
        try:
            await self.memory.async_keep(name, value)
        except OSError as err:
            _LOGGER.warning("%s: %s was not kept: %s", self.title, name, err)

    # Another endpoint

    def approved(self, host: str) -> bool:
        """Whether a person has approved a broker, here or by setting it up."""
        hosts = {self.data[CONF_ENDPOINT]["hostname"], *self.data.get(CONF_APPROVED_HOSTS, ())}
        return host.lower() in {each.lower() for each in hosts}

    async def async_ask(self, endpoint: Endpoint) -> bool:
        """Wait for a person's answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(False)
        answer = self._answer = asyncio.get_running_loop().create_future()
        self.asked = endpoint
        self.account.changed.notify()
        try:
            return bool(await answer)
        finally:
            if self._answer is answer:
                self.asked = self._answer = None
            self.account.changed.notify()

    @callback
    def answer(self, *, approved: bool) -> None:
        """Take a person's answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(approved)

    # Keys

    async def async_announce(self, public_key: str) -> None:
        """Tell the site, and automations, of a key that is to be used; raises CloudError."""
        destination = self.destination
        self.account.hass.bus.async_fire(
            EVENT_KEY_ROTATED,
            {
                "destination": self.title,
                "device_id": destination.gateway.id,
                "public_key": public_key,
            },
        )
        entry = make_status(
            "The next public key",
            "device.gateway.rotation",
            Severity.NOTICE,
            dt_util.utcnow(),
            public_key,
        )
        await destination.send_now("system", {"logentries": [entry]})

    @override
    def diagnostics(self) -> dict[str, Any]:
        return {
            **super().diagnostics(),
            "waiting_proxies": self.waiting_proxies,
            "asked": self.asked and self.asked.address,
            "starts": self.memory.get(STARTS),
            "redirected": self.memory.get(ENDPOINT) is not None,
        }
