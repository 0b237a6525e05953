"""The record of what a process did to its files, call by call, in the order it happened."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from struct import Struct

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "build" / "powercut" / "record.so"
_SOURCE = Path(__file__).with_name("record.c")
_EVENT = Struct("=IIQQ")


class NoCompiler(Exception):
    """There is no C compiler, so nothing can be recorded."""


class Kind(IntEnum):
    """What happened; the numbers are those of the library."""

    MARK = 0
    WRITE = 1
    TRUNCATE = 2
    SYNC = 3
    CREATE = 4
    MAKE_DIRECTORY = 5
    RENAME = 6
    UNLINK = 7
    LINK = 8
    REFUSED = 9


@dataclass(frozen=True, slots=True)
class Event:
    """One call that succeeded, or a mark.

    ``data`` is what was written, the path (of a rename: two, with a NUL between), or the mark.
    ``offset`` of a truncation is the new size.
    """

    kind: Kind
    inode: int
    offset: int
    data: bytes


def build() -> Path:
    """Compile the library, unless that has been done; raises ``NoCompiler``."""
    if LIBRARY.exists() and LIBRARY.stat().st_mtime >= _SOURCE.stat().st_mtime:
        return LIBRARY
    if (compiler := shutil.which("cc")) is None:
        raise NoCompiler("a C compiler is needed, called cc; script/setup says how to get one")
    LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    unfinished = LIBRARY.with_name(f"{LIBRARY.name}.{os.getpid()}")
    flags = ("-O2", "-Wall", "-shared", "-fPIC", "-o", str(unfinished), str(_SOURCE))
    subprocess.run((compiler, *flags), check=True)
    return unfinished.replace(LIBRARY)


def record(tree: Path, to: Path, life: tuple[str, ...], *, source: Path = ROOT) -> None:
    """Run a Python module with its arguments and record what it does below ``tree``.

    ``source`` is where the integration is taken from, if not from this repository.
    """
    environment = os.environ | {
        "LD_PRELOAD": str(build()),
        "POWERCUT_TREE": str(tree),
        "POWERCUT_RECORD": str(to),
        "PYTHONPATH": os.pathsep.join(map(str, dict.fromkeys((source, ROOT)))),
    }
    command = (sys.executable, "-m", *life)
    subprocess.run(command, env=environment, cwd=source, check=True)


def events(path: Path) -> Iterator[Event]:
    """Read a record."""
    with path.open("rb") as file:
        while head := file.read(_EVENT.size):
            kind, length, inode, offset = _EVENT.unpack(head)
            yield Event(Kind(kind), inode, offset, file.read(length))
