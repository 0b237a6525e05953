"""The command line of script/chaos."""

import argparse
import asyncio
import contextlib
import json
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from random import Random
from typing import Any

from demo.api import ApiError
from demo.cloud.broker import BrokerError
from demo.hass import HassError

from .destinations import MUST_BE_ZERO_AT_EACH
from .device import TracedDevice
from .faults import Storm
from .verdict import duplicates, out_of_order, unmarked_repeats
from .world import World

FIRST_SECONDS = 60.0
HEALTHY_LOGS = 5
"""Logs that come everywhere before any fault: how fast they are is what later ones are held to."""
DRAIN_SECONDS = 240.0
PATIENT_SECONDS = 40.0
SECONDS = 120.0
TRACE = re.compile(r"^  File .*custom_components/ulogger/")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="script/chaos",
        description="Kills, outages, cuts, resets, full disks and wrong clocks at random moments "
        "on a whole road to five destinations; then an account of every frame, as JSON on the "
        "last line.",
    )
    duration = parser.add_mutually_exclusive_group()
    duration.add_argument("--seconds", type=float, default=SECONDS, help="of faults (120)")
    duration.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--seed", type=int, help="of the faults' choice (any)")
    parser.add_argument("--devices", type=int, default=4, metavar="N", help="how many (4)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="put everything into a new DIR")
    options = parser.parse_args(arguments)
    if options.minutes is not None:
        options.seconds = options.minutes * 60
    if options.seed is None:
        options.seed = time.time_ns() % 1_000_000
    if not 1 <= options.devices <= 200:
        parser.error("--devices: between 1 and 200")
    return options


def say(text: str) -> None:
    """Tell the person; standard output is for the report."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def chaos(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Run the storm, let everything come to rest and return the report."""
    random = Random(options.seed)
    devices = [TracedDevice(number, Random(random.random())) for number in range(options.devices)]
    world = World(directory, devices, random)
    try:
        say(f"seed {options.seed}: {options.seconds:.0f} s of faults to {len(devices)} devices")
        await world.start()
        storm = Storm(world, say)
        async with _meanwhile(*(device.live() for device in devices), world.press()):
            patience = world.patience(FIRST_SECONDS)
            if not await world.wait_for(lambda: world.has_healthy(HEALTHY_LOGS), patience):
                raise ApiError(f"Too little came before any fault:\n{world.demo.hass.tail()}")
            await storm.run(options.seconds)
        return await _account(options, world, storm)
    finally:
        await world.stop()


@contextlib.asynccontextmanager
async def _meanwhile(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do work that never ends for as long as the context lasts."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _account(options: argparse.Namespace, world: World, storm: Storm) -> dict[str, Any]:
    """Without further faults, wait until everything is where it should be; then judge."""
    say("no more faults; waiting until the devices are empty and each destination has everything")
    world.clock.set(0)
    since = time.monotonic()
    rested = await world.wait_for(world.at_rest, world.patience(PATIENT_SECONDS))
    drain_seconds = time.monotonic() - since
    if not rested:
        async with _meanwhile(world.press()):
            await world.wait_for(world.at_rest, world.patience(DRAIN_SECONDS))
            drain_seconds = time.monotonic() - since
    await world.demo.hass.stop()
    snapshot = await world.look()
    ledger = world.ledger
    destinations = world.judge(snapshot)
    duplicated, unexplained = duplicates(ledger, world.evidence, world.outbox.captures)
    unexplained += unmarked_repeats(world.devices, snapshot)
    disordered = list(out_of_order(world.devices, snapshot, ledger, world.evidence))
    longest, after = max(storm.recoveries, default=(0.0, ""))
    problems = world.demo.hass.problems()
    return {
        "seed": options.seed,
        "seconds": options.seconds,
        "devices": len(world.devices),
        "faults": dict(sorted(storm.faults.items())),
        "left_out": [
            name
            for name, part in (
                ("disk_full", world.disk),
                ("home_assistant_clock", world.clock),
                ("folder_full", world.folder.disk),
                ("folder_unwritable", world.folder.disk),
            )
            if not part.available
        ],
        "captures": len(ledger.arrivals),
        "joined": ledger.joined,
        "bytes": ledger.bytes,
        "frames": sum(device.written for device in world.devices),
        "boots_alike": sum(device.resets for device in world.devices),
        "core_dumps": sum(device.dumps_left.total() for device in world.devices),
        "core_dumps_alike": sum(
            device.dumps_left.total() - len(device.dumps) for device in world.devices
        ),
        "erased": sum(len(device.erased) for device in world.devices),
        "lost": sum(world.lost.values()),
        "duplicated": duplicated,
        "duplicated_unexplained": len(unexplained),
        "out_of_order": len(disordered),
        "foreign": len(ledger.foreign),
        "without_token": ledger.without_token,
        "outboxes_damaged": world.damaged,
        "undelivered": len(snapshot.waiting()),
        "may_repeat": sum(row.may_repeat for row in snapshot.rows),
        "frames_offered_again": sum(ledger.repeated.values()),
        "drained": world.drained,
        "drain_s": round(drain_seconds, 1),
        "stuck": len(storm.stuck),
        "longest_recovery_s": round(longest, 1),
        "longest_recovery_after": after,
        "destinations": {name: each.described() for name, each in destinations.items()},
        "traces": sum(map(bool, map(TRACE.search, problems))),
        "details": [
            *(f"lost: {serial}: {count}" for serial, count in world.lost.items()),
            *unexplained,
            *disordered[:20],
            *(line for each in destinations.values() for line in each.details),
            *ledger.foreign[:20],
            *storm.stuck,
            *sorted({re.sub(r"^\S+ \S+ ", "", line)[:300] for line in problems})[:40],
        ],
    }


MUST_BE_ZERO = (
    "lost",
    "duplicated_unexplained",
    "out_of_order",
    "foreign",
    "without_token",
    "outboxes_damaged",
    "stuck",
    "traces",
)


def passed(report: dict[str, Any]) -> bool:
    """Whether every promise was kept, at each destination."""
    return (
        report["drained"]
        and not any(report[name] for name in MUST_BE_ZERO)
        and not any(
            each[name] for each in report["destinations"].values() for name in MUST_BE_ZERO_AT_EACH
        )
    )


async def main(arguments: list[str]) -> int:
    """Do what the command line asks for."""
    options = parse(arguments)
    if (task := asyncio.current_task()) is not None:
        # Whoever ends this ends Home Assistant, broker and mount with it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.ExitStack() as stack:
        if options.keep is None:
            temporary = tempfile.TemporaryDirectory(prefix="ulogger-chaos-")
            directory = Path(stack.enter_context(temporary))
        else:
            directory = options.keep.absolute()
            await asyncio.to_thread(directory.mkdir, parents=True)
        report = await chaos(options, directory)
    print(json.dumps(report), flush=True)
    return 0 if passed(report) else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:])))
    except TimeoutError:
        # It has no text of its own; where it was waited for says what did not come.
        say(f"chaos: not in time\n{traceback.format_exc()}")
        sys.exit(1)
    except (ApiError, BrokerError, HassError, OSError) as error:
        say(f"chaos: {error}")
        sys.exit(1)
    except KeyboardInterrupt, asyncio.CancelledError:
        sys.exit(130)
