"""UDMI beside its own Python library: frames become entries, metrics become points.

Each side is a process of its own that connects to the same local site, is given the same decoded
frames and ends when all is acknowledged; the time is measured until the site has them. Ours puts
several entries into a message, the library's handler has a message for each; a point goes alone
with both, for each has a time of its own.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from demo.hass import REPOSITORY
from demo.udmi.door import Way
from demo.udmi.site import Device, LocalSite

NUMBER: Final = 1_000
CASES: Final = ("log_entries", "points")
READY_SECONDS: Final = 60.0
ARRIVE_SECONDS: Final = 60.0
SOURCES: Final = ("clientlib/python/src", "gencode/python")
PACKAGES: Final = REPOSITORY / "build/peers/clesyde"
"""Where the packages are that the library asks for beside those of this environment."""
PROXY: Final = "BLE-1"

type Row = dict[str, Any]
type Cost = tuple[float, float]
"""Seconds until all was there, and the processor's seconds of the process."""


async def measure(rounds: int, library: Path | None = None) -> list[Row]:
    """Return a row for each case, the best of so many rounds."""
    ours = await _side([sys.executable, "-m", "bench.udmi_ours"], {}, PROXY, rounds)
    theirs: dict[str, Cost] = {}
    if (problem := missing(library)) is None:
        assert library is not None  # noqa: S101
        path = os.pathsep.join(str(each) for each in (*sources(library), PACKAGES))
        peer = [sys.executable, str(REPOSITORY / "bench/udmi_peer.py")]
        theirs = await _side(peer, {"PYTHONPATH": path}, None, rounds)
    else:
        print(f"udmi: {problem}", file=sys.stderr)
    return [_row(case, ours[case], theirs.get(case)) for case in CASES]


def sources(library: Path) -> list[Path]:
    """Return where a repository of UDMI has its library and its schema's classes."""
    return [library.absolute() / each for each in SOURCES]


def missing(library: Path | None) -> str | None:
    """Say why the library can't be run, None where it can."""
    if library is None:
        return "its library is not measured without --udmi-library DIR"
    if not all((each / "udmi").is_dir() for each in sources(library)):
        return f"{library}: not the repository of UDMI with {' and '.join(SOURCES)}"
    if not PACKAGES.is_dir():
        return f"{PACKAGES} is not there; script/setup makes it"
    return None


async def _side(
    command: list[str], environment: dict[str, str], proxy: str | None, rounds: int
) -> dict[str, Cost]:
    """Measure one side at a site of its own."""
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as temporary:
        site = LocalSite(Path(temporary), way=Way.NONE)
        site.gateway.config["system"]["min_loglevel"] = 100
        if proxy is not None:
            site.add(proxy, {"system": {"min_loglevel": 100}})
            site.gateway.config["gateway"] = {"proxy_ids": [proxy]}
        device = site.devices[proxy] if proxy is not None else site.gateway
        async with site, _process(command, environment, site, temporary) as process:
            return {case: await _best(site, device, process, case, rounds) for case in CASES}


@asynccontextmanager
async def _process(
    command: list[str], environment: dict[str, str], site: LocalSite, directory: str
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a side inside, connected."""
    arguments = (json.dumps(site.endpoint()), str(site.authority.ca_file), str(NUMBER))
    own = {"PYTHONPATH": str(REPOSITORY), **environment}
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        cwd=directory,
        env={**os.environ, **own},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(READY_SECONDS):
            if await _line(process) != "ready":
                raise RuntimeError(f"{command[-1]} has ended")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None  # noqa: S101
    return (await process.stdout.readline()).decode().strip()


async def _best(
    site: LocalSite,
    device: Device,
    process: asyncio.subprocess.Process,
    case: str,
    rounds: int,
) -> Cost:
    """Time from being told to send until the site has everything."""
    assert process.stdin is not None  # noqa: S101
    costs = []
    for _ in range(rounds):
        device.messages.clear()
        began = time.perf_counter()
        process.stdin.write(f"{case}\n".encode())
        await process.stdin.drain()
        async with asyncio.timeout(ARRIVE_SECONDS):
            used = float(await _line(process))
            await site.wait_until(lambda: arrived(device, case) >= NUMBER, ARRIVE_SECONDS)
        costs.append((time.perf_counter() - began, used))
    return min(seconds for seconds, _ in costs), min(used for _, used in costs)


def arrived(device: Device, case: str) -> int:
    """Count the entries or values that the site has."""
    if case == "points":
        return len(device.values("battery"))
    return sum("opened after" in each["message"] for each in device.entries())


def _row(case: str, ours: Cost, theirs: Cost | None) -> Row:
    row: Row = {
        "case": case,
        "messages": NUMBER,
        "ours_ms": round(ours[0] * 1000, 3),
        "library_ms": None,
        "ratio": None,
        "ours_messages_s": round(NUMBER / ours[0]),
        "ours_cpu_us": round(ours[1] / NUMBER * 1e6, 2),
    }
    if theirs is not None:
        row |= {
            "library_ms": round(theirs[0] * 1000, 3),
            "ratio": round(theirs[0] / ours[0], 2),
            "library_messages_s": round(NUMBER / theirs[0]),
            "library_cpu_us": round(theirs[1] / NUMBER * 1e6, 2),
            "cpu_ratio": round(theirs[1] / max(ours[1], 1e-6), 2),
        }
    return row
