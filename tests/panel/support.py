"""What tests of the panel's commands share: captures that are read, and a connection."""

from typing import Any

from homeassistant.helpers import device_registry as dr
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import MockHAClientWebSocket

from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity as Identity
from custom_components.ulogger.model.level import Level
from tests.support import encoder
from tests.support.account import SENSOR

ARRIVED = 1_790_000_000.0
RATE = 32768


async def keep(account: MockConfigEntry, *captures: Capture) -> list[int]:
    """Put captures on disk, and have them read as they are after a visit."""
    gateway = account.runtime_data
    ids = []
    for capture in captures:
        added = await gateway.account.outbox.add(capture)
        ids.append(added.capture_id)
        gateway.readings.captures_stored(gateway.devices[capture.device.key])
        for room in (gateway.readings, gateway.crashes):
            if room.task is not None:
                await room.task
    return ids


def said(text: str, *, level: Level = Level.INFO, module: int = 3) -> encoder.Said:
    """Return a frame that says a text, a second after the one before."""
    return encoder.Said(RATE, level, module, 0x400, (("string", text),))


def log_of(
    *frames: encoder.Said, at: float = ARRIVED, seconds: int = 0, device: Identity = SENSOR
) -> Capture:
    """Return a log that was closed so many seconds after the device's start."""
    anchor = (seconds or len(frames)) * RATE
    data = encoder.Log(frames, anchor=anchor, rate=RATE).encoded()
    return Capture(CaptureKind.LOG, device, data, at)


def device_id(device: DeviceCoordinator) -> str:
    """Return a device's ID in the registry."""
    registry = dr.async_get(device.hass)
    entry_id = device.account.entry_id
    found = registry.async_get_device_by_identifier(device.identifier, entry_id)
    assert found is not None
    return found.id


async def ask(client: MockHAClientWebSocket, type_: str, **data: Any) -> Any:
    """Send a command and return its result."""
    await client.send_json_auto_id({"type": f"ulogger/{type_}", **data})
    answer = await client.receive_json()
    assert answer["success"], answer
    return answer["result"]


async def event(client: MockHAClientWebSocket) -> Any:
    """Return the next event."""
    answer = await client.receive_json()
    assert answer["type"] == "event", answer
    return answer["event"]
