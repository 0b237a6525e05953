"""The buttons: collect a device now, and take note of its crashes."""

from typing import override

from homeassistant.components.button import ButtonEntity, ButtonEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .actions.collect import async_collect
from .entity import DeviceEntity, add_device_entities
from .errors import user_errors
from .gateway.gateway import UloggerConfigEntry

PARALLEL_UPDATES = 0

UPLOAD_NOW = ButtonEntityDescription(key="upload_now", translation_key="upload_now")
CLEAR_CRASH = ButtonEntityDescription(
    key="clear_crash", translation_key="clear_crash", entity_registry_enabled_default=False
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the buttons of each device when it is there."""
    add_device_entities(
        entry,
        async_add_entities,
        lambda device: [UploadButton(device, UPLOAD_NOW), ClearCrashButton(device, CLEAR_CRASH)],
    )


class UploadButton(DeviceEntity, ButtonEntity):
    """Collects the device now; what comes goes up as soon as the cloud takes it."""

    @override
    async def async_press(self) -> None:
        with user_errors(self.coordinator.called):
            await async_collect(self.coordinator)
        self.gateway.async_retry_now()


class ClearCrashButton(DeviceEntity, ButtonEntity):
    """Says that a person knows of the device's crashes; *Crashed since* begins anew."""

    @override
    async def async_press(self) -> None:
        self.gateway.crashes.clear(self.coordinator)
