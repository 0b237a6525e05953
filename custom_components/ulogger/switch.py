"""The switches that say whether a device is collected at all, and whether it is watched."""

from typing import Any, override

from homeassistant.components.switch import SwitchEntity, SwitchEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .entity import DeviceEntity, add_device_entities
from .gateway.gateway import UloggerConfigEntry

PARALLEL_UPDATES = 0

COLLECT = SwitchEntityDescription(
    key="collect", translation_key="collect", entity_category=EntityCategory.CONFIG
)
LIVE = SwitchEntityDescription(
    key="live", translation_key="live", entity_registry_enabled_default=False
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the switches of each device when it is there."""
    add_device_entities(
        entry,
        async_add_entities,
        lambda device: [CollectSwitch(device, COLLECT), LiveSwitch(device, LIVE)],
    )


class CollectSwitch(DeviceEntity, SwitchEntity):
    """Off: the device is left alone until it is asked for by hand."""

    @property
    @override
    def is_on(self) -> bool:
        return self.coordinator.record.collect

    @override
    async def async_turn_on(self, **kwargs: Any) -> None:
        self.coordinator.set_collect(collect=True)

    @override
    async def async_turn_off(self, **kwargs: Any) -> None:
        self.coordinator.set_collect(collect=False)


class LiveSwitch(DeviceEntity, SwitchEntity):
    """On: a connection is held and what the device logs is taken at once, for a while."""

    @property
    @override
    def is_on(self) -> bool:
        return self.coordinator.live

    @override
    async def async_turn_on(self, **kwargs: Any) -> None:
        self.coordinator.set_live(live=True)

    @override
    async def async_turn_off(self, **kwargs: Any) -> None:
        self.coordinator.set_live(live=False)
