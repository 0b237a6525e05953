"""Switches: whether a device is collected or watched, and whether there is remote access."""

from typing import Any, override

from homeassistant.components.switch import SwitchEntity, SwitchEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .cloud.clesyde.errors import ThingError
from .const import DOMAIN
from .entity import (
    DeviceEntity,
    RemoteAccessEntity,
    add_device_entities,
    add_remote_access_entities,
)
from .gateway.gateway import UloggerConfigEntry

PARALLEL_UPDATES = 0

COLLECT = SwitchEntityDescription(
    key="collect", translation_key="collect", entity_category=EntityCategory.CONFIG
)
LIVE = SwitchEntityDescription(
    key="live", translation_key="live", entity_registry_enabled_default=False
)

REMOTE_ACCESS = SwitchEntityDescription(
    key="remote_access", translation_key="remote_access", entity_category=EntityCategory.CONFIG
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the switches of each device when it is there, and those of destinations."""
    add_remote_access_entities(
        entry.runtime_data, async_add_entities, (REMOTE_ACCESS,), RemoteAccessSwitch
    )
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


class RemoteAccessSwitch(RemoteAccessEntity, SwitchEntity):
    """Whether a browser may come through a destination; off until a person turns it on."""

    @property
    @override
    def is_on(self) -> bool:
        return self.remote.remote_wanted

    @override
    async def async_turn_on(self, **kwargs: Any) -> None:
        await self._want(wanted=True)

    @override
    async def async_turn_off(self, **kwargs: Any) -> None:
        await self._want(wanted=False)

    async def _want(self, *, wanted: bool) -> None:
        try:
            await self.remote.want_remote(wanted=wanted)
        except ThingError as err:
            raise HomeAssistantError(
                translation_domain=DOMAIN, translation_key="remote_access_not_kept"
            ) from err
