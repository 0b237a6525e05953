"""Two gateways that see the same devices: nothing is lost, nobody waits for ever."""

import asyncio
from random import Random

import pytest

from demo.device.virtual_time import run_virtually

from ..support.gateways import OneGateway, SharedDevice

DEVICES = 20
REFILL = 2000
LONG = 1200.0


async def collected(gateways: int, seed: int, seconds: float = LONG) -> tuple[float, list, list]:
    """Let gateways collect the same devices; bytes a second, the gateways and the devices."""
    devices = [SharedDevice(number, REFILL) for number in range(DEVICES)]
    running = [OneGateway(devices, Random(seed + n)) for n in range(gateways)]
    tasks = [asyncio.create_task(each.run()) for each in running]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    for each in running:
        for task in list(each._tasks):
            task.cancel()
        await asyncio.gather(*each._tasks, return_exceptions=True)
    return sum(len(device.collected) for device in devices) / seconds, running, devices


@pytest.mark.parametrize("seed", [1, 2])
def test_two_gateways_lose_nothing_and_do_not_hold_each_other_up(seed: int) -> None:
    alone, _, _ = run_virtually(collected(1, seed))
    together, gateways, devices = run_virtually(collected(2, seed))
    assert together >= 0.8 * alone
    for device in devices:
        assert device.firmware.early_erases == 0
        assert device.logged.startswith(device.collected)
        # Each device was collected again and again, all the time.
        assert len(device.collected) >= 0.5 * alone * LONG / DEVICES
    # Both get their share, and no device is out of a gateway's reach for long.
    assert min(each.sessions for each in gateways) >= 0.3 * max(e.sessions for e in gateways)
    assert max(each.in_a_row for each in gateways) <= 8
