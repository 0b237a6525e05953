"""The block `system`: log level, metrics, and the modes that a device goes through."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, override

from .block import Block, Changed, Clock
from .lifecycle import Lifecycle
from .status import Severity

DEFAULT_LEVEL: Final = Severity.NOTICE
DEFAULT_RATE: Final = 10
LONGEST_RATE: Final = 86400
_MEGA: Final = 1024 * 1024
_PROC: Final = Path("/proc")


class System(Block):
    """What a config says of the system of a device; its identity stands in the device itself.

    ``min_loglevel`` is the least level of an entry that goes, ``level_chosen`` whether the config
    says one. ``measure`` is called when metrics are due, None for a device that has none.
    ``on_level`` is called when the level is another one.
    """

    name = "system"

    def __init__(
        self,
        changed: Changed,
        clock: Clock,
        lifecycle: Lifecycle | None = None,
        measure: Callable[[], None] | None = None,
    ) -> None:
        self.min_loglevel: int = DEFAULT_LEVEL
        self.level_chosen = False
        self.metrics_rate = DEFAULT_RATE
        self.on_level: Callable[[], None] = lambda: None
        self.problem = ""
        self._changed = changed
        self._clock = clock
        self._lifecycle = lifecycle
        self._measure = measure
        self._configured = False
        self._measured_at = clock()

    @override
    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        config = config or {}
        self._configured = True
        before = (self.min_loglevel, self.level_chosen)
        level, rate = config.get("min_loglevel"), config.get("metrics_rate_sec")
        self.min_loglevel = _within(level, 100, 800, DEFAULT_LEVEL)
        self.level_chosen = level is not None and self.min_loglevel == level
        self.metrics_rate = _within(rate, 0, LONGEST_RATE, DEFAULT_RATE)
        wrong = (
            name
            for name, said, used in (
                ("min_loglevel", level, self.min_loglevel),
                ("metrics_rate_sec", rate, self.metrics_rate),
            )
            if said is not None and said != used
        )
        self.problem = ", ".join(wrong)
        if before != (self.min_loglevel, self.level_chosen):
            self.on_level()
        operation = config.get("operation")
        if self._lifecycle is not None and isinstance(operation, Mapping):
            self._lifecycle.wish(operation.get("mode"), operation.get("last_start"))

    @override
    def state(self) -> Mapping[str, Any] | None:
        if self._lifecycle is None:
            return {"operation": {"operational": True}}
        return {"operation": self._lifecycle.state()}

    @override
    def wake_at(self) -> float | None:
        if self._measure is None or not self.metrics_rate or not self._configured:
            return None
        return self._measured_at + self.metrics_rate

    @override
    def wake(self) -> None:
        self._measured_at = self._clock()
        if self._measure is not None:
            self._measure()


def _within(value: object, least: int, most: int, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        return int(default)
    return value


def measure(directory: str, proc: Path = _PROC) -> dict[str, float]:
    """Return memory, disk and load of this machine in UDMI's units; what it lacks is left out.

    Blocks.
    """
    found: dict[str, float] = {}
    sizes: dict[str, int] = {}
    with suppress(OSError):
        for line in (proc / "meminfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            number = value.split()[:1]
            if number and number[0].isdecimal():
                sizes[name] = int(number[0])
    for name, key in (("mem_total_mb", "MemTotal"), ("mem_free_mb", "MemAvailable")):
        if key in sizes:
            found[name] = round(sizes[key] / 1024, 1)
    with suppress(OSError):
        disk = os.statvfs(directory)
        found["store_total_mb"] = round(disk.f_blocks * disk.f_frsize / _MEGA, 1)
        found["store_free_mb"] = round(disk.f_bavail * disk.f_frsize / _MEGA, 1)
    with suppress(OSError):
        found["system_load"] = round(os.getloadavg()[0], 2)
    return found
