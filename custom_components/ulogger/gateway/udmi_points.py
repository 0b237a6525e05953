"""The points of one proxied device: its metrics, its counters, and the entities that were chosen.

What a site sets becomes an action of Home Assistant, of no entity but those that a person has
marked writable.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import probatio
from homeassistant.const import ATTR_ENTITY_ID, ATTR_UNIT_OF_MEASUREMENT
from homeassistant.core import CALLBACK_TYPE, Context, Event, HomeAssistant, callback
from homeassistant.exceptions import (
    HomeAssistantError,
    ServiceNotFound,
    ServiceValidationError,
)
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.event import EventStateChangedData, async_track_state_change_event
from homeassistant.util import dt as dt_util

from ..cloud.udmi.block import Changed, PublishEvent
from ..cloud.udmi.points import InvalidValue, Point, Value, point_name, same
from ..cloud.udmi.pointset import Pointset
from ..const import CONF_ENTITY, CONF_POINT, CONF_POINTS, CONF_UNITS, CONF_WRITABLE
from ..coordinator import DeviceCoordinator
from ..insight.units import measure
from .entity_values import UNTOLD
from .settable_entities import setting_of, shown
from .unit_values import CONF_DEVICE

_LOGGER = logging.getLogger(__name__)

ERRORS: Final = "error_count"
WARNINGS: Final = "warning_count"
CRASHES: Final = "crash_count"

type Chosen = Mapping[str, Any]
"""An entity that a person made a point, as the subentry has it."""


class NotThere(HomeAssistantError):
    """An entity can't be set because it is not there now."""


@callback
def chosen_of(
    hass: HomeAssistant, data: Mapping[str, Any], device: DeviceCoordinator
) -> list[Chosen]:
    """Return the entities that were made points of a device; without one, those that it has."""
    registry = dr.async_get(hass)

    def is_of(chosen: Chosen) -> bool:
        device_id = chosen.get(CONF_DEVICE)
        if not device_id:
            entity = er.async_get(hass).async_get(chosen[CONF_ENTITY])
            device_id = entity and entity.device_id
        entry = registry.async_get(device_id) if device_id else None
        return entry is not None and device.identifier in entry.identifiers

    return [each for each in data.get(CONF_POINTS, ()) if is_of(each)]


class EntityPoints:
    """The entities among the points of a device: read, followed and set."""

    def __init__(self, hass: HomeAssistant, chosen: Iterable[Chosen]) -> None:
        self.entities: dict[str, str] = {}
        self._hass = hass
        self._writable: set[str] = set()
        self._units: dict[str, str] = {}
        for each in chosen:
            name, entity_id = each[CONF_POINT], each[CONF_ENTITY]
            if self.entities.setdefault(name, entity_id) != entity_id:
                continue
            self._units[name] = each.get(CONF_UNITS) or _unit_of(hass, entity_id)
            if each.get(CONF_WRITABLE):
                self._writable.add(name)

    @property
    def points(self) -> list[Point]:
        """The points, as a site is told of them."""
        return [
            Point(name, self._units[name], name in self._writable, entity_id)
            for name, entity_id in self.entities.items()
        ]

    @callback
    def follow(self, changed: Callable[[str, Value | None], None]) -> CALLBACK_TYPE:
        """Call *changed* with each point and what it shows, now and whenever that changes."""
        names: dict[str, list[str]] = {}
        for name, entity_id in self.entities.items():
            names.setdefault(entity_id, []).append(name)
            changed(name, self.read(name))

        @callback
        def state_changed(event: Event[EventStateChangedData]) -> None:
            value = shown(event.data["new_state"])
            if value != shown(event.data["old_state"]):
                for name in names[event.data["entity_id"]]:
                    changed(name, value)

        return async_track_state_change_event(self._hass, list(names), state_changed)

    @callback
    def read(self, name: str) -> Value | None:
        """Return what a point shows now; None if that is not known, or it is no entity."""
        entity_id = self.entities.get(name)
        return None if entity_id is None else shown(self._hass.states.get(entity_id))

    @callback
    def check(self, name: str, value: Value) -> Value:
        """Return the value if the entity could take it; raises InvalidValue."""
        state = self._hass.states.get(self._entity(name))
        if state is not None and state.state not in UNTOLD:
            if (setting := setting_of(state)) is None:
                raise InvalidValue(f"an entity of the kind {state.domain} can't be set")
            setting.call(value)
        return value

    @callback
    def shows(self, point: Point, wanted: Value, seen: Value | None) -> bool:
        """Return whether a point shows what it was set to, as near as its entity can be set."""
        state = self._hass.states.get(self.entities.get(point.name, ""))
        setting = None if state is None else setting_of(state)
        return same(wanted, seen, setting.step if setting else 0.0)

    async def write(self, name: str, value: Value) -> None:
        """Set an entity; raises InvalidValue where it never can be, or HomeAssistantError."""
        entity_id = self._entity(name)
        state = self._hass.states.get(entity_id)
        if state is None or state.state in UNTOLD:
            raise NotThere(f"{entity_id} is not available")
        if (setting := setting_of(state)) is None:
            raise InvalidValue(f"an entity of the kind {state.domain} can't be set")
        call = setting.call(value)
        try:
            await self._hass.services.async_call(
                state.domain,
                call.service,
                {**call.data, ATTR_ENTITY_ID: entity_id},
                blocking=True,
                context=Context(),
            )
        except ServiceNotFound:
            # Whoever offers it is not loaded yet, or no longer.
            raise
        except (ServiceValidationError, probatio.Invalid) as err:
            raise InvalidValue(str(err) or type(err).__name__) from err

    def _entity(self, name: str) -> str:
        if name not in self._writable:
            raise InvalidValue("nobody has marked it writable")
        return self.entities[name]


class DevicePoints:
    """The points of one device; ``block`` is its block ``pointset``.

    ``keep`` is called when ``block.memory`` is another one; ``memory`` is what it was last.
    """

    def __init__(
        self,
        device: DeviceCoordinator,
        chosen: Sequence[Chosen],
        *,
        changed: Changed,
        publish: PublishEvent,
        keep: Changed,
        memory: Mapping[str, Any],
    ) -> None:
        self._device = device
        self._memory = memory
        self._entities = EntityPoints(device.hass, chosen)
        self._ends: list[CALLBACK_TYPE] = []
        self.block = Pointset(
            self._entities.points,
            changed=changed,
            publish=publish,
            clock=time.monotonic,
            now=dt_util.utcnow,
            read=self._entities.read,
            write=self._entities.write,
            check=self._entities.check,
            shows=self._entities.shows,
            keep=keep,
        )

    @callback
    def start(self) -> None:
        """Go on where it was left off, and follow entities, metrics and counters."""
        self._take_heard()
        self.block.restore(self._memory)
        self._ends = [
            self._entities.follow(self.block.report),
            self._device.async_add_listener(self._take_heard),
        ]

    @callback
    def stop(self) -> None:
        """Follow nothing any longer, and write nothing; what is set is gone on with later."""
        while self._ends:
            self._ends.pop()()
        self.block.close()

    @callback
    def release(self) -> None:
        """Follow nothing any longer, and have what is set go back: the site has let go of it.

        What can't go back now does so when there is a proxy of the device again.
        """
        while self._ends:
            self._ends.pop()()
        self.block.release()

    @callback
    def _take_heard(self) -> None:
        """Take what was read of the device's captures; the captures themselves go on their own."""
        heard = self._device.heard
        for name, metric in heard.metrics.items():
            self._report(point_name(name), metric.value, measure(name).unit or "", published=True)
        self._report(ERRORS, heard.errors)
        self._report(WARNINGS, heard.warnings)
        self._report(CRASHES, self._device.data.counters.core_dumps)

    def _report(self, name: str, value: float, units: str = "", *, published: bool = False) -> None:
        if name not in self._entities.entities:
            self.block.report(name, value, units=units, published=published)


@callback
def _unit_of(hass: HomeAssistant, entity_id: str) -> str:
    state = hass.states.get(entity_id)
    if state is not None and (unit := state.attributes.get(ATTR_UNIT_OF_MEASUREMENT)):
        return str(unit)
    entry = er.async_get(hass).async_get(entity_id)
    return (entry and entry.unit_of_measurement) or ""
