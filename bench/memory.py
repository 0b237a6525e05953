"""The most memory that this process had at once."""

import resource
from contextlib import suppress
from pathlib import Path


def peak_memory() -> float:
    """Return megabytes."""
    # What the kernel's usage tells begins with the process that this one was started by.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
