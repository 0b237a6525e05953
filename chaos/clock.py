"""Home Assistant's wall clock, which can be set without touching the machine's.

A few lines of C, compiled at the start and loaded into that one process, add to its wall clock
what a file says. Timers that run on the monotonic clock go on as they do on a machine whose
clock is set. Without a C compiler this fault is left out and the report says so.
"""

import asyncio
import shutil
import struct
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
_SHIFT = struct.Struct("=q")


class HostClock:
    """The wall clock of the processes that are started with ``environment``."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self._library = directory / "clock.so"
        self.available = False

    async def build(self) -> None:
        """Compile the library, where there is a compiler."""
        self._file.write_bytes(_SHIFT.pack(0))
        if (compiler := shutil.which("cc")) is None:
            return
        flags = ("-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE))
        process = await asyncio.create_subprocess_exec(compiler, *flags)
        self.available = await process.wait() == 0

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a process that shall have this clock."""
        if not self.available:
            return {}
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    def set(self, seconds: float) -> None:
        """Have the clock be so many seconds ahead of the true time."""
        with self._file.open("r+b") as file:
            file.write(_SHIFT.pack(round(seconds * 1e9)))
