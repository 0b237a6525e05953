"""Throughput of the transfer: our host beside one that waits for every chunk, on one link.

    script/bench transfer                        the table of all cases
    script/bench transfer --json                 one object a line
    script/bench transfer --interval 30 --size 16384 --loss 0 5 --proxy 20
    script/bench transfer --plot docs/transfer.png
    script/bench transfer --cpu                  processor time per chunk of our host's own code
    script/bench transfer --case visits          60 visits each to devices that go on logging
    script/bench transfer --case resume          links too short for a log and a core dump

Both hosts run on virtual time against the simulated firmware and radio. A chunk of the log costs
the device a read over the whole log, 5 ms for 16 KiB; ``ratio`` is with that, as with a real
device, and ``ratio_free`` with a device that computes in no time.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from demo.device.firmware import READ_SECONDS_PER_BYTE
from demo.device.radio import Air
from demo.device.virtual_time import run_virtually

from .cpu import microseconds_per_chunk
from .hosts import PAYLOAD, Run, take
from .visits import RESUMED, busy, resumed

INTERVALS = (7.5, 15.0, 30.0, 50.0)
SIZES = (1024, 4096, 16384, 61440)
LOSSES = (0.0, 1.0, 5.0)
PROXIES = (0.0, 20.0)
LINES_EVERY = (1.0, 5.0, 30.0)
HOST_NAMES = ("windowed", "stop_and_wait")
COLUMNS = {
    "host": "<14",
    "interval_ms": ">11",
    "size": ">7",
    "loss": ">6",
    "proxy_ms": ">8",
    "bytes_per_s": ">11",
    "bound_bytes_per_s": ">17",
    "ratio": ">6",
    "ratio_free": ">10",
    "early_erases": ">12",
}

type Row = dict[str, Any]


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="script/bench transfer", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--interval",
        "--interval-ms",
        type=float,
        nargs="+",
        default=INTERVALS,
        help="connection interval, ms",
    )
    add("--size", type=int, nargs="+", default=SIZES, help="bytes of the log buffer")
    add("--loss", type=float, nargs="+", default=LOSSES, help="packets lost, per cent")
    add(
        "--proxy", "--proxy-ms", type=float, nargs="+", default=PROXIES, help="latency each way, ms"
    )
    add("--packets", type=int, default=6, help="packets per connection event and direction")
    add("--seed", type=int, default=1, help="of the losses")
    add("--json", action="store_true", help="one object a line")
    add("--plot", type=Path, help="draw throughput over interval into this PNG")
    add("--case", choices=("throughput", "visits", "resume"), default="throughput")
    add("--visits", type=int, default=60, help="how many, of the case visits")
    add("--cpu", action="store_true", help="measure processor time per chunk instead")
    return parser.parse_args(argv)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Run every case with both hosts."""
    cases = product(options.interval, options.size, options.loss, options.proxy)
    for interval, size, loss, proxy in cases:
        air = Air(
            interval=interval / 1000,
            packets_up=options.packets,
            packets_down=options.packets,
            loss=loss / 100,
            proxy_latency=proxy / 1000,
            seed=options.seed,
        )
        ours, waiting = (run_virtually(take(host, air, size)) for host in HOST_NAMES)
        free, waiting_free = (
            run_virtually(take(host, air, size, device_cost=False)) for host in HOST_NAMES
        )
        yield _row("windowed", air, ours) | {
            "ratio": round(waiting.seconds / ours.seconds, 2),
            "ratio_free": round(waiting_free.seconds / free.seconds, 2),
        }
        yield _row("stop_and_wait", air, waiting)


def case_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Run the visits to busy devices, or those over short links."""
    if options.case == "visits":
        for every in LINES_EVERY:
            yield run_virtually(busy(every, visits=options.visits, seed=options.seed))
        return
    for link in RESUMED:
        yield run_virtually(resumed(*link))


def _sentence(row: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if name != "bench")


def _row(host: str, air: Air, run: Run) -> Row:
    if not run.identical:
        raise SystemExit(f"{host}: the log came over damaged")
    return {
        "bench": "transfer",
        "host": host,
        "interval_ms": round(air.interval * 1000, 3),
        "size": run.size,
        "loss": round(air.loss * 100, 3),
        "proxy_ms": round(air.proxy_latency * 1000, 3),
        "bytes_per_s": round(run.size / run.seconds, 1),
        "bound_bytes_per_s": round(_bound(air, run.size), 1),
        "early_erases": run.early_erases,
    }


def _bound(air: Air, size: int) -> float:
    """Return the bytes a second that the link can carry, or the device can read."""
    link = PAYLOAD * air.packets_down / air.interval
    return min(link, PAYLOAD / (size * READ_SECONDS_PER_BYTE))


def plot(options: argparse.Namespace, path: Path) -> None:
    """Draw throughput over interval for both hosts."""
    from .plot import draw  # noqa: PLC0415  (matplotlib is only needed here)

    draw(list(rows(options)), path)


def main(argv: Sequence[str] | None = None) -> None:
    """Print what was measured."""
    options = arguments(argv)
    if options.cpu:
        cost = microseconds_per_chunk()
        print(json.dumps({"bench": "transfer_cpu", "us_per_chunk": round(cost, 2)}))
        return
    if options.plot:
        plot(options, options.plot)
        return
    if options.case != "throughput":
        for row in case_rows(options):
            print(json.dumps(row) if options.json else _sentence(row))
        return
    if not options.json:
        print(" ".join(f"{name:{width}}" for name, width in COLUMNS.items()))
    for row in rows(options):
        if options.json:
            print(json.dumps(row))
        else:
            print(" ".join(f"{row.get(name, ''):{width}}" for name, width in COLUMNS.items()))


if __name__ == "__main__":
    main()
