"""Advertisements, as if an adapter of Home Assistant had just heard them."""

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from homeassistant.components.bluetooth import (
    MONOTONIC_TIME,
    BluetoothServiceInfoBleak,
    async_get_advertisement_callback,
)
from homeassistant.core import HomeAssistant

SERVICE_UUID = "691fe31f-1a06-4c7c-88c7-0993ec53f40c"
ADDRESS = "C0:FF:EE:00:00:01"
OTHER_ADDRESS = "C0:FF:EE:00:00:02"
ADAPTER = "00:00:00:00:00:01"


def service_info(
    name: str = "uLogger Example",
    address: str = ADDRESS,
    *,
    service_uuids: tuple[str, ...] = (),
    rssi: int = -60,
    connectable: bool = True,
    source: str = ADAPTER,
    time: float | None = None,
) -> BluetoothServiceInfoBleak:
    """Return what Home Assistant makes of one advertisement."""
    return BluetoothServiceInfoBleak(
        name=name or address,
        address=address,
        rssi=rssi,
        manufacturer_data={},
        service_data={},
        service_uuids=list(service_uuids),
        source=source,
        device=BLEDevice(address=address, name=name, details={}),
        advertisement=AdvertisementData(
            local_name=name or None,
            manufacturer_data={},
            service_data={},
            service_uuids=list(service_uuids),
            tx_power=-127,
            rssi=rssi,
            platform_data=(),
        ),
        connectable=connectable,
        time=MONOTONIC_TIME() if time is None else time,
        tx_power=-127,
    )


def inject_bluetooth_service_info(hass: HomeAssistant, info: BluetoothServiceInfoBleak) -> None:
    """Have Home Assistant's Bluetooth hear an advertisement."""
    async_get_advertisement_callback(hass)(info)
