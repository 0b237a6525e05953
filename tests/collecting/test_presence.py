"""Going out of range and coming back is logged once each; an account that ends collects no more."""

import logging

import pytest
from homeassistant.core import HomeAssistant

from custom_components.ulogger.collecting.connection import Interrupted
from custom_components.ulogger.coordinator import DeviceCoordinator
from tests.support.account import SENSOR
from tests.support.bluetooth import service_info


def logged(caplog: pytest.LogCaptureFixture, what: str) -> int:
    return sum(
        record.levelno == logging.INFO and record.getMessage() == f"{SENSOR.serial} {what}"
        for record in caplog.records
    )


async def test_a_device_that_goes_and_comes_back_is_logged_once_each(
    hass: HomeAssistant, device: DeviceCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        device.lost()
    assert logged(caplog, "is out of range") == 1
    assert not device.data.present
    for _ in range(2):
        device.seen(service_info())
    assert logged(caplog, "is in range again") == 1
    assert device.data.present


async def test_an_account_that_is_unloaded_collects_no_more(
    hass: HomeAssistant, device: DeviceCoordinator
) -> None:
    assert await hass.config_entries.async_unload(device.account.entry_id)
    with pytest.raises(Interrupted):
        await device.async_collect()
