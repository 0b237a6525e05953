"""When a device is collected next, whatever happens to the wall clock."""

from datetime import timedelta

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.ulogger.collecting.schedule import FIRST_RETRY, Schedule
from custom_components.ulogger.collecting.shared_radio import SharedRadio
from custom_components.ulogger.radio.scheduler import LOOK_AGAIN
from custom_components.ulogger.radio.slots import Path, Scanner

INTERVAL = timedelta(minutes=15)


class Target:
    """A device that is in reach or not, and counts how often it is collected."""

    def __init__(self, hass: HomeAssistant) -> None:
        self.reachable = True
        self.begun = 0
        self.radio = SharedRadio(hass)
        self.radio.scanners = lambda _: [Scanner("test", 1)]
        self.radio.paths = lambda *_, **__: [Path("test", -60.0)] if self.reachable else []
        self.schedule = Schedule(self.radio, address=lambda: "C0:01", begin=self.begin)

    def begin(self, _path: Path) -> None:
        self.begun += 1


@pytest.fixture
async def target(hass):
    target = Target(hass)
    yield target
    target.schedule.stop()
    await hass.async_block_till_done()


async def pass_time(hass, freezer, duration):
    freezer.tick(duration)
    async_fire_time_changed(hass)
    await hass.async_block_till_done()


def run_timers(hass, end):
    """Do what the loop does when its own clock gets to *end*, and leave the wall clock alone."""
    for handle in [h for h in hass.loop._scheduled if not h.cancelled() and h.when() <= end]:
        handle._run()
        handle.cancel()


async def test_a_device_is_collected_when_its_interval_is_over(hass, freezer, target):
    target.schedule.after_success(INTERVAL)
    await pass_time(hass, freezer, INTERVAL - timedelta(seconds=5))
    assert target.begun == 0
    await pass_time(hass, freezer, timedelta(seconds=6))
    assert target.begun == 1


async def test_a_clock_that_is_set_back_does_not_keep_a_device_waiting(hass, freezer, target):
    # Read before the tick, which sets the loop's clock back, too.
    end = hass.loop.time() + INTERVAL.total_seconds() + 1
    target.schedule.after_success(INTERVAL)
    freezer.tick(timedelta(days=-1))
    run_timers(hass, end)
    await hass.async_block_till_done()
    assert target.begun == 1


async def test_a_device_out_of_reach_is_looked_for_again_and_again(hass, freezer, target):
    target.reachable = False
    target.schedule.now()
    await pass_time(hass, freezer, timedelta(seconds=1))
    assert (target.begun, target.schedule.due) == (0, True)
    target.reachable = True
    await pass_time(hass, freezer, timedelta(seconds=LOOK_AGAIN + 1))
    assert target.begun == 1


async def test_retries_come_ever_less_often_but_not_less_often_than_the_interval(hass, target):
    delays = []
    for _ in range(10):
        target.schedule.after_failure(INTERVAL)
        delays.append((target.schedule.when - dt_util.utcnow()).total_seconds())
    assert delays[0] == pytest.approx(FIRST_RETRY, rel=0.11)
    assert delays[1] == pytest.approx(2 * FIRST_RETRY, rel=0.11)
    assert delays[-1] == pytest.approx(INTERVAL.total_seconds(), rel=0.11)


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (timedelta(minutes=5), timedelta(minutes=10)),
        (timedelta(days=3), timedelta(0)),
        (timedelta(days=-3), INTERVAL),
    ],
    ids=["within the interval", "long ago", "in the future, for the clock was set back"],
)
async def test_a_restart_keeps_the_interval(hass, target, ago, expected):
    last = (dt_util.utcnow() - ago).timestamp()
    target.schedule.after_restart(last, INTERVAL)
    wait = target.schedule.when - dt_util.utcnow()
    assert wait.total_seconds() == pytest.approx(expected.total_seconds(), abs=2)
