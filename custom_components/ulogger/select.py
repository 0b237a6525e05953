"""The level that a device shall log at."""

from typing import override

from homeassistant.components.select import SelectEntity, SelectEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .entity import DeviceEntity, add_device_entities
from .gateway.gateway import UloggerConfigEntry
from .model.log_setting import ALL_MODULES, LEVELS, setting_for

PARALLEL_UPDATES = 0

DEVICE_DEFAULT = "device_default"
CHOSEN_FOR = 3600
"""Seconds that a level chosen in the list lasts; the action sets any other time."""

LOG_LEVEL = SelectEntityDescription(
    key="log_level",
    translation_key="log_level",
    entity_category=EntityCategory.CONFIG,
    options=[DEVICE_DEFAULT, *LEVELS],
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the list of each device when it is there."""
    add_device_entities(
        entry, async_add_entities, lambda device: [LogLevelSelect(device, LOG_LEVEL)]
    )


class LogLevelSelect(DeviceEntity, SelectEntity):
    """Written to the device at its next connection, or at once when it is connected."""

    @property
    @override
    def current_option(self) -> str:
        setting = self.coordinator.log_setting
        return DEVICE_DEFAULT if setting is None else setting.level_name

    @override
    async def async_select_option(self, option: str) -> None:
        await self.coordinator.async_set_log_setting(
            None
            if option == DEVICE_DEFAULT
            else setting_for(LEVELS.index(option), ALL_MODULES, [], CHOSEN_FOR)
        )
