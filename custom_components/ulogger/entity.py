"""What all entities of the integration share."""

from collections.abc import Callable, Iterable
from typing import cast, override

from homeassistant.core import callback
from homeassistant.helpers.device_registry import DeviceEntryType, DeviceInfo
from homeassistant.helpers.entity import Entity, EntityDescription
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from .account.device_registry import registered_device
from .cloud.destination import OffersRemoteAccess
from .const import DOMAIN, MANUFACTURER
from .coordinator import DeviceCoordinator
from .gateway.destinations import ActiveDestination
from .gateway.gateway import Gateway, UloggerConfigEntry


class DeviceEntity(CoordinatorEntity[DeviceCoordinator]):
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


class AccountEntity(Entity):
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


class DestinationEntity(Entity):
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
    """Add the entities of each destination that is a subentry of the account."""
    for each in gateway.destinations.values():
        if each.subentry_id is not None:
            async_add_entities(
                [make(gateway, each, description) for description in descriptions],
                config_subentry_id=each.subentry_id,
            )


@callback
def add_remote_access_entities[DescriptionT: EntityDescription](
    gateway: Gateway,
    async_add_entities: AddConfigEntryEntitiesCallback,
    descriptions: Iterable[DescriptionT],
    make: Callable[[Gateway, ActiveDestination, DescriptionT], Entity],
) -> None:
    """Add the entities of each destination through which browsers may come."""
    for each in gateway.destinations.values():
        if isinstance(each.destination, OffersRemoteAccess):
            async_add_entities(
                [make(gateway, each, description) for description in descriptions],
                config_subentry_id=each.subentry_id,
            )


class RemoteAccessEntity(DestinationEntity):
    """An entity about remote access through a destination."""

    @property
    def remote(self) -> OffersRemoteAccess:
        """Who offers it."""
        return cast("OffersRemoteAccess", self.destination.destination)


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
