"""script/powercut: record an account at work, cut the power at every point, open what is left.

The last line is a report in JSON. The exit status says whether every disk kept every promise.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

from . import filesystem
from .cuts import CERTAIN, SEEN, Cuts, Record, Result, disk_at, judge, parts
from .recorder import ROOT, Kind, NoCompiler, record

KEPT = ROOT / "build" / "powercut"
MOST_ROUNDS = 30
VARIANTS_OF_NAMES = 8
AFTER_A_RENAME = 4
"""Events after which a name that was changed counts as any other."""


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="script/powercut", description=__doc__)
    parser.add_argument("--disks", type=int, default=5000, help="open at least so many")
    parser.add_argument("--points", type=int, help="cut at so many points only, chosen by seed")
    parser.add_argument("--seed", type=int, default=1, help="chooses what each cut leaves")
    parser.add_argument("--sessions", type=int, default=3, help="sessions with a device, each time")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=int, default=5, help="lay out so many of the failed disks")
    parser.add_argument(
        "--source", type=Path, default=ROOT, help="a directory with the integration to be recorded"
    )
    arguments = parser.parse_args()
    try:
        with _place() as place:
            sys.exit(_run(arguments, place))
    except NoCompiler as error:
        sys.exit(f"powercut: {error}")


@contextmanager
def _place() -> Iterator[Path]:
    """Use a disk in memory, where there is one: what is synced is known without syncing."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="ulogger-powercut-", dir=memory if os.access(memory, os.W_OK) else None
    ) as directory:
        yield Path(directory).resolve()


def _run(arguments: argparse.Namespace, place: Path) -> int:
    started = time.monotonic()
    recorded = _recorded(arguments, place)
    kinds = [event.kind for event in recorded.events()]
    _say(f"recorded {len(kinds)} events in {time.monotonic() - started:.0f} s")
    result = Result()
    points: set[int] = set()
    with _workers(arguments.processes) as pool:
        work = partial(judge, recorded, seed=arguments.seed, scratch=place)
        for cuts in _rounds(kinds, arguments.points or len(kinds), arguments.seed):
            for each in pool(work, parts(cuts, 4 * arguments.processes)):
                result.add(each)
            points |= cuts.keys()
            _say(f"{len(result.disks)} disks after {time.monotonic() - started:.0f} s")
            if len(result.disks) >= arguments.disks or result.failures:
                break
    _keep(recorded, result, arguments)
    report = {
        "disks": len(result.disks),
        **asdict(result.verdict),
        "events": len(kinds),
        "points": len(points),
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report), flush=True)
    return int(bool(result.verdict) or len(result.disks) < arguments.disks)


@contextmanager
def _workers(count: int) -> Iterator[Callable[..., Iterable[Result]]]:
    """Give a ``map`` over so many processes; one is this one."""
    if count == 1:
        yield map
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield pool.map


def _recorded(arguments: argparse.Namespace, place: Path) -> Record:
    """Have an account work, in a configuration directory as Home Assistant leaves it."""
    tree = place / "tree"
    (tree / ".storage").mkdir(parents=True)
    recorded = Record(place / "record", tree, *filesystem.scan(tree))
    life = ("powercut.life", str(tree), str(arguments.sessions))
    record(tree, recorded.path, life, source=arguments.source.resolve())
    recorded.check()
    return recorded


def _rounds(kinds: list[Kind], most: int, seed: int) -> Iterator[Cuts]:
    """Choose points, half of them right after a mark if not all, and one more variant each time.

    After a mark a promise is youngest: there, what is certain must be enough from the first.
    Names change seldom, and what they may be then is tried more often.
    """
    random = Random(seed)
    marks = [point for point, kind in enumerate(kinds, 1) if kind is Kind.MARK]
    points = set(range(1, len(kinds) + 1))
    if most < len(points):
        marks = random.sample(marks, min(len(marks), most // 2))
        others = sorted(points.difference(marks))
        points = {*marks, *random.sample(others, most - len(marks))}
    renamed = {
        point + later
        for point, kind in enumerate(kinds, 1)
        if kind in {Kind.RENAME, Kind.UNLINK}
        for later in range(AFTER_A_RENAME)
    }
    first = list(range(VARIANTS_OF_NAMES))
    yield {
        point: [*([CERTAIN] if point in marks else []), *(first if point in renamed else [0])]
        for point in points
    }
    yield {point: [SEEN] for point in points}
    for number in range(VARIANTS_OF_NAMES, MOST_ROUNDS):
        yield {point: [number] for point in points}


def _keep(recorded: Record, result: Result, arguments: argparse.Namespace) -> None:
    """Lay some of the failed disks out, to be looked at."""
    for failure in result.failures[: arguments.keep]:
        target = Path(tempfile.mkdtemp(prefix=f"failed-{failure.point}-", dir=KEPT))
        filesystem.write(disk_at(recorded, failure, arguments.seed), target)
        wrong = {name: value for name, value in asdict(failure.verdict).items() if value}
        _say(f"after event {failure.point}: {wrong} {failure.error or ''} ({target})")


def _say(text: str) -> None:
    print(f"powercut: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
