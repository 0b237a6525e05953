"""Pepeunit beside the published client: records into a unit's log, and the cipher."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

# From 2026.11 on it puts httpx2 in the place of httpx, which the client imports.
import homeassistant  # noqa: F401
from pepeunit_client.cipher import AesGcmCipher  # type: ignore[import-untyped]

from conformance.peer import Peer
from custom_components.ulogger.cloud.pepeunit.cipher import decrypt, encrypt
from custom_components.ulogger.cloud.pepeunit.env import Env
from custom_components.ulogger.cloud.pepeunit.link import Security
from custom_components.ulogger.cloud.pepeunit.records import LogRecord
from custom_components.ulogger.cloud.pepeunit.schema import Schema
from custom_components.ulogger.cloud.pepeunit.unit import PepeunitDestination
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit, make_key

RECORDS: Final = 200
TEXT: Final = "A87DE76F0011 #12.3 [2] the door was opened by 3 of 5 people"
SEALS: Final = 2_000
CONNECT_SECONDS: Final = 10.0
ARRIVE_SECONDS: Final = 60.0

type Row = dict[str, Any]


async def measure(rounds: int) -> list[Row]:
    """Return a row for each case, the best of so many rounds."""
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as temporary:
        return [await _log(Path(temporary), rounds), await asyncio.to_thread(_cipher, rounds)]


async def _log(directory: Path, rounds: int) -> Row:
    """Time records from being logged until the backend has all of them."""
    ours, theirs = (Unit.make(inputs=[], outputs=[]) for _ in range(2))
    async with LocalPepeunit(directory / "pepeunit", units=[ours, theirs]) as pepeunit:
        destination = PepeunitDestination(
            "unit",
            Env.parse(pepeunit.env(ours)),
            Schema.parse(ours.schema()),
            Security(None),
            reading_of=_nothing,
            run=asyncio.to_thread,
        )
        running = asyncio.create_task(destination.run())
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                while not destination.link.settled:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.01)
            records = [LogRecord(1, TEXT, time.time()) for _ in range(RECORDS)]
            our_time = await _best(
                rounds, pepeunit, ours, lambda: destination.publish_records(records)
            )
            async with Peer(pepeunit, theirs) as peer:

                async def log_all() -> None:
                    await asyncio.to_thread(_log_all, peer)

                their_time = await _best(rounds, pepeunit, theirs, log_all)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    return _row("log_records", our_time, their_time, records=RECORDS)


async def _best(
    rounds: int, pepeunit: LocalPepeunit, unit: Unit, work: Callable[[], Awaitable[None]]
) -> float:
    times = []
    for _ in range(rounds):
        enough = len(pepeunit.records(unit)) + RECORDS
        started = time.perf_counter()
        await work()
        await pepeunit.wait_until(partial(_has, pepeunit, unit, enough), ARRIVE_SECONDS)
        times.append(time.perf_counter() - started)
    return min(times)


def _has(pepeunit: LocalPepeunit, unit: Unit, enough: int) -> bool:
    return len(pepeunit.records(unit)) >= enough


def _log_all(peer: Peer) -> None:
    for _ in range(RECORDS):
        peer.client.logger.info(TEXT)


def _cipher(rounds: int) -> Row:
    key, peers = make_key(32), AesGcmCipher()

    def ours() -> None:
        for _ in range(SEALS):
            decrypt(encrypt(TEXT, key), key)

    def theirs() -> None:
        for _ in range(SEALS):
            peers.aes_gcm_decode(peers.aes_gcm_encode(TEXT, key), key)

    return _row("cipher", _timed(rounds, ours), _timed(rounds, theirs), seals=SEALS)


def _timed(rounds: int, work: Callable[[], None]) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def _row(case: str, ours: float, theirs: float, **more: int) -> Row:
    return {
        "case": case,
        "ours_ms": round(ours * 1000, 3),
        "library_ms": round(theirs * 1000, 3),
        "ratio": round(theirs / ours, 2),
        **more,
    }


async def _nothing(_capture_id: int) -> Any:
    raise LookupError
