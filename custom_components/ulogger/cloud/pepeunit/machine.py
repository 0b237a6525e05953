"""The state of this machine, as a unit reports it; every value is real or left out. Blocks."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_PROC: Final = Path("/proc")
_FREQUENCY: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
_RESOLVER: Final = Path("/etc/resolv.conf")
KILO: Final = 1024


def machine_state(
    commit: str,
    directory: str,
    address: tuple[str, str] | None = None,
    *,
    now: Callable[[], float] = time.time,
    proc: Path = _PROC,
) -> dict[str, Any]:
    """Return the seven values of the topic ``state/pepeunit``.

    ``directory`` is on the disk whose space is told; ``address`` is that of this machine with
    its netmask. Memory is in bytes, ``freq`` in MHz, ``millis`` in Unix milliseconds.
    """
    state: dict[str, Any] = {"millis": round(now() * 1000), "pu_commit_version": commit}
    if memory := _memory(proc):
        state["mem_free"], state["mem_alloc"] = memory
    if (frequency := _frequency(proc)) is not None:
        state["freq"] = frequency
    with suppress(OSError):
        state["statvfs"] = list(os.statvfs(directory))[:10]
    if address is not None:
        state["ifconfig"] = [*address, _gateway(proc), _name_server()]
    return state


def _memory(proc: Path) -> tuple[int, int] | None:
    """Return bytes that are available, and the others."""
    sizes: dict[str, int] = {}
    for line in _lines(proc / "meminfo"):
        name, _, value = line.partition(":")
        number = value.split()[:1]
        if name in {"MemTotal", "MemAvailable"} and number and number[0].isdecimal():
            sizes[name] = int(number[0]) * KILO
    if len(sizes) < 2:
        return None
    return sizes["MemAvailable"], sizes["MemTotal"] - sizes["MemAvailable"]


def _frequency(proc: Path) -> float | None:
    for line in _lines(_FREQUENCY):
        if line.strip().isdecimal():
            return int(line) / 1000
    for line in _lines(proc / "cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":
            try:
                return float(value)
            except ValueError:
                return None
    return None


def _gateway(proc: Path) -> str:
    """Return the address of the default gateway, as the kernel has it in hexadecimal."""
    for line in _lines(proc / "net/route")[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000" and len(fields[2]) == 8:
            try:
                return ".".join(str(byte) for byte in reversed(bytes.fromhex(fields[2])))
            except ValueError:
                break
    return "0.0.0.0"  # noqa: S104 - says that there is none


def _name_server() -> str:
    for line in _lines(_RESOLVER):
        fields = line.split()
        if len(fields) > 1 and fields[0] == "nameserver":
            return fields[1]
    return "0.0.0.0"  # noqa: S104 - says that there is none


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
