"""What all entities of the integration share."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, override

import attr
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE, EntityStateAttribute
from homeassistant.core import HassJob, HomeAssistant, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.device_registry import DeviceEntryType, DeviceInfo
from homeassistant.helpers.entity import Entity, EntityDescription
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.event import async_call_later
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from .account.device_registry import registered_device
from .const import DOMAIN, MANUFACTURER
from .coordinator import DeviceCoordinator
from .gateway.destinations import ActiveDestination
from .gateway.gateway import Gateway, UloggerConfigEntry

REJECTED: Final = "records_rejected"
RELOADED_WITHIN = 60.0
"""Seconds that states stand for after their account was unloaded."""


class _LeavesItsState(er.RegistryEntry):
    """An entity's registration while its account is reloaded: the state stays as it was."""

    @classmethod
    def of(cls, entry: er.RegistryEntry) -> _LeavesItsState:
        """Return what *entry* says."""
        fields = [each for each in attr.fields(er.RegistryEntry) if each.init]
        return cls(**{each.alias or each.name: getattr(entry, each.name) for each in fields})

    @override
    def write_unavailable_state(self, hass: HomeAssistant) -> None:
        state = hass.states.get(self.entity_id)
        if state is None:
            super().write_unavailable_state(hass)
            return
        attributes = {**state.attributes, EntityStateAttribute.RESTORED: True}
        hass.states.async_set(self.entity_id, state.state, attributes)


class UloggerEntity(Entity):
    """An entity whose state outlives a reload of its account.

    Home Assistant writes *unavailable* when an account is unloaded: two lines for each entity in
    the activity, at each change of the options. Here the state stands until the account is loaded
    again, marked as restored as Home Assistant does it, and nothing is told. Removing the state
    would be as silent, but automations guard themselves against reloads by ``not_from:
    unavailable``, and would take each state that is there again for news. What it costs: a state
    may be as old as the reload takes. An account that does not come back gives its states up
    after a minute (`give_up_states`); one that is disabled or removed, at once.
    """

    @override
    async def async_will_remove_from_hass(self) -> None:
        await super().async_will_remove_from_hass()
        entry = self.platform.config_entry
        reloads = (
            entry is not None
            and entry.state is ConfigEntryState.UNLOAD_IN_PROGRESS
            and entry.disabled_by is None
        )
        if reloads and self.registry_entry is not None:
            self.registry_entry = _LeavesItsState.of(self.registry_entry)


@callback
def give_up_states(hass: HomeAssistant, account: ConfigEntry) -> None:
    """Make unavailable, in a minute, what is not there again by then.

    That is everything if the account fails to load, else what it no longer has.
    """
    entry_id = account.entry_id

    @callback
    def give_up(_now: datetime) -> None:
        for each in er.async_entries_for_config_entry(er.async_get(hass), entry_id):
            state = hass.states.get(each.entity_id)
            if (
                state is not None
                and state.state != STATE_UNAVAILABLE
                and EntityStateAttribute.RESTORED in state.attributes
            ):
                each.write_unavailable_state(hass)

    async_call_later(hass, RELOADED_WITHIN, HassJob(give_up, cancel_on_shutdown=True))


class DeviceEntity(UloggerEntity, CoordinatorEntity[DeviceCoordinator]):
    """An entity of one device; it stays available while the device is out of range."""

    _attr_has_entity_name = True

    def __init__(self, coordinator: DeviceCoordinator, description: EntityDescription) -> None:
        super().__init__(coordinator)
        self.entity_description = description
        self._attr_unique_id = coordinator.unique_id(description.key)
        # The coordinator has registered its device; asking again for each entity costs a third
        # of the time that they take to be added.
        self.device_entry = registered_device(
            coordinator.hass, coordinator.account.entry_id, coordinator.identity
        )

    @property
    def gateway(self) -> Gateway:
        """The account's gateway."""
        gateway: Gateway = self.coordinator.account.entry.runtime_data
        return gateway

    @property
    @override
    def available(self) -> bool:
        return True


class AccountEntity(UloggerEntity):
    """An entity of the account: this gateway and its cloud."""

    _attr_has_entity_name = True
    _attr_should_poll = False

    def __init__(self, gateway: Gateway, description: EntityDescription) -> None:
        self.gateway = gateway
        self.entity_description = description
        entry_id = gateway.entry.entry_id
        self._attr_unique_id = f"{entry_id}-{description.key}"
        self._attr_device_info = DeviceInfo(identifiers={(DOMAIN, entry_id)})

    @override
    async def async_added_to_hass(self) -> None:
        """Follow the account."""
        self.async_on_remove(self.gateway.account.changed.add(self.async_write_ha_state))


class DestinationEntity(UloggerEntity):
    """An entity of a destination that was added to the account, on a device of its own."""

    _attr_has_entity_name = True
    _attr_should_poll = False

    def __init__(
        self, gateway: Gateway, destination: ActiveDestination, description: EntityDescription
    ) -> None:
        self.destination = destination
        self.entity_description = description
        entry_id = gateway.entry.entry_id
        self._attr_unique_id = f"{entry_id}-{destination.id}-{description.key}"
        self._attr_device_info = DeviceInfo(
            identifiers={(DOMAIN, f"{entry_id}-{destination.id}")},
            entry_type=DeviceEntryType.SERVICE,
            manufacturer=MANUFACTURER,
            name=destination.title,
            via_device_id=destination.account.register_device(),
        )

    @override
    async def async_added_to_hass(self) -> None:
        """Follow the account: it notifies of what destinations do."""
        self.async_on_remove(self.destination.account.changed.add(self.async_write_ha_state))


@callback
def add_destination_entities[DescriptionT: EntityDescription](
    gateway: Gateway,
    async_add_entities: AddConfigEntryEntitiesCallback,
    descriptions: Iterable[DescriptionT],
    make: Callable[[Gateway, ActiveDestination, DescriptionT], Entity],
) -> None:
    """Add the entities of each destination that is a subentry of the account.

    What counts rejected records is only for those that may reject any.
    """
    for each in gateway.destinations.values():
        if each.subentry_id is not None:
            async_add_entities(
                [
                    make(gateway, each, description)
                    for description in descriptions
                    if description.key != REJECTED or each.rejected is not None
                ],
                config_subentry_id=each.subentry_id,
            )


@callback
def add_device_entities(
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
    entities_of: Callable[[DeviceCoordinator], Iterable[Entity]],
) -> None:
    """Add the entities of every device that there is, and of those that come later."""
    entry.async_on_unload(
        entry.runtime_data.async_add_device_listener(
            lambda device: async_add_entities(entities_of(device))
        )
    )
