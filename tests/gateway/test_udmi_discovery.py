"""What a gateway finds around it, and where it and its devices are."""

from datetime import timedelta
from typing import Any

import pytest
import pytest_socket
from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import MONOTONIC_TIME
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.ulogger.cloud.udmi.family_scan import Found, ScanFailed
from custom_components.ulogger.cloud.udmi.proxies import Target
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway.udmi_discovery import (
    BleScanner,
    adapter_address,
    references,
)
from custom_components.ulogger.gateway.udmi_localnet import (
    GatewayAddresses,
    follow_reach,
    own_addresses,
    proxy_addresses,
)
from tests.support.bluetooth import (
    ADDRESS,
    OTHER_ADDRESS,
    inject_bluetooth_service_info,
    service_info,
)

POINTS: dict[str, Any] = {
    "battery": {"units": "V", "writable": False},
    "setpoint": {"ref": "number.setpoint", "writable": True},
    "odd": {"ref": "not a reference"},
}


def scanner(account: MockConfigEntry) -> BleScanner:
    return BleScanner(
        account.runtime_data.account.hass,
        account.runtime_data.account.store.by_address,
        lambda record: "BLE-7" if record.address == ADDRESS else "",
        lambda proxy_id: POINTS if proxy_id == "BLE-7" else {},
    )


async def test_what_is_there_and_what_comes_is_found(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    inject_bluetooth_service_info(hass, service_info())
    found: list[Found] = []
    stop = scanner(account).listen(found.append)
    assert [each.address for each in found] == [ADDRESS]
    inject_bluetooth_service_info(
        hass, service_info("Some\nbody *else*", OTHER_ADDRESS, connectable=False, rssi=-80)
    )
    assert [each.address for each in found] == [ADDRESS, OTHER_ADDRESS]
    assert found[1] == Found(
        OTHER_ADDRESS, system={"name": "Some body *else*", "ancillary": {"rssi": -80}}
    )
    stop()
    stop()
    inject_bluetooth_service_info(hass, service_info("Third", "C0:FF:EE:00:00:03"))
    assert len(found) == 2


async def test_a_device_of_the_account_carries_who_it_is(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    inject_bluetooth_service_info(hass, service_info())
    found: list[Found] = []
    scanner(account).listen(found.append)()
    assert found == [
        Found(
            ADDRESS,
            families={"iot": "BLE-7"},
            system={
                "name": "uLogger Example",
                "serial_no": "A87DE76F0011",
                "hardware": {"make": "uLogger", "model": "DoorSenseV2"},
                "ancillary": {
                    "rssi": -60,
                    "application_id": 42,
                    "device_type": "DoorSenseV2",
                    "firmware": "4.24.2",
                    "git_hash": "bc53443",
                },
            },
            refs={
                "battery": {"point": "battery", "units": "V", "writable": False},
                "number.setpoint": {"point": "setpoint", "writable": True},
            },
        )
    ]


async def test_an_advertisement_that_is_always_the_same_is_heard_again(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    found: list[Found] = []
    stop = scanner(account).listen(found.append)
    for second in range(3):
        heard = MONOTONIC_TIME() + second
        inject_bluetooth_service_info(hass, service_info(time=heard))
        async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=11 * (second + 1)))
        await hass.async_block_till_done()
    assert len(found) == 3
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=60))
    await hass.async_block_till_done()
    assert len(found) == 3
    stop()


async def test_without_an_adapter_nothing_can_be_scanned(
    account: MockConfigEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bluetooth, "async_scanner_count", lambda _hass, connectable=True: 0)
    with pytest.raises(ScanFailed, match="no Bluetooth adapter"):
        scanner(account).listen(lambda _found: None)


def test_points_are_told_by_what_they_are_called_here() -> None:
    assert set(references(POINTS)) == {"battery", "number.setpoint"}


# Addresses


@pytest.fixture
def sockets(socket_enabled: None) -> None:
    """Let a test ask the kernel for its own addresses."""
    pytest_socket.enable_socket()


@pytest.mark.usefixtures("sockets")
async def test_a_gateway_says_from_where_it_reaches_its_broker(hass: HomeAssistant) -> None:
    addresses = GatewayAddresses(hass)
    assert await addresses.async_look("127.0.0.1", 8883)
    assert addresses()["ipv4"] == "127.0.0.1"
    assert not await addresses.async_look("127.0.0.1", 8883)
    assert addresses().get("ble", "") == adapter_address(hass)
    assert own_addresses("127.0.0.1", 8883) == {"ipv4": "127.0.0.1"}


async def test_a_device_out_of_range_is_said_to_be(device: DeviceCoordinator) -> None:
    target = Target(lambda: proxy_addresses(device), changed=lambda: None, now=dt_util.utcnow)
    end = follow_reach(device, target)
    assert "is out of range" in target.state()["status"]["message"]
    device.show(present=True)
    assert target.state() == {}
    end()
    device.show(present=False)
    assert target.state() == {}
    assert proxy_addresses(device) == {"ble": ADDRESS}
    device.record.address = ""
    assert proxy_addresses(device) == {}
