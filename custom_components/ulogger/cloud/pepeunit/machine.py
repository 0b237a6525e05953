"""The state of this machine, as a unit reports it; every value is real or left out. Blocks."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

_PROC: Final = Path("/proc")
_FREQUENCY: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
_RESOLVER: Final = Path("/etc/resolv.conf")
NONE: Final = "0.0.0.0"  # noqa: S104 - says that there is none
KILO: Final = 1024


def machine_state(
    commit: str,
    directory: str,
    address: str | None = None,
    *,
    now: Callable[[], float] = time.time,
    proc: Path = _PROC,
) -> dict[str, Any]:
    """Return the seven values of the topic ``state/pepeunit``.

    ``directory`` is on the disk whose space is told; ``address`` is that of this machine (IPv4).
    Memory is in bytes, ``freq`` in MHz, ``millis`` in Unix milliseconds.
    """
    state: dict[str, Any] = {"millis": round(now() * 1000), "pu_commit_version": commit}
    if memory := _memory(proc):
        state["mem_free"], state["mem_alloc"] = memory
    if (frequency := _frequency(proc)) is not None:
        state["freq"] = frequency
    with suppress(OSError):
        state["statvfs"] = list(os.statvfs(directory))[:10]
    if address is not None:
        state["ifconfig"] = [address, *_route(proc, address), _name_server()]
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


def own_address(host: str, port: int) -> str | None:
    """Return the address that this machine reaches a host from; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _route(proc: Path, address: str) -> tuple[str, str]:
    """Return the netmask of an address and the default gateway, as the kernel routes."""
    mask = gateway = NONE
    own = IPv4Address(address)
    for line in _lines(proc / "net/route")[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        target, via, masking = (_address(fields[place]) for place in (1, 2, 7))
        if target == via == masking:
            continue
        if int(target) == int(masking) == 0:
            gateway = str(via)
        elif int(via) == 0 and int(own) & int(masking) == int(target):
            mask = str(masking)
    return mask, gateway


def _address(text: str) -> IPv4Address:
    """Read an address in the kernel's hexadecimal, whose first byte comes last."""
    try:
        return IPv4Address(bytes.fromhex(text)[::-1])
    except ValueError:
        return IPv4Address(0)


def _name_server() -> str:
    for line in _lines(_RESOLVER):
        fields = line.split()
        if len(fields) > 1 and fields[0] == "nameserver":
            return fields[1]
    return NONE


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
