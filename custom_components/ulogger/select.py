"""The level that a device shall log at, and who wishes that.

Of several wishes the most verbose one is followed: what a person chooses here holds beside what
the cloud sends. The device's default ends all of them.
"""

import time
from typing import override

from homeassistant.components.select import SelectEntity, SelectEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .entity import DeviceEntity, add_device_entities
from .gateway.gateway import UloggerConfigEntry
from .model.level import LEVELS
from .model.log_config import ALL_MODULES, LogConfig
from .model.log_levels import PERSON, Wish

PARALLEL_UPDATES = 0

DEVICE_DEFAULT = "device_default"
ATTR_WISHED = "wished"
ATTR_SOURCE = "source"
CHOSEN_FOR = 3600
"""Seconds that a level chosen in the list lasts; the action sets any other time."""

LOG_LEVEL = SelectEntityDescription(
    key="log_level",
    translation_key="log_level",
    entity_category=EntityCategory.CONFIG,
    entity_registry_enabled_default=False,
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
    """What the device was told.

    What is chosen is a wish: it is written at the next connection, or at once when the device is
    connected; until then it stands beside what the device holds.
    """

    @property
    @override
    def current_option(self) -> str:
        told = self.coordinator.told_log_level
        return DEVICE_DEFAULT if told is None else LEVELS[told.level]

    @property
    @override
    def extra_state_attributes(self) -> dict[str, str | None]:
        wish = self.coordinator.log_level
        return {
            ATTR_WISHED: DEVICE_DEFAULT if wish is None else wish.level_name,
            ATTR_SOURCE: None if wish is None else self._shown(wish.source),
        }

    def _shown(self, source: str) -> str:
        """Name a source: a destination by its title, the others by what is translated."""
        destination = self.coordinator.account.entry.subentries.get(source)
        return source if destination is None else destination.title

    @override
    async def async_select_option(self, option: str) -> None:
        levels = self.coordinator.record.log_levels
        if option == DEVICE_DEFAULT:
            levels = levels.cleared()
        else:
            config = LogConfig(LEVELS.index(option), ALL_MODULES, CHOSEN_FOR)
            levels = levels.wished(Wish.of(PERSON, config, time.time()))
        await self.coordinator.async_set_log_levels(levels)
