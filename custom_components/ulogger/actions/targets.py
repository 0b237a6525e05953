"""Which devices and gateways an action's target names."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from homeassistant.core import HomeAssistant, ServiceCall, callback
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.service import async_get_device_and_config_entry
from homeassistant.helpers.target import TargetSelection, async_extract_referenced_entity_ids

from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..gateway.gateway import Gateway


@dataclass(slots=True)
class Targets:
    """The devices and gateways of a call, each once."""

    devices: list[DeviceCoordinator] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)


def gateway_of(device: DeviceCoordinator) -> Gateway:
    """Return the gateway that a device belongs to."""
    gateway: Gateway = device.account.entry.runtime_data
    return gateway


def required[CapabilityT](
    gateway: Gateway, able: Mapping[str, CapabilityT]
) -> Collection[CapabilityT]:
    """Return the destinations that can do what is asked for.

    Raises ServiceValidationError when there is none: uLogger could do all of it.
    """
    if not able:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="no_cloud",
            translation_placeholders={"account": gateway.entry.title},
        )
    return able.values()


@callback
def async_targets(hass: HomeAssistant, call: ServiceCall, *, gateways: bool = False) -> Targets:
    """Resolve the target of *call*; a gateway stands for itself only where *gateways* says so.

    Raises ServiceValidationError when what is named is not ours, or nothing is left.
    """
    selected = async_extract_referenced_entity_ids(
        hass, TargetSelection(call.data), primary_entities_only=False
    )
    if selected.missing_devices:
        async_get_device_and_config_entry(hass, DOMAIN, min(selected.missing_devices))
    named = set(call.data.get("device_id", []))
    entities = er.async_get(hass)
    found = selected.referenced_devices | {
        entry.device_id
        for entity_id in selected.referenced
        if (entry := entities.async_get(entity_id)) is not None and entry.device_id
    }
    targets = Targets()
    registry = dr.async_get(hass)
    for device_id in sorted(found):
        device = registry.async_get(device_id)
        ours = device is not None and any(domain == DOMAIN for domain, *_ in device.identifiers)
        if device_id in named:
            _add(hass, device_id, targets, gateways=gateways)
        elif ours:
            # One of many in an area, with a label or behind an entity: it may be left out.
            with suppress(ServiceValidationError):
                _add(hass, device_id, targets, gateways=gateways)
    targets.devices = list(dict.fromkeys(targets.devices))
    if not targets.devices and not targets.gateways:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="no_target")
    return targets


def _add(hass: HomeAssistant, device_id: str, targets: Targets, *, gateways: bool) -> None:
    device, entry = async_get_device_and_config_entry(
        hass, DOMAIN, device_id, include_child_devices=False
    )
    gateway: Gateway = entry.runtime_data
    if (DOMAIN, entry.entry_id) in device.identifiers:
        if gateways:
            targets.gateways.append(gateway)
        else:
            everyone = gateway.devices.values()
            targets.devices.extend(each for each in everyone if not each.excluded)
        return
    for coordinator in gateway.devices.values():
        if coordinator.identifier in device.identifiers and not device.disabled:
            targets.devices.append(coordinator)
            return
    name = device.name_by_user or device.name or device_id
    if device.disabled:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="device_disabled",
            translation_placeholders={"device": name},
        )
    raise ServiceValidationError(
        translation_domain=DOMAIN,
        translation_key="device_not_collected",
        translation_placeholders={"device": name},
    )
