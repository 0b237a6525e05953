"""Uploads to a cloud: ours with its durable outbox beside uLogger's own library.

    script/bench cloud              all cases as a table
    script/bench cloud --json       one object a line
    script/bench cloud --case drain --captures 5000

Both sides speak to the same mosquitto with mutual TLS on the loopback interface, with session
tokens cached. *upload*: one log of 4,390 bytes after the other; ours from handing it to the
outbox until its acknowledgement is recorded on disk. *drain*: captures that wait in the outbox
go up; a probe measures how long the event loop was held up. *drain_latency*: the same over round
trips of 0, 50 and 100 ms within a broker's limits, beside bare paho (see drain_latency.py).
*waiting*: how much memory captures take that wait while there is no cloud. *starvation*: how long
a healthy device that has no token yet waits for its first delivery behind devices whose
registrations nobody answers.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import ulogger_cloud  # type: ignore[import-untyped]

from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud

from .drain_latency import DEVICE_COUNTS, RTTS_MS, drain_latency
from .road import CUSTOMER_ID, DEVICES, device, make_capture, road

CASES = ("upload", "drain", "drain_latency", "waiting", "starvation")
UNANSWERED = (0, 40, 200, 500)
LARGEST_LAG_MS = 20.0
PROBE_EVERY = 0.001

type Row = dict[str, Any]
type Reply = Callable[[dict[str, Any], int], bytes | None]
type Measure = Callable[[LocalBroker, Path, argparse.Namespace], AsyncGenerator[Row]]


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="script/bench cloud", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--json", action="store_true", help="one JSON object a line")
    add("--case", nargs="+", choices=CASES, default=CASES, help="what to measure")
    add("--uploads", type=int, default=50, help="our uploads, one after the other")
    add("--library-uploads", type=int, default=3, help="the library's; each takes a second")
    add("--captures", type=int, default=1_000, help="captures to drain")
    add("--rtt-ms", type=int, nargs="+", default=RTTS_MS, help="round trips of drain_latency")
    add("--devices", type=int, nargs="+", default=DEVICE_COUNTS, help="devices of drain_latency")
    add("--waiting", type=int, default=10_000, help="captures that wait")
    add("--unanswered", type=int, nargs="+", default=UNANSWERED, help="devices that starve one")
    add("--directory", type=Path, help="where the outbox stands (default: the temporary folder)")
    return parser.parse_args(argv)


async def upload(
    broker: LocalBroker, folder: Path, options: argparse.Namespace
) -> AsyncGenerator[Row]:
    """Measure single uploads of ours and of the library."""
    chance = Random(1)  # noqa: S311
    times: list[float] = []
    async with road(broker, folder) as bench:
        await bench.connect()
        for number in range(options.uploads + 5):
            capture = make_capture(number, chance)
            started = time.perf_counter()
            done = asyncio.create_task(bench.listener.wait(1))
            await asyncio.sleep(0)
            await bench.outbox.add(capture)
            bench.delivery.wake()
            await done
            times.append(time.perf_counter() - started)
    ours = statistics.median(times[5:]) * 1_000
    library = await asyncio.to_thread(library_upload, broker, options.library_uploads) * 1_000
    yield {
        "bench": "cloud",
        "case": "upload",
        "ours_ms": round(ours, 3),
        "library_ms": round(library, 1),
        "ratio": round(library / ours, 1),
    }


def library_upload(broker: LocalBroker, uploads: int) -> float:
    """Return the median seconds of the library's ``upload_log``, its token cached."""
    # The library trusts what OpenSSL trusts; this process shall trust the local broker.
    os.environ["SSL_CERT_FILE"] = str(broker.ca_file)
    certificate, key = broker.customer_files
    config = ulogger_cloud.MqttConfig(
        broker=broker.host,
        port=broker.port,
        cert_file=certificate,
        key_file=key,
        customer_id=CUSTOMER_ID,
    )
    identity = device(0)
    info = ulogger_cloud.DeviceInfo(
        identity.application_id,
        identity.serial,
        identity.device_type,
        identity.git_version,
        identity.git_hash,
    )
    store = ulogger_cloud.SessionStore()
    store.set_token(identity.serial, identity.git_hash, 1)
    chance = Random(2)  # noqa: S311
    times = []
    for _ in range(uploads):
        data = bytearray(make_capture(0, chance).data)
        started = time.perf_counter()
        if not ulogger_cloud.upload_log(info, data, config, store):
            raise SystemExit("the library could not upload")
        times.append(time.perf_counter() - started)
    return statistics.median(times)


async def drain(
    broker: LocalBroker, folder: Path, options: argparse.Namespace
) -> AsyncGenerator[Row]:
    """Measure how fast waiting captures go up, and how long they hold up the loop."""
    chance = Random(3)  # noqa: S311
    async with road(broker, folder) as bench:
        for number in range(options.captures):
            await bench.outbox.add(make_capture(number, chance))
        lags: list[float] = []
        probe = asyncio.create_task(measure_lag(lags))
        started = time.perf_counter()
        done = asyncio.create_task(bench.listener.wait(options.captures))
        await bench.connect()
        bench.delivery.wake()
        await done
        seconds = time.perf_counter() - started
        probe.cancel()
    yield {
        "bench": "cloud",
        "case": "drain",
        "captures": options.captures,
        "seconds": round(seconds, 3),
        "max_loop_lag_ms": round(max(lags) * 1_000, 2),
    }


async def measure_lag(lags: list[float]) -> None:
    """Note how much later than asked for the loop comes back, again and again."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(PROBE_EVERY)
        lags.append(time.perf_counter() - started - PROBE_EVERY)


async def waiting(
    broker: LocalBroker, folder: Path, options: argparse.Namespace
) -> AsyncGenerator[Row]:
    """Measure the memory that captures take while they wait."""
    chance = Random(4)  # noqa: S311
    warm = min(500, options.waiting // 10)
    async with road(broker, folder) as bench:
        delivery = asyncio.create_task(bench.delivery.run())
        for number in range(warm):
            await bench.outbox.add(make_capture(number, chance))
        before = resident()
        for number in range(warm, options.waiting):
            await bench.outbox.add(make_capture(number, chance))
            bench.delivery.wake()
        growth = resident() - before
        delivery.cancel()
        with suppress(asyncio.CancelledError):
            await delivery
    yield {
        "bench": "cloud",
        "case": "waiting",
        "captures": options.waiting,
        "rss_growth_mb": round(growth / 1e6, 2),
    }


async def starvation(
    broker: LocalBroker, folder: Path, options: argparse.Namespace
) -> AsyncGenerator[Row]:
    """Measure a healthy device's wait behind others whose registrations are not answered."""
    chance = Random(5)  # noqa: S311
    healthy = device(DEVICES)
    for number in options.unanswered:
        place = folder / str(number)
        await asyncio.to_thread(place.mkdir)
        async with LocalCloud(broker) as service, road(broker, place) as bench:
            service.reply = partial(answer_one, healthy.serial, service.reply)
            for each in (*(device(DEVICES + 1 + n) for n in range(number)), healthy):
                await bench.outbox.add(replace(make_capture(0, chance), device=each))
            started = time.perf_counter()
            done = asyncio.create_task(bench.listener.wait(1))
            await bench.connect()
            bench.delivery.wake()
            await done
            seconds = time.perf_counter() - started
        yield {
            "bench": "cloud",
            "case": "starvation",
            "unanswered": number,
            "seconds": round(seconds, 3),
        }


def answer_one(serial: str, answer: Reply, asked: dict[str, Any], token: int) -> bytes | None:
    """Answer the registration of one device only."""
    return answer(asked, token) if asked["serial"] == serial else None


def resident() -> int:
    """Return this process's memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def measure(options: argparse.Namespace) -> None:
    """Run what was asked for and print each result as it comes."""
    measures: dict[str, Measure] = {
        "upload": upload,
        "drain": drain,
        "drain_latency": drain_latency,
        "waiting": waiting,
        "starvation": starvation,
    }
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        async with LocalBroker(Path(folder, "broker"), customer_id=CUSTOMER_ID) as broker:
            for case in options.case:
                place = Path(folder, case)
                await asyncio.to_thread(place.mkdir)
                async for row in measures[case](broker, place, options):
                    print(json.dumps(row) if options.json else describe(row), flush=True)


def describe(row: Row) -> str:
    """Return a result as a line for people."""
    values = [f"{name} {value}" for name, value in row.items() if name not in ("bench", "case")]
    return f"{row['case']:<13} " + "  ".join(values)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    asyncio.run(measure(arguments(argv)))


if __name__ == "__main__":
    main()
