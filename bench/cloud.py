"""Uploads to a cloud: ours with its durable outbox beside uLogger's own library.

    script/bench cloud              upload, drain and waiting as a table
    script/bench cloud --json       one object a line
    script/bench cloud --case drain --captures 5000

Both sides speak to the same mosquitto with mutual TLS on the loopback interface, with session
tokens cached. *upload*: one log of 4,390 bytes after the other; ours from handing it to the
outbox until its acknowledgement is recorded on disk. *drain*: captures that wait in the outbox
go up; a probe measures how long the event loop was held up. *waiting*: how much memory
captures take that wait while there is no cloud. *starvation*: how long a healthy device that has
no token yet waits for its first delivery behind devices whose registrations nobody answers.
"""

import argparse
import asyncio
import json
import os
import ssl
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import ulogger_cloud  # type: ignore[import-untyped]

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.cloud.errors import CloudError, RegistrationFailed
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.credentials import Credentials, build_tls_context
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import ULOGGER, DeviceIdentity
from custom_components.ulogger.outbox.errors import OutboxError
from custom_components.ulogger.outbox.model import Item
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.sending.delivery import Delivery
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.cloud.waiting import until_connected

CUSTOMER_ID = 42
APPLICATION_ID = 7
LOG_SIZE = 4_390
DEVICES = 10
CASES = ("upload", "drain", "waiting", "starvation")
UNANSWERED = (0, 40, 200, 500)
LARGEST_LAG_MS = 20.0
PROBE_EVERY = 0.001

type Row = dict[str, Any]
type Reply = Callable[[dict[str, Any], int], bytes | None]
type Measure = Callable[[LocalBroker, Path, argparse.Namespace], Awaitable[Row | list[Row]]]


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
    add("--waiting", type=int, default=10_000, help="captures that wait")
    add("--unanswered", type=int, nargs="+", default=UNANSWERED, help="devices that starve one")
    add("--directory", type=Path, help="where the outbox stands (default: the temporary folder)")
    return parser.parse_args(argv)


def device(number: int) -> DeviceIdentity:
    """Return one of the devices that take turns."""
    return DeviceIdentity(APPLICATION_ID, f"BENCH{number:03}", "bench", "1.0.0", "abcdef0")


def make_capture(number: int, chance: Random) -> Capture:
    """Return a log buffer of the usual size, unlike all others."""
    data = chance.randbytes(LOG_SIZE - 25)
    header = LogHeader(4, 0, 0, 1, 1_000, 1, len(data), xor_checksum(data))
    return Capture(CaptureKind.LOG, device(number % DEVICES), header.pack() + data, time.time())


class Listener:
    """Counts what the delivery tells."""

    def __init__(self) -> None:
        self.count = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    async def wait(self, count: int) -> None:
        """Wait until so many captures have been delivered since the last time."""
        self.count, self._wanted = 0, count
        self._reached.clear()
        await self._reached.wait()

    def delivered(self, _item: Item) -> None:
        """Count."""
        self.count += 1
        if self.count >= self._wanted:
            self._reached.set()

    def failed(self, _item: Item, error: CloudError) -> None:
        """Give up: nothing may fail here but registrations that shall."""
        if not isinstance(error, RegistrationFailed):
            raise SystemExit(f"a delivery failed: {error}")

    def quarantined(self, _item: Item) -> None:
        """Nothing comes here."""

    def outbox_failed(self, _error: OutboxError) -> None:
        """Nor does this happen."""


class Bench:
    """Our road from the outbox to the broker."""

    def __init__(self, outbox: Outbox, transport: MqttTransport, cloud: UloggerCloud) -> None:
        self.outbox = outbox
        self.transport = transport
        self.listener = Listener()
        self.delivery = Delivery(outbox, cloud, self.listener)
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Connect and begin to deliver."""
        self._tasks = [
            asyncio.create_task(self.transport.run()),
            asyncio.create_task(self.delivery.run()),
        ]
        await until_connected(self.transport, 10)

    async def stop(self) -> None:
        """End, and let go of the outbox."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.outbox.close()


@asynccontextmanager
async def road(broker: LocalBroker, folder: Path) -> AsyncGenerator[Bench]:
    """Put outbox, connection and cloud together, not connected yet."""

    async def save(_tokens: dict[str, Any]) -> None:
        """Keep tokens in memory only."""

    context = await asyncio.to_thread(tls_context, broker)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as pool:

        async def run(work: Callable[..., Any], *args: Any) -> Any:
            return await loop.run_in_executor(pool, work, *args)

        outbox = await Outbox.open(folder / "outbox.db", run)
        await outbox.set_destinations({ULOGGER: 0.0})
        transport = MqttTransport(
            Broker(
                host=broker.host,
                port=broker.port,
                client_id=f"cust-{CUSTOMER_ID}-ha-bench",
                tls=context,
            )
        )
        tokens = TokenCache({}, save)
        for number in range(DEVICES):
            await tokens.put(device(number), number + 1)
        bench = Bench(
            outbox, transport, UloggerCloud(transport, customer_id=CUSTOMER_ID, tokens=tokens)
        )
        try:
            yield bench
        finally:
            await bench.stop()


def tls_context(broker: LocalBroker) -> ssl.SSLContext:
    """Return the customer's TLS context."""
    customer = broker.customer
    return build_tls_context(
        Credentials.checked(customer.certificate, customer.private_key, broker.ca)
    )


async def upload(broker: LocalBroker, folder: Path, options: argparse.Namespace) -> Row:
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
    return {
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


async def drain(broker: LocalBroker, folder: Path, options: argparse.Namespace) -> Row:
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
    return {
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


async def waiting(broker: LocalBroker, folder: Path, options: argparse.Namespace) -> Row:
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
    return {
        "bench": "cloud",
        "case": "waiting",
        "captures": options.waiting,
        "rss_growth_mb": round(growth / 1e6, 2),
    }


async def starvation(broker: LocalBroker, folder: Path, options: argparse.Namespace) -> list[Row]:
    """Measure a healthy device's wait behind others whose registrations are not answered."""
    chance = Random(5)  # noqa: S311
    healthy = device(DEVICES)
    rows = []
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
        rows.append(
            {
                "bench": "cloud",
                "case": "starvation",
                "unanswered": number,
                "seconds": round(seconds, 3),
            }
        )
    return rows


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
        "waiting": waiting,
        "starvation": starvation,
    }
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        async with LocalBroker(Path(folder, "broker"), customer_id=CUSTOMER_ID) as broker:
            for case in options.case:
                place = Path(folder, case)
                await asyncio.to_thread(place.mkdir)
                found = await measures[case](broker, place, options)
                for row in found if isinstance(found, list) else [found]:
                    print(json.dumps(row) if options.json else describe(row), flush=True)


def describe(row: Row) -> str:
    """Return a result as a line for people."""
    values = [f"{name} {value}" for name, value in row.items() if name not in ("bench", "case")]
    return f"{row['case']:<10} " + "  ".join(values)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    asyncio.run(measure(arguments(argv)))


if __name__ == "__main__":
    main()
