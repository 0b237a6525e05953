"""Many devices over few connection slots: our scheduler beside devices that retry by themselves.

    script/bench fleet                     20, 200 and 500 devices, for people
    script/bench fleet --json              one object a line
    script/bench fleet --devices 200       one size
    script/bench fleet --waits             only what runs on virtual time: seconds, not minutes
    script/bench fleet --json --plot docs/images/fleet.png    rows and picture of one run

Waits and the use of slots are on virtual time: three proxies with three slots each, every device
heard by one to three of them, logs of 1 to 16 KiB, one session in ten failing, all devices due at
the start and every 15 minutes from then on. A wait is from the moment when a device is due until
the session begins that collects it, failed ones and their retries included. ``slot_use`` is the
share of slots that are busy, of those that somebody waits for at the time.

Costs are those of a real Home Assistant, each in a process of its own: the account, its outbox and
its entities, and scanners that hear every device ten times a second. Processor time is per
session, less what the advertisements cost without an account; memory is above an idle Home
Assistant with the same Bluetooth; ``leaked`` counts tasks, slots, sessions and callbacks that are
left when the account is unloaded.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from custom_components.ulogger.radio.scheduler import Scheduler

from .naive import NaiveScheduler
from .radio_world import Habit, RadioWorld, SimulatedDevice

SIZES = (20, 200, 500)
PROXIES = ("proxy a", "proxy b", "proxy c")
SLOTS = 3
FAILING = 0.1
LOG_BYTES = (1024, 16 * 1024)
STRONGEST, WEAKEST = -45.0, -92.0
CONNECT = (0.7, 2.5)
"""Seconds to connect and discover; the demo's and field reports' range."""
IDENTIFY_AND_END = 3.0
"""Seconds around the transfer: who it is, and whether a core dump follows."""
FASTEST, SLOWEST = 3000.0, 700.0
"""Bytes a second at a strong and at a weak signal (see ``script/bench transfer``)."""
FAILS_AFTER = (0.0, 20.0)
SCHEDULERS = ("ours", "naive")


def fleet(count: int, seed: int) -> list[SimulatedDevice]:
    """Make devices, each heard by some of the proxies."""
    random = Random(seed)  # noqa: S311 - keeps no secret
    made = []
    for number in range(count):
        near = random.sample(PROXIES, random.choices((1, 2, 3), (2, 5, 3))[0])
        hears = {source: random.uniform(WEAKEST, STRONGEST) for source in near}
        best = max(hears.values())
        rate = SLOWEST + (FASTEST - SLOWEST) * (best - WEAKEST) / (STRONGEST - WEAKEST)
        made.append(SimulatedDevice(number, hears, Habit(_session(rate))))
    return made


def _session(rate: float) -> Any:
    def session(random: Random) -> tuple[float, bool]:
        seconds = random.uniform(*CONNECT)
        if random.random() < FAILING:
            return seconds + random.uniform(*FAILS_AFTER), False
        return seconds + IDENTIFY_AND_END + random.uniform(*LOG_BYTES) / rate, True

    return session


def waits(count: int, scheduler: str, hours: float, seed: int = 1) -> dict[str, Any]:
    """Run a fleet on virtual time."""
    schedules = Scheduler() if scheduler == "ours" else NaiveScheduler()
    devices = fleet(count, seed)
    world = RadioWorld(schedules, dict.fromkeys(PROXIES, SLOTS), devices, seed=seed)
    world.run(hours * 3600.0)
    found = sorted(wait for device in devices for wait in device.waits)
    return {
        "bench": "fleet",
        "devices": count,
        "scheduler": scheduler,
        "slots": SLOTS * len(PROXIES),
        "sessions": sum(device.begun for device in devices),
        "p50_wait_s": round(found[len(found) // 2], 1),
        "p95_wait_s": round(found[len(found) * 95 // 100], 1),
        "max_wait_s": round(found[-1], 1),
        "slot_use": round(world.slot_use, 4),
    }


def cost(count: int, scheduler: str) -> dict[str, Any]:
    """Measure what a fleet costs a real Home Assistant, in a process of its own."""
    arguments = [sys.executable, "-m", "bench.fleet_cost", str(count), scheduler]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True)  # noqa: S603 - ourselves
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure both schedulers at every size; ours carries how many times as much naive takes."""
    for count in options.devices:
        ours, naive = (
            waits(count, scheduler, options.hours)
            | ({} if options.waits else cost(count, scheduler))
            for scheduler in SCHEDULERS
        )
        ours["ratio"] = _ratio(naive["p95_wait_s"], ours["p95_wait_s"])
        ours["ratio_max_wait"] = _ratio(naive["max_wait_s"], ours["max_wait_s"])
        if not options.waits:
            ours["ratio_cpu"] = _ratio(naive["cpu_ms_per_session"], ours["cpu_ms_per_session"])
        yield ours
        yield naive


def _ratio(naive: float, ours: float) -> float:
    return round(naive / ours, 2) if ours else 1.0


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="script/bench fleet", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--json", action="store_true", help="one object a line")
    add("--devices", type=int, nargs="+", default=SIZES, help="how many (20 200 500)")
    add("--hours", type=float, default=12.0, help="of virtual time (12)")
    add("--waits", action="store_true", help="only what runs on virtual time")
    add("--plot", type=Path, help="draw waits over the number of devices into this PNG")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Print what was measured."""
    options = arguments(argv)
    measured = []
    for row in rows(options):
        measured.append(row)
        text = json.dumps(row) if options.json else ", ".join(f"{k} {v}" for k, v in row.items())
        print(text, flush=True)
    if options.plot:
        from .plot import draw_fleet  # noqa: PLC0415  (matplotlib is only needed here)

        draw_fleet(measured, options.plot)


if __name__ == "__main__":
    main()
