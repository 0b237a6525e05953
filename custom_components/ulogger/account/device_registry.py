"""What the device registry holds of a device: by application and serial, never by address."""

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr

from ..const import DOMAIN, MANUFACTURER
from ..model.identity import DeviceIdentity
from .store import DeviceRecord


def device_identifier(identity: DeviceIdentity) -> tuple[str, str]:
    """Name a device in the registry."""
    return (DOMAIN, f"{identity.application_id}-{identity.serial}")


@callback
def registered_device(
    hass: HomeAssistant, entry_id: str, identity: DeviceIdentity
) -> dr.DeviceEntry | None:
    """Find a device in the registry."""
    return dr.async_get(hass).async_get_device_by_identifier(device_identifier(identity), entry_id)


@callback
def device_name(hass: HomeAssistant, entry_id: str, identity: DeviceIdentity) -> str:
    """Return what a device is called by its user, or else by itself."""
    device = registered_device(hass, entry_id, identity)
    return (device and (device.name_by_user or device.name)) or identity.serial


@callback
def register_device(hass: HomeAssistant, entry_id: str, record: DeviceRecord) -> dr.DeviceEntry:
    """Put a device into the registry, or bring what is there up to date."""
    registry = dr.async_get(hass)
    identity = record.identity
    device = registry.async_get_or_create(
        config_entry_id=entry_id,
        identifiers={device_identifier(identity)},
        name=f"{identity.device_type or record.name} {identity.serial}".strip(),
        manufacturer=MANUFACTURER,
        model=identity.device_type or None,
        model_id=str(identity.application_id),
        serial_number=identity.serial,
        sw_version=identity.git_version or None,
        hw_version=None,
        via_device_id=dr.async_get_device_id_by_identifier(
            hass, (DOMAIN, entry_id), config_entry_id=entry_id
        ),
    )
    connections = {(dr.CONNECTION_BLUETOOTH, record.address)} if record.address else set()
    if device.connections == connections:
        return device
    for other in dr.async_entries_for_config_entry(registry, entry_id):
        if other.id != device.id and other.connections & connections:
            # Whoever was at the address before: the registry refuses an address twice.
            registry.async_update_device(other.id, new_connections=other.connections - connections)
    return registry.async_update_device(device.id, new_connections=connections) or device
