"""Clesyde beside its own library: messages to a topic, each acknowledged.

Ours are captures, which become messages within the time; the library is given them ready-made.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from conformance.clesyde import LIBRARY, RAW, SERIAL, Stage
from custom_components.ulogger.cloud.clesyde.captures import messages
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

MESSAGES: Final = 200
DEVICE: Final = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
ARRIVE_SECONDS: Final = 60.0
AT_ONCE: Final = 20
"""Captures of a device under way, as the delivery has them."""

type Row = dict[str, Any]


async def measure(rounds: int) -> list[Row]:
    """Return a row, the best of so many rounds."""
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as temporary:
        stage = Stage(Path(temporary))
        async with stage.clesyde, stage.peer, stage.running(RAW) as (destination, _):
            capture = Capture(CaptureKind.LOG, DEVICE, Random(1).randbytes(2_000), 1_795_225_292.0)  # noqa: S311
            [(_, payload)] = messages(RAW, 1, capture, None, None)
            await stage.until(lambda: stage.peer.connected["tunnel"], "the library is there", 40)
            numbers = iter(range(1, 1_000_000))
            slots = asyncio.Semaphore(AT_ONCE)

            async def one() -> None:
                async with slots:
                    await destination.deliver(capture, next(numbers))

            async def ours() -> None:
                await asyncio.gather(*(one() for _ in range(MESSAGES)))

            async def theirs() -> None:
                topic = f"c/d/{LIBRARY}/up/logs"
                await stage.peer.burst(topic, MESSAGES, payload.decode())

            our_time = await _best(stage, SERIAL, rounds, ours)
            their_time = await _best(stage, LIBRARY, rounds, theirs)
    return [
        {
            "case": "captures",
            "ours_ms": round(our_time * 1000, 3),
            "library_ms": round(their_time * 1000, 3),
            "ratio": round(their_time / our_time, 2),
            "messages": MESSAGES,
            "bytes": len(payload),
        }
    ]


async def _best(
    stage: Stage, serial: str, rounds: int, work: Callable[[], Awaitable[None]]
) -> float:
    """Time messages from being handed over until the platform has all of them."""
    times = []
    device = stage.clesyde.devices[serial]
    for _ in range(rounds):
        enough = len(device.messages) + MESSAGES
        started = time.perf_counter()
        await work()
        await stage.clesyde.wait_until(lambda: len(device.messages) >= enough, ARRIVE_SECONDS)  # noqa: B023
        times.append(time.perf_counter() - started)
    return min(times)
