"""script/powercut: record an account at work, cut the power at every point, open what is left.

The last line is a report in JSON. The exit status says whether every disk kept every promise.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from random import Random

from . import filesystem
from .cuts import CERTAIN, SEEN, Cuts, Record, Result, disk_at, judge, parts
from .recorder import ROOT, Kind, NoCompiler, record

KEPT = ROOT / "build" / "powercut"
MOST_ROUNDS = 20
SHOWN = 10


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="script/powercut", description=__doc__)
    parser.add_argument("--disks", type=int, default=5000, help="open at least so many")
    parser.add_argument("--seed", type=int, default=1, help="chooses what each cut leaves")
    parser.add_argument("--visits", type=int, default=4, help="sessions with a device, each time")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
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
    context = get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:
        for cuts in _rounds(kinds, arguments.disks, arguments.seed):
            shares = parts(cuts, 4 * arguments.processes)
            work = [pool.submit(judge, recorded, part, arguments.seed, place) for part in shares]
            for each in work:
                result.add(each.result())
            points |= cuts.keys()
            _say(f"{len(result.disks)} disks after {time.monotonic() - started:.0f} s")
            if len(result.disks) >= arguments.disks or result.failures:
                break
    _keep(recorded, result, arguments.seed)
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


def _recorded(arguments: argparse.Namespace, place: Path) -> Record:
    """Have an account work, in a configuration directory as Home Assistant leaves it."""
    tree = place / "tree"
    (tree / ".storage").mkdir(parents=True)
    recorded = Record(place / "record", tree, *filesystem.scan(tree))
    life = ("powercut.life", str(tree), str(arguments.visits))
    record(tree, recorded.path, life, source=arguments.source.resolve())
    recorded.check()
    return recorded


def _rounds(kinds: list[Kind], disks: int, seed: int) -> Iterator[Cuts]:
    """Choose points and variants: all points, if enough disks are wanted, else some by seed.

    Right after a mark a promise is youngest, so those points come first.
    """
    random = Random(seed)
    marks = [point for point, kind in enumerate(kinds, 1) if kind is Kind.MARK]
    for number in range(MOST_ROUNDS):
        points = range(1, len(kinds) + 1)
        if disks >= len(points):
            yield {point: [number] if number else [CERTAIN, SEEN, 0] for point in points}
            continue
        cuts: Cuts = {point: [number] for point in random.sample(points, disks)}
        if not number:
            for point in random.sample(marks, min(len(marks), disks)):
                cuts.setdefault(point, []).append(CERTAIN)
        yield cuts


def _keep(recorded: Record, result: Result, seed: int) -> None:
    """Lay some of the failed disks out, to be looked at."""
    for failure in result.failures[:SHOWN]:
        target = Path(tempfile.mkdtemp(prefix=f"failed-{failure.point}-", dir=KEPT))
        filesystem.write(disk_at(recorded, failure, seed), target)
        wrong = {name: value for name, value in asdict(failure.verdict).items() if value}
        _say(f"after event {failure.point}: {wrong} {failure.error or ''} ({target})")


def _say(text: str) -> None:
    print(f"powercut: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
