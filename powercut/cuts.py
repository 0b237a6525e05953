"""One record, cut at every point: the disks that each cut could leave, opened and judged."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from . import filesystem
from .filesystem import Choice, Disk, FileSystem, Unrecorded, everything, nothing
from .opening import Opener
from .promises import Found, Promises, Verdict
from .recorder import Event, Kind, events

CERTAIN, SEEN = -2, -1
"""Variants of a cut: nothing is left of what is not certain, or everything; others are seeds."""

type Cuts = dict[int, list[int]]
"""Variants by point: the number of events that had happened when the power went."""


@dataclass(frozen=True, slots=True)
class Record:
    """What happened in a tree, and how the tree was at the beginning."""

    path: Path
    tree: Path
    disk: Disk
    inodes: dict[str, int]

    def events(self) -> Iterator[Event]:
        """Read all that happened."""
        return events(self.path)

    def file_system(self) -> FileSystem:
        """Begin anew."""
        return FileSystem(str(self.tree), self.disk, self.inodes)

    def check(self) -> None:
        """Replay everything; raises ``Unrecorded`` unless that is what the process has left."""
        replayed = self.file_system()
        for event in self.events():
            if event.kind is not Kind.MARK:
                replayed.apply(event)
        wanted, _ = filesystem.scan(self.tree)
        got = replayed.disk(everything, everything)
        if different := {p for p in wanted.keys() | got.keys() if wanted.get(p) != got.get(p)}:
            raise Unrecorded(f"the record does not lead to {', '.join(sorted(different))}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A disk that does not keep what was promised."""

    point: int
    variant: int
    verdict: Verdict
    error: str | None


@dataclass(slots=True)
class Result:
    """What came of some cuts; ``disks`` are the digests of those that were opened."""

    disks: set[bytes] = field(default_factory=set)
    verdict: Verdict = field(default_factory=Verdict)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Result) -> None:
        """Take in what came of others."""
        self.disks |= other.disks
        self.verdict += other.verdict
        self.failures += other.failures


def built(file_system: FileSystem, seed: int, point: int, variant: int) -> Disk:
    """Build the disk that one variant of a cut leaves."""
    if variant == CERTAIN:
        return file_system.disk(nothing, nothing)
    if variant == SEEN:
        return file_system.disk(everything, everything)
    choice = Choice(Random(f"{seed}/{point}/{variant}"))
    return file_system.disk(choice.names, choice.contents)


def judge(record: Record, cuts: Cuts, seed: int, scratch: Path) -> Result:
    """Make the cuts, open each disk once, and judge it at each point at which it occurs."""
    with TemporaryDirectory(dir=scratch) as place:
        return asyncio.run(_judge(record, cuts, seed, Path(place) / "config"))


async def _judge(record: Record, cuts: Cuts, seed: int, place: Path) -> Result:
    result = Result()
    opener = Opener(place)
    known: dict[bytes, Found] = {}
    for point, file_system, promises in _moments(record, cuts):
        for variant in cuts[point]:
            disk = built(file_system, seed, point, variant)
            name = _digest(disk)
            if (found := known.get(name)) is None:
                found = known[name] = await opener.open(disk)
            verdict = promises.hold_against(found)
            result.verdict += verdict
            if verdict:
                result.failures.append(Failure(point, variant, verdict, found.error))
    result.disks = set(known)
    return result


def _moments(record: Record, cuts: Cuts) -> Iterator[tuple[int, FileSystem, Promises]]:
    """Go through the record, stopping at the points that are to be cut."""
    file_system, promises = record.file_system(), Promises()
    last = max(cuts)
    for point, event in enumerate(record.events(), 1):
        if event.kind is Kind.MARK:
            promises.take(event.data)
        else:
            file_system.apply(event)
        if point in cuts:
            yield point, file_system, promises
        if point == last:
            return


def disk_at(record: Record, failure: Failure, seed: int) -> Disk:
    """Build a disk again, to be looked at."""
    cuts = {failure.point: [failure.variant]}
    _, file_system, _ = next(_moments(record, cuts))
    return built(file_system, seed, failure.point, failure.variant)


def _digest(disk: Disk) -> bytes:
    whole = hashlib.blake2b(digest_size=12)
    for path, content in sorted(disk.items()):
        whole.update(f"{path}\0{-1 if content is None else len(content)}\0".encode())
        whole.update(content or b"")
    return whole.digest()


def parts(cuts: Cuts, count: int) -> Sequence[Cuts]:
    """Share cuts out; each part is a stretch of the record, in which disks are alike."""
    points = sorted(cuts)
    size = max(1, -(-len(points) // count))
    return [
        {point: cuts[point] for point in points[start : start + size]}
        for start in range(0, len(points), size)
    ]
