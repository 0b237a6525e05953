"""The daily limit of a device: logs over it wait for the next UTC day, core dumps pass."""

from collections.abc import Callable
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.model.capture import Capture, CaptureKind
from tests.support.account import APPROVED, CRASH_LOG, SENSOR, ToldTransport, core_dump, load, meet

LOG_SIZE = len(CRASH_LOG) + 1


def numbered_log(number: int) -> Capture:
    """A log unlike the others, and no continuation of one."""
    data = bytearray(CRASH_LOG)
    data[5:9] = number.to_bytes(4, "little")
    return Capture(CaptureKind.LOG, SENSOR, bytes(data) + bytes([number]), 1_790_000_000.0 + number)


class Day:
    """The outbox's clock: today as it is, or the day after."""

    def __init__(self) -> None:
        self.midnight = dt_util.utcnow().replace(hour=0, minute=0, second=0, microsecond=0)
        self.midnight += timedelta(days=1)
        self.now: datetime = self.midnight - timedelta(minutes=10)

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def day() -> Day:
    return Day()


@pytest.fixture
async def account(hass: HomeAssistant, transport: ToldTransport, day: Day) -> MockConfigEntry:
    """An account whose devices may send 5 KB a day; its cloud is away."""
    transport.tell(ConnectionState.DISCONNECTED)
    # The hourly sweep would read the counters too.
    with patch("custom_components.ulogger.account.account.SWEEP_EVERY", timedelta(days=30)):
        entry = await load(hass, options={**APPROVED, "daily_quota_kb": 5})
    entry.runtime_data.account.outbox._now = day
    entry.runtime_data.account.quota.clock = day
    meet(entry)
    return entry


async def pass_midnight(hass: HomeAssistant, day: Day) -> None:
    day.now = day.midnight
    for seconds in (0, 1):
        async_fire_time_changed(hass, day.midnight + timedelta(seconds=seconds))
        await hass.async_block_till_done()


async def read_counters(hass: HomeAssistant, account: MockConfigEntry) -> None:
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=1))
    await hass.async_block_till_done()
    await account.runtime_data.account.async_refresh_counters()
    await hass.async_block_till_done()
    assert account.runtime_data.account._refresh_timer is None


async def until(hass: HomeAssistant, holds: Callable[[], bool]) -> None:
    for _ in range(100):
        if holds():
            return
        await hass.async_block_till_done()
    raise AssertionError


def logs(transport: ToldTransport) -> list[int]:
    """The numbers of the logs that went up."""
    return [payload[-1] for topic, payload in transport.published if topic.startswith("binlog")]


async def test_logs_over_the_quota_wait_until_midnight_and_core_dumps_pass(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, day: Day
) -> None:
    gateway = account.runtime_data
    ids = [
        (await gateway.account.outbox.add(numbered_log(number))).capture_id for number in range(8)
    ]
    dump = (await gateway.account.outbox.add(core_dump())).capture_id

    transport.tell(ConnectionState.CONNECTED)

    assert await gateway.destinations["ulogger"].delivery.wait_delivered(
        SENSOR.key, [dump], 10
    ) == {dump}
    await read_counters(hass, account)
    sent = len(logs(transport))
    # One capture may be on its way while the one before it is being noted on disk.
    assert 5_000 <= sent * LOG_SIZE <= 5_000 + 2 * LOG_SIZE
    assert logs(transport) == list(range(sent))
    counters = gateway.devices[SENSOR.key].data.counters
    assert counters.bytes_today == sent * LOG_SIZE + len(core_dump().data)
    assert counters.waiting == len(ids) - sent

    await pass_midnight(hass, day)

    later = await gateway.destinations["ulogger"].delivery.wait_delivered(
        SENSOR.key, ids[sent : sent + 1], 10
    )
    assert later == {ids[sent]}
    assert logs(transport)[: sent + 1] == list(range(sent + 1))


async def test_without_a_quota_everything_goes_up(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    hass.config_entries.async_update_entry(account, options=APPROVED)
    assert await hass.config_entries.async_reload(account.entry_id)
    gateway = account.runtime_data
    ids = {
        (await gateway.account.outbox.add(numbered_log(number))).capture_id for number in range(8)
    }
    transport.tell(ConnectionState.CONNECTED)

    assert await gateway.destinations["ulogger"].delivery.wait_delivered(SENSOR.key, ids, 10) == ids


async def test_bytes_of_today_are_nothing_after_midnight_without_any_traffic(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, day: Day
) -> None:
    gateway = account.runtime_data
    capture = (await gateway.account.outbox.add(numbered_log(1))).capture_id
    transport.tell(ConnectionState.CONNECTED)
    await gateway.destinations["ulogger"].delivery.wait_delivered(SENSOR.key, [capture], 10)
    await read_counters(hass, account)
    [shown] = [each for each in hass.states.async_entity_ids("sensor") if "today" in each]
    state = hass.states.get(shown)
    assert state is not None
    assert float(state.state) == pytest.approx(LOG_SIZE / 1000)

    await pass_midnight(hass, day)
    await until(hass, lambda: gateway.devices[SENSOR.key].data.counters.bytes_today == 0)

    state = hass.states.get(shown)
    assert state is not None
    assert float(state.state) == 0
    assert gateway.devices[SENSOR.key].data.counters.bytes_uploaded == LOG_SIZE
