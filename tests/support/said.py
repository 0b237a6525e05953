"""What devices say, as captures in an account's outbox."""

from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway.gateway import Gateway
from custom_components.ulogger.model.capture import Capture, CaptureKind

CAPTURED_AT = 1_790_000_000.0


def said(device: DeviceCoordinator, data: bytes, at: float = CAPTURED_AT) -> Capture:
    """Return a log of a device."""
    return Capture(CaptureKind.LOG, device.identity, data, at)


async def stored(device: DeviceCoordinator, capture: Capture) -> int:
    """Have a capture come off a device that is released then, and be read; return its ID."""
    gateway: Gateway = device.account.entry.runtime_data
    added = await device.account.outbox.add(capture)
    assert added.capture_id is not None
    device.captures_stored.notify()
    await read_all(gateway)
    return added.capture_id


async def read_all(gateway: Gateway) -> None:
    """Let everything be read that was stored."""
    await gateway.hass.async_block_till_done()
    for reader in (gateway.readings, gateway.crashes):
        while (task := reader.task) is not None and not task.done():
            await task
    await gateway.hass.async_block_till_done()
