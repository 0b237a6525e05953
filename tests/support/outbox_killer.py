"""Kill a process at every step it takes, and look at what is on disk afterwards.

Run as a program of its own, small enough to be forked for every step: a step is a statement
given to SQLite, an operation on a file, or an acknowledgement. Between two steps nothing on disk
changes, so these are all there are. Each fork begins from a copy of the same directory and kills
itself (SIGKILL) at its own step; what it had acknowledged by then is told by a pipe.
After each one the outbox must open and hold exactly what was acknowledged, or that and the whole
of the one operation that was under way.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import types
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import custom_components

_PACKAGE = Path(custom_components.__path__[0]) / "ulogger"
_bare = types.ModuleType("custom_components.ulogger")
_bare.__path__ = [str(_PACKAGE)]
sys.modules.setdefault("custom_components.ulogger", _bare)

from custom_components.ulogger.outbox import database  # noqa: E402
from custom_components.ulogger.outbox.outbox import Outbox  # noqa: E402

from .outbox_world import (  # noqa: E402
    LAMP,
    NOW,
    Clock,
    as_of_version,
    captured,
    core_dump,
    frame,
    log,
    open_outbox,
    queue,
)

type Operation = Callable[[Outbox], Awaitable[object]]

_FILE_OPERATIONS = frozenset(
    {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "shutil.copyfile"}
)
_CLOCK = Clock()


async def _inline(work: Callable[..., Any], *values: Any) -> Any:
    return work(*values)


async def _open(path: Path) -> Outbox:
    return await open_outbox(path, _inline, now=_CLOCK)


LIFE: list[Operation] = [
    lambda o: o.add(captured(data=log(frame(1)))),
    lambda o: o.add(core_dump(2, LAMP, size=9000)),
    lambda o: o.add(captured(data=log(frame(1), token=9))),
    lambda o: o.add(captured(data=log(frame(1), frame(2), anchor=101_000), at=NOW + 1)),
    lambda o: o.held([3]),
    lambda o: o.erased(LAMP.key),
    lambda o: queue(o).delivered([1, 2]),
    lambda o: queue(o).failed(3, "no answer"),
    lambda o: queue(o).quarantine(3, "refused"),
    lambda o: o.retry(3),
    lambda o: o.checkpoint(),
    lambda o: o.sweep(days=0, megabytes=0),
    lambda o: o.discard(3),
    lambda o: o.close(),
]


async def _fill(path: Path) -> None:
    outbox = await _open(path)
    for number in range(8):
        await outbox.add(captured(number, size=4000))
    await queue(outbox).delivered([1, 2])
    await outbox.close()


async def _fresh(path: Path) -> None:
    """Leave nothing."""


async def _damaged(path: Path) -> None:
    await _fill(path)
    with path.open("r+b") as file:
        file.write(b"\0" * 4096)


async def _suspect(path: Path) -> None:
    """Leave a file that is to be rebuilt, and captures that are only in its log."""
    await _fill(path)
    outbox = await _open(path)
    await outbox.add(captured(8, size=4000))
    database.abandon(outbox._database._connection)
    path.with_name(path.name + database.SUSPECT).touch()


async def _old(path: Path) -> None:
    await _fill(path)
    connection = sqlite3.connect(path, isolation_level=None)
    as_of_version(connection, 1)
    connection.close()


SCENARIOS: dict[str, tuple[Callable[[Path], Awaitable[None]], list[Operation]]] = {
    "life": (_fresh, LIFE),
    "recovery": (_damaged, [lambda o: o.add(captured(9)), lambda o: o.dismiss_recovery()]),
    "suspect": (_suspect, [lambda o: o.dismiss_recovery()]),
    "migration": (_old, [lambda o: o.add(captured(1, size=4000))]),
}


async def _snapshot(path: Path) -> object:
    """Describe all that is there, and that each body is the one that belongs to its row."""
    outbox = await _open(path)
    rows = await outbox.listing()
    bodies = [await outbox.read(row.capture_id) for row in rows]
    waiting = [item.capture_id for item in await queue(outbox).batch(100)]
    counters = await outbox.counters()
    told = outbox.recovered and outbox.recovered.brought_over
    database.abandon(outbox._database._connection)
    return rows, bodies, waiting, counters, told


async def _play(path: Path, operations: list[Operation], acknowledge: Callable[[], object]) -> None:
    outbox = await _open(path)
    for operation in operations:
        await operation(outbox)
        acknowledge()
    await outbox.close()


def _copy(base: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    return place / "account.db"


def _states(base: Path, place: Path, operations: list[Operation]) -> list[object]:
    """Tell what there is to see after each number of operations, when nobody is killed."""
    states = []
    for count in range(len(operations) + 1):
        path = _copy(base, place)
        asyncio.run(_play(path, operations[:count], lambda: None))
        states.append(asyncio.run(_snapshot(path)))
    return states


class _Steps:
    """Counts a process's steps and kills it at the one it was made for."""

    def __init__(self, last: int) -> None:
        self._left = last

    def step(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _audited(self, event: str, _: object) -> None:
        if event in _FILE_OPERATIONS:
            self.step()

    def watch(self) -> None:
        connect = sqlite3.connect

        def connecting(*values: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*values, **options)
            connection.set_trace_callback(self.step)
            return connection

        sqlite3.connect = connecting
        sys.addaudithook(self._audited)


def _killed_at(step: int, path: Path, operations: list[Operation]) -> tuple[bool, int]:
    """Fork, let the fork be killed; returns whether it was, and how much it had acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        steps = _Steps(step)

        def acknowledge() -> None:
            steps.step()
            os.write(writing, b".")
            steps.step()

        steps.watch()
        asyncio.run(_play(path, operations, acknowledge))
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    acknowledged = len(os.read(reading, 1000))
    os.close(reading)
    if not (os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0):
        raise SystemExit(f"step {step}: the process failed by itself")
    return os.WIFSIGNALED(status), acknowledged


def main(directory: Path, scenario: str, part: int, parts: int) -> None:
    """Kill at every step of a scenario (every ``parts``-th, from ``part``), and judge each."""
    prepare, operations = SCENARIOS[scenario]
    base, place = directory / "base", directory / "place"
    base.mkdir(parents=True)
    asyncio.run(prepare(base / "account.db"))
    states = _states(base, directory / "states", operations)
    step, killed, kills = part, True, 0
    while killed:
        path = _copy(base, place)
        killed, acknowledged = _killed_at(step, path, operations)
        there = asyncio.run(_snapshot(path))
        if there not in states[acknowledged : acknowledged + 2]:
            raise SystemExit(f"step {step}: {acknowledged} acknowledged, but there is {there}")
        kills += killed
        step += parts
    print(kills)


if __name__ == "__main__":
    _CLOCK.now = NOW
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
