"""Updates: the version of its program that a Pepeunit unit has, and the one it should have."""

from typing import Any, override

from homeassistant.components.update import (
    UpdateEntity,
    UpdateEntityDescription,
    UpdateEntityFeature,
)
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .entity import DestinationEntity
from .errors import unit_errors
from .gateway.gateway import UloggerConfigEntry
from .gateway.pepeunit import ActivePepeunit

PARALLEL_UPDATES = 1

PROGRAM = UpdateEntityDescription(
    key="program", translation_key="program", entity_category=EntityCategory.CONFIG
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: UloggerConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the update of each unit."""
    gateway = entry.runtime_data
    for each in gateway.destinations.values():
        if isinstance(each, ActivePepeunit):
            async_add_entities(
                [UnitUpdate(gateway, each, PROGRAM)], config_subentry_id=each.subentry_id
            )


class UnitUpdate(DestinationEntity, UpdateEntity):
    """The program of a unit: fetching it gives a person an archive, and executes nothing."""

    destination: ActivePepeunit
    _attr_supported_features = UpdateEntityFeature.INSTALL
    _attr_title = "Pepeunit"

    @property
    @override
    def installed_version(self) -> str | None:
        return self.destination.updates.commit or None

    @property
    @override
    def latest_version(self) -> str | None:
        target = self.destination.updates.target
        return None if target is None else target.commit

    @property
    @override
    def release_summary(self) -> str | None:
        target = self.destination.updates.target
        return None if target is None else target.tag

    @property
    @override
    def extra_state_attributes(self) -> dict[str, Any]:
        """Say which tag is meant, and where a compiled firmware is."""
        target, link = self.destination.updates.target, self.destination.updates.link
        return {"tag": target and target.tag, "compiled_firmware": link}

    @override
    async def async_install(self, version: str | None, backup: bool, **kwargs: Any) -> None:
        """Fetch the archive and check it; what becomes of it a person decides in a repair."""
        with unit_errors(self.hass, self.destination.title):
            await self.destination.updates.async_fetch()
