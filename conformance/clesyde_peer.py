"""Runs Clesyde's own library beside ours, as another device at the same platform."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

from demo.clesyde.platform import TOKEN, Device, LocalClesyde

from .clesyde_library import PEERS

ROOT = Path(__file__).parents[1]


class ClesydePeer:
    """The library's process; ``connected`` counts its connections by their kind."""

    def __init__(self, platform: LocalClesyde, directory: Path, serial: str) -> None:
        """Prepare; ``directory`` gets its files."""
        self.platform = platform
        self.directory = directory
        self.serial = serial
        self.connected: Counter[str] = Counter()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def device(self) -> Device:
        """What the platform knows of it."""
        return self.platform.devices[self.serial]

    @property
    def files(self) -> dict[str, bytes]:
        """What it keeps."""
        place = self.directory / ".clesydecloud"
        return {path.name: path.read_bytes() for path in place.iterdir()}

    async def __aenter__(self) -> Self:
        """Start it."""
        if not PEERS.is_dir():
            raise OSError(f"{PEERS} is not there: run script/setup")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "conformance.clesyde_library",
            str(self.directory),
            self.platform.api,
            self.serial,
            TOKEN,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()

    async def burst(self, topic: str, count: int, payload: str) -> None:
        """Have it publish a message so many times."""
        if self._process is None or self._process.stdin is None:
            raise OSError("the library does not run")
        self._process.stdin.write(f"BURST {topic} {count} {payload}\n".encode())
        await self._process.stdin.drain()

    async def _read(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        async for line in self._process.stdout:
            with suppress(ValueError, KeyError, TypeError):
                self.connected[json.loads(line)["connected"]] += 1
