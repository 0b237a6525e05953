"""What it costs to take a new log into the outbox: the device may erase it after that.

    script/bench store              the table
    script/bench store --json       one object a line
    script/bench store --directory /media/stick --rounds 500

An ordinary new log of 16 KiB from a device of which nothing is kept (*earlier* 0), and from one
of which 16 logs of that size are kept, all erased by the device and made in the same boot
(*earlier* 16): what was taken before has to be told from what is new before the commit.
*ms* is the median from handing it to the outbox until it is on disk, *more_ms* the median of how
much longer that took than the other kind's in the same round. *disk_ms* is what the disk itself
takes, in the same rounds, to write as many bytes over others in a file and sync it.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import ULOGGER, DeviceIdentity
from custom_components.ulogger.outbox.outbox import Outbox

SIZE = 16_384
HEADER = LogHeader(4, 0, 0, 1, 1_000, 0, 0, 0)
EARLIER = 16
ROUNDS = 200
WARM_UP = 10
BETWEEN = 60.0
"""Seconds between two logs of a device, by its own clock."""

type Row = dict[str, Any]


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="script/bench store", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--json", action="store_true", help="one JSON object a line")
    add("--rounds", type=int, default=ROUNDS, help="logs of each kind, by turns")
    add("--earlier", type=int, default=EARLIER, help="logs that one device has already")
    add("--directory", type=Path, help="where the outbox stands (default: this directory)")
    return parser.parse_args(argv)


class Logger:
    """A device that goes on logging since its boot, without a wall clock."""

    def __init__(self, number: int) -> None:
        self._device = DeviceIdentity(7, f"STORE{number:05}", "bench", "1.0.0", "abcdef0")
        self._chance = Random(number)  # noqa: S311
        self._booted = time.time()
        self._up = 0.0

    def log(self) -> Capture:
        """Make the next log."""
        self._up += BETWEEN
        data = self._chance.randbytes(SIZE - HEADER.size)
        header = replace(
            HEADER,
            anchor_tick=round(self._up * HEADER.tick_rate_hz),
            used_bytes=len(data),
            checksum=xor_checksum(data),
        )
        return Capture(CaptureKind.LOG, self._device, header.pack() + data, self._booted + self._up)


async def store(outbox: Outbox, capture: Capture) -> float:
    """Take a capture in and have it erased; returns the seconds until it could be."""
    started = time.perf_counter()
    added = await outbox.add(capture)
    seconds = time.perf_counter() - started
    if added.size != SIZE or added.may_repeat:
        raise SystemExit(f"an ordinary log was not taken as new: {added}")
    await outbox.erased(capture.device.key)
    return seconds


def write_and_sync(descriptor: int, data: bytes) -> float:
    """Return the seconds that the disk takes for as many bytes."""
    started = time.perf_counter()
    os.pwrite(descriptor, data, 0)
    os.fdatasync(descriptor)
    return time.perf_counter() - started


async def measure(options: argparse.Namespace) -> list[Row]:
    """Store logs of both kinds by turns; the rows that are printed."""
    loop = asyncio.get_running_loop()
    directory = options.directory or Path.cwd()
    with (
        tempfile.TemporaryDirectory(dir=directory, prefix=".bench-store-") as folder,
        ThreadPoolExecutor(4) as pool,
    ):

        async def run(work: Callable[..., Any], *args: Any) -> Any:
            return await loop.run_in_executor(pool, work, *args)

        disk = await run(os.open, Path(folder, "disk"), os.O_CREAT | os.O_WRONLY)
        outbox = await Outbox.open(Path(folder, "outbox.db"), run)
        try:
            await outbox.set_destinations({ULOGGER: 0.0})
            rounds = [
                await one_round(outbox, number, options.earlier, partial(run, write_and_sync, disk))
                for number in range(options.rounds + WARM_UP)
            ]
        finally:
            await outbox.close()
            await run(os.close, disk)
    without, known, disk_took = zip(*rounds[WARM_UP:], strict=True)
    more = [after - before for before, after in zip(without, known, strict=True)]
    return [
        {
            "bench": "store",
            "earlier": earlier,
            "size": SIZE,
            "rounds": options.rounds,
            "ms": milliseconds(seconds),
            "more_ms": milliseconds(than_without),
            "disk_ms": milliseconds(disk_took),
        }
        for earlier, seconds, than_without in (
            (0, without, [0.0]),
            (options.earlier, known, more),
        )
    ]


def milliseconds(seconds: Sequence[float]) -> float:
    """Return the median."""
    return round(statistics.median(seconds) * 1_000, 3)


async def one_round(
    outbox: Outbox, number: int, earlier: int, sync: Callable[[bytes], Awaitable[float]]
) -> tuple[float, float, float]:
    """Return the seconds for a new device's log, for a known one's, and of the disk alone.

    What comes first may find the disk in another state: that changes by turns.
    """
    known, new = Logger(2 * number), Logger(2 * number + 1)
    disk_took = await sync(new.log().data)
    for _ in range(earlier):
        await store(outbox, known.log())
    took: dict[Logger, float] = {}
    for each in (known, new) if number % 2 else (new, known):
        took[each] = await store(outbox, each.log())
    return took[new], took[known], disk_took


def describe(row: Row) -> str:
    """Return a result as a line for people."""
    return (
        f"a new log of a device with {row['earlier']} earlier ones: {row['ms']} ms,"
        f" {row['more_ms']} ms more than of one without"
        f" (the disk alone: {row['disk_ms']} ms)"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = arguments(argv)
    for row in asyncio.run(measure(options)):
        print(json.dumps(row) if options.json else describe(row), flush=True)


if __name__ == "__main__":
    main()
