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
from ..model.identity import DeviceKey


@dataclass(slots=True)
class Targets:
    """The devices and gateways of a call, each once.

    ``refused`` are devices of ours that were named and can't be had now, with the reason.
    """

    devices: list[DeviceCoordinator] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)
    refused: list[tuple[dr.AnyDeviceEntry, ServiceValidationError]] = field(default_factory=list)


def gateway_of(device: DeviceCoordinator) -> Gateway:
    """Return the gateway that a device belongs to."""
    gateway: Gateway = device.account.entry.runtime_data
    return gateway


def name_of(gateway: Gateway, key: DeviceKey) -> str:
    """Return what a device of a gateway, or the gateway itself, is called by its user."""
    if (device := gateway.devices.get(key)) is not None:
        return device.called
    return gateway.entry.title if key == gateway.identity.key else key[1]


def required[CapabilityT](
    gateway: Gateway, able: Mapping[str, CapabilityT]
) -> Collection[CapabilityT]:
    """Return the destinations that can do what is asked for.

    Raises ServiceValidationError when there is none: uLogger could do all of it, with a
    certificate.
    """
    if not able and gateway.over_http is not None:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="no_certificate",
            translation_placeholders={"account": gateway.entry.title},
        )
    if not able:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="no_cloud",
            translation_placeholders={"account": gateway.entry.title},
        )
    return able.values()


@callback
def async_targets(
    hass: HomeAssistant, call: ServiceCall, *, gateways: bool = False, refuse: bool = False
) -> Targets:
    """Resolve the target of *call*; a gateway stands for itself only where *gateways* says so.

    Raises ServiceValidationError when what is named is not ours, or nothing is left; with *refuse*
    not for a device of ours that can't be had now.
    """
    selection = TargetSelection(call.data)
    selected = async_extract_referenced_entity_ids(hass, selection, primary_entities_only=False)
    if selected.missing_devices:
        async_get_device_and_config_entry(hass, DOMAIN, min(selected.missing_devices))
    named = set(call.data.get("device_id", []))
    found = selected.referenced_devices | _devices_of(hass, selected.referenced)
    targets = Targets()
    registry = dr.async_get(hass)
    excluded = _excluded(hass, selection)
    for device_id in sorted(found - excluded):
        device = registry.async_get(device_id)
        ours = device is not None and any(domain == DOMAIN for domain, *_ in device.identifiers)
        if device_id in named:
            try:
                _add(hass, device_id, targets, gateways=gateways)
            except ServiceValidationError as err:
                if device is None or not ours or not refuse:
                    raise
                targets.refused.append((device, err))
        elif ours:
            # One of many in an area, with a label or behind an entity: it may be left out.
            with suppress(ServiceValidationError):
                _add(hass, device_id, targets, gateways=gateways)
    targets.devices = [
        each
        for each in dict.fromkeys(targets.devices)
        if not _is_below(hass, each, excluded, gateways=gateways)
    ]
    if not targets.devices and not targets.gateways and not targets.refused:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="no_target")
    return targets


@callback
def is_targeted(hass: HomeAssistant, device: DeviceCoordinator, selection: TargetSelection) -> bool:
    """Whether a target stands for a device: names it, one of its entities, or its account."""
    selected = async_extract_referenced_entity_ids(hass, selection, primary_entities_only=False)
    entities = selected.referenced | selected.indirectly_referenced
    found = selected.referenced_devices | _devices_of(hass, entities)
    excluded = _excluded(hass, selection)
    return _is_below(hass, device, found - excluded, gateways=False) and not _is_below(
        hass, device, excluded, gateways=False
    )


@callback
def async_named(hass: HomeAssistant, name: str) -> Targets:
    """Return the one device or gateway that has this device ID or serial.

    Raises ServiceValidationError when there is none, or more than one.
    """
    targets = Targets()
    if dr.async_get(hass).async_get(name) is not None:
        _add(hass, name, targets, gateways=True)
        return targets
    disabled: list[DeviceCoordinator] = []
    for entry in hass.config_entries.async_loaded_entries(DOMAIN):
        gateway: Gateway = entry.runtime_data
        targets.gateways += [gateway] if gateway.identity.serial == name else []
        for each in gateway.devices.values():
            if each.identity.serial == name:
                (disabled if each.disabled else targets.devices).append(each)
    if not targets.devices and not targets.gateways:
        if disabled:
            raise _is_disabled(disabled[0].called)
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="unknown_device",
            translation_placeholders={"device": name[:64]},
        )
    if len(targets.devices) > 1:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="ambiguous_device",
            translation_placeholders={"device": name[:64]},
        )
    return targets


def _devices_of(hass: HomeAssistant, entity_ids: Collection[str]) -> set[str]:
    """Return the devices of entities, as far as they have one."""
    entities = er.async_get(hass)
    return {
        entry.device_id
        for entity_id in entity_ids
        if (entry := entities.async_get(entity_id)) is not None and entry.device_id
    }


def _excluded(hass: HomeAssistant, selection: TargetSelection) -> set[str]:
    """Return the devices that a call leaves out; Home Assistant knows that since 2026.11.

    An entity that is named stands for its device, as it does in what a call is for.
    """
    exclude: TargetSelection | None = getattr(selection, "exclude", None)
    if exclude is None:
        return set()
    left_out = async_extract_referenced_entity_ids(hass, exclude, primary_entities_only=False)
    return left_out.referenced_devices | _devices_of(hass, left_out.referenced)


def _is_below(
    hass: HomeAssistant, device: DeviceCoordinator, device_ids: set[str], *, gateways: bool
) -> bool:
    """Whether a device is among those in the registry, or its account where it stands for all."""
    entry_id = device.account.entry_id
    identifiers = [device.identifier] if gateways else [device.identifier, (DOMAIN, entry_id)]
    find = dr.async_get(hass).async_get_device_by_identifier
    found = (find(identifier, entry_id) for identifier in identifiers)
    return any(each is not None and each.id in device_ids for each in found)


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
        raise _is_disabled(name)
    raise ServiceValidationError(
        translation_domain=DOMAIN,
        translation_key="device_not_collected",
        translation_placeholders={"device": name},
    )


def _is_disabled(name: str) -> ServiceValidationError:
    return ServiceValidationError(
        translation_domain=DOMAIN,
        translation_key="device_disabled",
        translation_placeholders={"device": name},
    )
