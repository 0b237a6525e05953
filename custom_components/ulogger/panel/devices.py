"""What the panel shows of all devices: a row for each, sent again when it is other than before.

The rows come at once; what devices measured is read from their captures, a device after the
other, and follows. Nothing here takes the loop for long, however many devices there are.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import probatio
from homeassistant.components.websocket_api import async_register_command
from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.decorators import require_admin, websocket_command
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback

from ..coordinator import DeviceCoordinator
from ..gateway.gateway import Gateway
from ..model.identity import DeviceKey
from .gateways import Names, devices_of, follow, loaded
from .measured import async_read_series, errors_since
from .messages import Device, DevicesEvent, MetricSeries

DAY: Final = 86_400.0
SOON: Final = 0.25
"""Seconds in which several changes become one."""
AT_ONCE: Final = 25
"""Rows that are made before others have their turn on the loop."""
MOST_SUMMARIES: Final = 2_000
CAPTURES: Final = 12
"""Captures of a device whose metrics make its sparkline."""
POINTS: Final = 60

type _Id = tuple[str, DeviceKey]
"""A device of an account."""


@callback
def async_register_device_commands(hass: HomeAssistant) -> None:
    """Offer the commands."""
    async_register_command(hass, subscribe)
    async_register_command(hass, set_live)


@require_admin
@websocket_command({probatio.Required("type"): "ulogger/devices/subscribe"})
@callback
def subscribe(hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]) -> None:
    """Send all devices, then those that change, until that is ended."""
    table = _Table(hass, connection, message["id"])
    connection.subscriptions[message["id"]] = table.stop
    connection.send_result(message["id"])
    table.start()


@require_admin
@websocket_command(
    {
        probatio.Required("type"): "ulogger/devices/set_live",
        probatio.Required("devices"): probatio.All(
            [probatio.All(str, probatio.Length(max=64))], probatio.Length(min=1, max=10_000)
        ),
        probatio.Required("live"): bool,
    }
)
@callback
def set_live(hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]) -> None:
    """Have devices live, as long as the account's options say, or not any more."""
    for device in devices_of(hass, message["devices"]):
        device.set_live(live=message["live"])
    connection.send_result(message["id"])


class _Measured:
    """What was read of one device's captures."""

    def __init__(self, errors: list[tuple[float, int]], metrics: list[MetricSeries]) -> None:
        self._errors = errors
        self.metrics = metrics

    def errors_since(self, since: float) -> int:
        """Return how many errors came from a time on."""
        return sum(count for at, count in self._errors if at >= since)


_NOTHING: Final = _Measured([], [])


class _Table:
    """The rows that one panel is shown."""

    def __init__(self, hass: HomeAssistant, connection: ActiveConnection, number: int) -> None:
        self._hass = hass
        self._connection = connection
        self._number = number
        self._names = Names(hass)
        self._sent: dict[_Id, Device] = {}
        self._measured: dict[_Id, _Measured] = {}
        self._due: dict[_Id, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._again = False
        self._begun = False
        self._end: CALLBACK_TYPE | None = None

    # Life

    @callback
    def start(self) -> None:
        """Send what there is, and follow it."""
        self._end = follow(self._hass, self._attach)
        self._send()

    @callback
    def stop(self) -> None:
        """Send nothing any more."""
        if self._end is not None:
            self._end()
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._sending, self._reading):
            if task is not None:
                task.cancel()

    @callback
    def _attach(self, gateway: Gateway) -> CALLBACK_TYPE:
        """Follow an account; returns what ends that."""
        ends: list[CALLBACK_TYPE] = []

        @callback
        def there(device: DeviceCoordinator) -> None:
            ends.append(device.async_add_listener(self._soon))
            self._measure(gateway, device)

        @callback
        def read(device: DeviceCoordinator | None, *_: object) -> None:
            if device is not None:
                self._measure(gateway, device)

        ends += [
            gateway.async_add_device_listener(there),
            gateway.readings.read.add(read),
            gateway.account.changed.add(self._soon),
        ]
        self._soon()

        @callback
        def detach() -> None:
            for end in ends:
                end()
            self._soon()

        return detach

    # Rows

    @callback
    def _soon(self) -> None:
        """Send in a moment what changed meanwhile."""
        if self._timer is None:
            self._timer = self._hass.loop.call_later(SOON, self._send)

    @callback
    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._sending is not None and not self._sending.done():
            self._again = True
            return
        self._sending = self._hass.async_create_background_task(
            self._send_rows(), "Show devices in the panel"
        )

    async def _send_rows(self) -> None:
        """Send the rows that are other than before, and what is gone."""
        there: dict[_Id, tuple[Gateway, DeviceCoordinator]] = {
            (gateway.account.entry_id, key): (gateway, device)
            for gateway in loaded(self._hass)
            for key, device in gateway.devices.items()
        }
        now = time.time()
        crashes = {each.account.entry_id: _crashes(each, now) for each in loaded(self._hass)}
        rows: list[Device] = []
        for number, (id_, (gateway, device)) in enumerate(there.items(), 1):
            row = self._row(id_, gateway, device, crashes.get(id_[0], {}), now)
            if self._sent.get(id_) != row:
                self._sent[id_] = row
                rows.append(row)
            if number % AT_ONCE == 0:
                self._tell(rows)
                rows = []
                await asyncio.sleep(0)
        gone = [id_ for id_ in self._sent if id_ not in there and not self._comes_back(id_)]
        removed = [self._sent.pop(id_)["device"] for id_ in gone]
        if not self._begun or rows or removed:
            self._begun = True
            self._tell(rows, removed)
        if self._again:
            self._again = False
            self._soon()

    def _comes_back(self, id_: _Id) -> bool:
        """Whether a device's account is only not loaded now: what was shown of it stays."""
        entry = self._hass.config_entries.async_get_entry(id_[0])
        gone = entry is None or entry.disabled_by is not None
        return not gone and all(each.account.entry_id != id_[0] for each in loaded(self._hass))

    def _tell(self, rows: list[Device], removed: list[str] | None = None) -> None:
        if rows or removed is not None:
            self._begun = True
            event: DevicesEvent = {"devices": rows, "removed": removed or []}
            self._connection.send_event(self._number, event)

    def _row(
        self,
        id_: _Id,
        gateway: Gateway,
        device: DeviceCoordinator,
        crashes: Mapping[DeviceKey, int],
        now: float,
    ) -> Device:
        measured = self._measured.get(id_, _NOTHING)
        state, identity = device.data, device.identity
        level = device.log_level
        return {
            "device": self._names.id_of(device),
            "account": id_[0],
            "name": self._names.name_of(device),
            "serial": identity.serial,
            "application_id": identity.application_id,
            "version": identity.git_version,
            "has_image": gateway.images.title_of(identity) is not None,
            "state": device.phase.value,
            "progress": _progress(state.bytes_done, state.bytes_total),
            "in_range": state.present,
            "last_seen": round(device.record.last_seen) or None,
            "rssi": state.rssi,
            "metrics": measured.metrics,
            "errors_24h": measured.errors_since(now - DAY),
            "crashes_24h": crashes.get(identity.key, 0),
            "waiting": [
                {"destination": each.id, "name": each.title, "waiting": counters.waiting}
                for each in gateway.destinations.values()
                for counters in [
                    gateway.account.delivery_counters.get(each.id, {}).get(identity.key)
                ]
                if counters is not None
            ],
            "next_collection": None
            if state.next_collection is None or not state.present
            else state.next_collection.timestamp(),
            "collect": device.record.collect,
            "log_level": None if level is None else level.level_name,
            "live": device.live,
        }

    # What is read of captures

    @callback
    def _measure(self, gateway: Gateway, device: DeviceCoordinator) -> None:
        """Have a device's captures read, after the others that wait for that."""
        self._due[gateway.account.entry_id, device.identity.key] = None
        if self._reading is None or self._reading.done():
            self._reading = self._hass.async_create_background_task(
                self._measure_all(), "Read metrics for the panel"
            )

    async def _measure_all(self) -> None:
        while self._due:
            id_ = next(iter(self._due))
            del self._due[id_]
            gateways = {each.account.entry_id: each for each in loaded(self._hass)}
            if (gateway := gateways.get(id_[0])) is None:
                continue
            rows = await gateway.readings.async_summaries(id_[1], MOST_SUMMARIES)
            series = await async_read_series(self._hass, gateway, rows, CAPTURES, POINTS)
            job = partial(errors_since, rows, time.time() - DAY)
            errors = await self._hass.async_add_executor_job(job)
            self._measured[id_] = _Measured(errors, series.messages())
            self._soon()


def _progress(done: int | None, total: int | None) -> float | None:
    return None if done is None or not total else min(1.0, round(done / total, 3))


def _crashes(gateway: Gateway, now: float) -> Mapping[DeviceKey, int]:
    """Count each device's crashes of the last day."""
    return Counter(
        (each.application_id, each.device)
        for group in gateway.crashes.groups
        if group.last_seen >= now - DAY
        for each in group.occurrences.values()
        if each.at >= now - DAY
    )
