"""Over which scanner a device is connected, and what is assumed where Home Assistant tells less."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import bleak_retry_connector
import pytest
from bleak.backends.device import BLEDevice
from homeassistant.components import bluetooth
from homeassistant.core import HomeAssistant

from custom_components.ulogger.collecting import bluetooth_paths
from custom_components.ulogger.collecting.client_over_path import client_over
from custom_components.ulogger.radio.slots import ASSUMED_SLOTS

from ..support.road import Road

DEVICE = BLEDevice("C0:DE:00:00:00:01", "device", {})


async def test_a_scanner_that_tells_of_no_slots_is_taken_to_have_some(
    hass: HomeAssistant, road: Road
) -> None:
    def slots() -> int:
        found = bluetooth_paths.scanners(hass, {})
        return next(each.slots for each in found if each.source == road.adapter.source)

    road.adapter.slots = 7
    assert slots() == 7
    road.adapter.slots = 0
    assert slots() == ASSUMED_SLOTS
    with patch.object(type(road.adapter), "get_allocations", return_value=None):
        assert slots() == ASSUMED_SLOTS


async def test_a_device_that_is_heard_is_not_quiet_as_long_as_nothing_says_so(
    hass: HomeAssistant, road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = road.device()
    road.adapter.hear(device)
    later = bluetooth.MONOTONIC_TIME() + 20.0
    monkeypatch.setattr(bluetooth, "MONOTONIC_TIME", lambda: later)
    monkeypatch.setattr(type(road.adapter), "time_since_last_detection", lambda _: 0.1)
    assert bluetooth_paths.paths(hass, device.address) == ()
    assert bluetooth_paths.paths(hass, device.address, quiet_too=True)
    # Home Assistant keeps no advertisement of it any longer, the scanner does.
    with patch.object(bluetooth, "async_last_service_info", return_value=None):
        [path] = bluetooth_paths.paths(hass, device.address)
    assert path.source == road.adapter.source
    assert bluetooth_paths.paths(hass, "C0:DE:00:00:00:99") == ()


class Found:
    """A scanner that hears the device."""

    def __init__(self, source: str) -> None:
        self.scanner, self.ble_device, self.source = self, DEVICE, source


class Usual:
    """Home Assistant's client: its own choice is the near scanner."""

    def __init__(self, device: BLEDevice) -> None:
        self.device = device
        self.full: list[str] = []

    def async_scanner_devices_by_address(self, address: str, _connectable: bool) -> list[Found]:
        assert address == DEVICE.address
        return [Found("near"), Found("far")]

    def _async_get_backend_for_ble_device(self, _manager: Any, scanner: Any, _device: Any) -> Any:
        return None if scanner.source in self.full else f"over {scanner.source}"

    def _async_get_best_available_backend_and_device(self, _manager: Any) -> str:
        return "its own choice"


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Usual]]:
    monkeypatch.setattr(bleak_retry_connector, "BleakClientWithServiceCache", Usual)
    return Usual


def over(source: str, full: list[str]) -> list[str]:
    """Return what two attempts connect over."""
    made, named = client_over(source)
    client: Any = made(DEVICE, **named)
    client.full = full
    return [client._async_get_best_available_backend_and_device(client) for _ in range(2)]


def test_the_first_attempt_is_over_the_chosen_scanner_and_the_next_over_any(usual: Any) -> None:
    assert over("far", []) == ["over far", "its own choice"]
    assert over("far", ["far"]) == ["its own choice", "its own choice"]
    assert over("gone", []) == ["its own choice", "its own choice"]


def test_without_a_scanner_or_a_way_to_name_one_the_choice_is_home_assistants(
    usual: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client_over(None) == (Usual, {})
    monkeypatch.delattr(Usual, "_async_get_backend_for_ble_device")
    assert client_over("far") == (Usual, {})
