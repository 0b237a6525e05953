"""Devices whose own tick begins a transfer before anybody listens, and that log on."""

import asyncio
from collections.abc import Callable
from typing import override

import pytest
from homeassistant.core import HomeAssistant

from custom_components.ulogger.agent.errors import StaleTransfer
from custom_components.ulogger.agent.session import RECONNECTIONS
from custom_components.ulogger.capture.log_buffer import check_log
from custom_components.ulogger.outbox.model import Added
from demo.cloud.broker import LocalBroker
from demo.device.link import TunableClient
from demo.device.samples import sample_frames
from demo.device.virtual import VirtualDevice

from ..support.bluetooth import ADDRESS
from ..support.local_cloud import LocalCloud
from ..support.road import FAST_AIR, IDENTITY, LOG, Road, add_account

LINE = sample_frames(30, seed=3)
SUBSCRIBED = [("subscribe", "log_data"), ("subscribe", "core_dump_data")]


class Hasty(VirtualDevice):
    """Ticks right after so many connects, and logs a line then."""

    hasty = 0

    @override
    async def connect(self, lost: Callable[[], None]) -> TunableClient:
        link = await super().connect(lost)
        if self.hasty:
            self.hasty -= 1
            self.firmware._start(by_tick=True)
            self.firmware.append_log(LINE)
        return link


@pytest.fixture
async def device(road: Road) -> Hasty:
    device = Hasty(ADDRESS, IDENTITY, LOG, air=FAST_AIR)
    road.adapter.devices[ADDRESS] = device
    return device


async def settled(
    hass: HomeAssistant, broker: LocalBroker, road: Road, device: Hasty
) -> tuple[object, object]:
    """Have an account that knows the device and has nothing of it to collect."""
    road.adapter.hear(device)
    entry = await add_account(hass, broker)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    road.adapter.operations.clear()
    device.emptied.clear()
    device.connections = 0
    device.firmware.append_log(sample_frames(300))
    return entry, coordinator


async def test_it_is_connected_to_again_at_once_and_its_log_comes_first(
    hass: HomeAssistant,
    broker: LocalBroker,
    cloud_service: LocalCloud,
    road: Road,
    device: Hasty,
) -> None:
    _, coordinator = await settled(hass, broker, road, device)
    before = len(coordinator.timeline)
    device.hasty = 1
    [added] = await coordinator.async_collect()

    assert device.connections == 2
    assert len(coordinator.timeline) - before == 1
    assert coordinator.memory.checksum_failures == 0
    operations = road.operations(device)
    assert operations[:3] == [*SUBSCRIBED, ("read", "config")]
    again = operations.index(SUBSCRIBED[0], 2)
    assert ("unsubscribe", "log_data") not in operations[:again]
    assert operations[again : again + 3] == [*SUBSCRIBED, ("write", "log_ack")]
    assert ("read", "config") not in operations[again:]
    # What the device measures every two seconds is read when its captures are here; it also shows
    # that the device still answered, and had nothing more to send.
    assert operations[-3:] == [
        ("read", "rssi"),
        ("unsubscribe", "log_data"),
        ("unsubscribe", "core_dump_data"),
    ]
    assert added.size == 25 + 300 + len(LINE)
    logs = await cloud_service.wait_for("binlog", 2)
    check_log(logs[-1].payload)


async def test_a_device_that_is_always_faster_keeps_its_log_and_is_not_damaged(
    hass: HomeAssistant, broker: LocalBroker, road: Road, device: Hasty
) -> None:
    entry, coordinator = await settled(hass, broker, road, device)
    device.hasty = 1_000
    for sessions in (1, 2, 3, 4):
        with pytest.raises(StaleTransfer):
            await coordinator.async_collect()
        assert device.connections == sessions * (1 + RECONNECTIONS)
    assert coordinator.data.last_error == "stale_transfer"
    assert coordinator.memory.checksum_failures == 0
    assert not coordinator.memory.partials
    assert len(device.erased) == 1
    assert road.state(entry, "last_error") == "stale_transfer"

    device.hasty = 0
    [added] = await coordinator.async_collect()
    assert added.size == 25 + 300 + 4 * (1 + RECONNECTIONS) * len(LINE)


async def test_a_signal_strength_that_fails_late_costs_nothing(
    hass: HomeAssistant,
    broker: LocalBroker,
    road: Road,
    device: Hasty,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, coordinator = await settled(hass, broker, road, device)

    async def cut(self: TunableClient, *_: object) -> bytearray:
        if device.empty:
            device.cut()
            await asyncio.sleep(0)
        return await read(self, *_)

    read = TunableClient.read_gatt_char
    monkeypatch.setattr(TunableClient, "read_gatt_char", cut)
    [added] = await coordinator.async_collect()
    assert added.size == 325
    assert coordinator.timeline[-1].result == "ok"


async def test_a_line_logged_after_the_session_took_the_log_is_collected_for_whoever_asks_then(
    hass: HomeAssistant,
    broker: LocalBroker,
    cloud_service: LocalCloud,
    road: Road,
    device: Hasty,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, coordinator = await settled(hass, broker, road, device)
    before = len(coordinator.timeline)
    asked: list[asyncio.Future[list[Added]]] = []

    async def ask_late(self: TunableClient, *_: object) -> bytearray:
        if device.empty and not asked:
            device.firmware.append_log(LINE)
            asked.append(asyncio.ensure_future(coordinator.async_collect()))
            await asyncio.sleep(0)
        return await read(self, *_)

    read = TunableClient.read_gatt_char
    monkeypatch.setattr(TunableClient, "read_gatt_char", ask_late)
    [early] = await coordinator.async_collect()
    assert [added.size for added in await asked[0]] == [early.size, 25 + len(LINE)]
    assert device.empty
    assert len(coordinator.timeline) - before == 2


async def test_whoever_asks_while_the_log_is_taken_joins_that_session(
    hass: HomeAssistant,
    broker: LocalBroker,
    cloud_service: LocalCloud,
    road: Road,
    device: Hasty,
) -> None:
    _, coordinator = await settled(hass, broker, road, device)
    before = len(coordinator.timeline)
    first, second = await asyncio.gather(coordinator.async_collect(), coordinator.async_collect())
    assert [added.capture_id for added in first] == [added.capture_id for added in second]
    assert len(coordinator.timeline) - before == 1
