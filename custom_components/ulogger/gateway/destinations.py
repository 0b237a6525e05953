"""One destination at work: its connection, and the delivery to it."""

import logging
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from homeassistant.core import CALLBACK_TYPE, callback
from homeassistant.helpers.event import async_call_later

from ..account.account import Account
from ..cloud.destination import ConnectionState, Destination, RejectsRecords
from ..cloud.errors import CloudError
from ..const import DOMAIN
from ..model.signal import Signal
from ..outbox.errors import OutboxError
from ..outbox.model import DestinationCounters, Item
from ..sending.delivery import Delivery

_LOGGER = logging.getLogger(__name__)

RESTART_AFTER = 60.0


class ActiveDestination:
    """A destination of an account, kept connected and delivered to until the account is unloaded.

    ``delivered`` and ``failed`` notify of what became of a capture, ``state_changed`` of the
    connection. ``subentry_id`` is the config subentry that it was set up by, if it was by one;
    ``disconnected_since`` is in Unix seconds, None while it is connected.
    """

    def __init__(
        self,
        account: Account,
        destination: Destination,
        title: str,
        subentry_id: str | None = None,
    ) -> None:
        self.account = account
        self.destination = destination
        self.title = title
        self.subentry_id = subentry_id
        self.delivery = Delivery(account.outbox, destination, self)
        self.disconnected_since: float | None = time.time()
        self.item_delivered = Signal[ActiveDestination, Item]()
        self.item_failed = Signal[ActiveDestination, Item, CloudError]()
        self.state_changed = Signal[ConnectionState]()
        self._restart_timers: dict[str, CALLBACK_TYPE] = {}
        self._down_logged = False
        self._stopping = False

    @property
    def id(self) -> str:
        """The destination's ID: what it has of each capture is kept under it."""
        return self.destination.id

    @property
    def connected(self) -> bool:
        """Whether a capture could be delivered now."""
        return self.destination.connected

    @property
    def counters(self) -> DestinationCounters:
        """What it has got, and what is still to come, of all devices."""
        of_devices = self.account.delivery_counters.get(self.id, {})
        return DestinationCounters.total(of_devices.values())

    @property
    def rejected(self) -> int | None:
        """How many records it did not take since the start; None where nothing is rejected."""
        destination = self.destination
        return destination.rejected if isinstance(destination, RejectsRecords) else None

    @callback
    def start(self) -> None:
        """Begin to connect and to deliver; nothing here waits for a network."""
        self.destination.on_state = self._state_changed
        self.destination.on_denied = self._denied_changed
        self._keep_running("connection", self.destination.run)
        self._keep_running("delivery", self.delivery.run)

    async def async_finish(self, seconds: float) -> None:
        """Begin nothing new, and wait for what is being sent."""
        self._stopping = True
        await self.delivery.finish(seconds)
        for cancel in self._restart_timers.values():
            cancel()

    @callback
    def forgive(self) -> None:
        """Try at once what was denied or refused."""
        self.destination.forgive()
        self.delivery.retry_now()

    @callback
    def _keep_running(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *work* until the account is unloaded; it never ends by itself but by a fault."""
        hass, entry = self.account.hass, self.account.entry
        task = entry.async_create_background_task(hass, work(), f"{DOMAIN} {self.id} {name}")

        @callback
        def again(_now: datetime) -> None:
            del self._restart_timers[name]
            self._keep_running(name, work)

        def ended(ended: Any) -> None:
            if ended.cancelled() or self._stopping:
                return
            _LOGGER.error(
                "%s: %s of %s failed and begins anew",
                entry.title,
                name,
                self.title,
                exc_info=ended.exception(),
            )
            self._restart_timers[name] = async_call_later(hass, RESTART_AFTER, again)

        task.add_done_callback(ended)

    @callback
    def _state_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            if self.disconnected_since is not None and self._down_logged:
                _LOGGER.info("%s: connected to %s", self.account.entry.title, self.title)
            self.disconnected_since, self._down_logged = None, False
            self.delivery.resume()
        elif self.disconnected_since is None:
            self.disconnected_since = time.time()
        if state is ConnectionState.DISCONNECTED and not self._down_logged:
            self._down_logged = True
            _LOGGER.info(
                "%s: no connection to %s; captures wait", self.account.entry.title, self.title
            )
        self.state_changed.notify(state)
        self.account.changed.notify()

    @callback
    def _denied_changed(self) -> None:
        """Look again at what was denied, or is not any longer."""
        self.delivery.lift()
        self.account.changed.notify()

    # What the delivery notifies of

    @callback
    def delivered(self, item: Item) -> None:
        """The destination acknowledged a capture."""
        self.item_delivered.notify(self, item)
        self.account.refresh_soon()

    @callback
    def failed(self, item: Item, error: CloudError) -> None:
        """The destination did not take a capture this time."""
        self.account.count(error.reason)
        self.item_failed.notify(self, item, error)
        self.account.refresh_soon()

    @callback
    def quarantined(self, item: Item) -> None:
        """The destination refused a capture each time."""
        self.account.refresh_soon()

    @callback
    def outbox_failed(self, error: OutboxError) -> None:
        """The outbox could not be read or written."""
        self.account.outbox_failed(error)

    def diagnostics(self) -> dict[str, Any]:
        """Say how it stands; nothing in it is secret but what a topic may carry."""
        return {
            "state": self.destination.state.value,
            "disconnected_since": self.disconnected_since,
            **self.destination.diagnostics(),
        }
