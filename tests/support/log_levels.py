"""What people and clouds wish a device to log."""

import time

from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.log_config import LogConfig
from custom_components.ulogger.model.log_levels import PERSON, Wish


async def wish(device: DeviceCoordinator, config: LogConfig, source: str = PERSON) -> None:
    """Have a device log so."""
    levels = device.record.log_levels.wished(Wish.of(source, config, time.time()))
    await device.async_set_log_levels(levels)


async def withdraw_all(device: DeviceCoordinator) -> None:
    """Have a device log as it does by default."""
    await device.async_set_log_levels(device.record.log_levels.cleared())
