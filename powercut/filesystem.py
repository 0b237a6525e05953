"""A file system as a power cut finds it: what is on disk for certain, and what only may be.

A file's content is certain up to its last sync; each sector (512 bytes) of what was written
since is there in one of the versions that it has had. A name (created, renamed, removed) is
certain from the next sync of its directory; until then it may be there or not. Nothing is
certain for any other reason: no journal, no order among files, none between names and contents.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .recorder import Event, Kind

SECTOR = 512

type Disk = dict[str, bytes | None]
"""Contents by path, relative to the tree; None is a directory."""


class Unrecorded(Exception):
    """The record does not tell all that happened."""


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes written at an offset, or (None) a new size."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        """Carry the change out."""
        if self.data is None:
            _resize(content, self.offset)
            return
        _resize(content, max(len(content), self.offset + len(self.data)))
        content[self.offset : self.offset + len(self.data)] = self.data

    def sectors(self) -> range:
        """Tell which sectors a write touches."""
        return range(self.offset // SECTOR, -(-(self.offset + len(self.data or b"")) // SECTOR))

    def part(self, sector: int) -> Change:
        """Take the part of a write that falls into a sector."""
        start = max(self.offset, sector * SECTOR)
        end = min(self.offset + len(self.data or b""), (sector + 1) * SECTOR)
        return Change(start, (self.data or b"")[start - self.offset : end - self.offset])


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


@dataclass(eq=False, slots=True)
class File:
    """A file's content: certain, and what was done to it since."""

    certain: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        """Make certain what was done."""
        for change in self.pending:
            change.apply(self.certain)
        self.pending.clear()

    def content(self, chosen: Callable[[list[Change]], Iterator[Change]]) -> bytes:
        """Return the content with some of what was done since the last sync."""
        content = bytearray(self.certain)
        for change in chosen(self.pending):
            change.apply(content)
        return bytes(content)


@dataclass(eq=False, slots=True)
class Directory:
    """A directory's names: certain, and as the running system sees them."""

    certain: dict[str, Node] = field(default_factory=dict)
    seen: dict[str, Node] = field(default_factory=dict)


type Node = File | Directory


@dataclass(frozen=True, eq=False, slots=True)
class NameChange:
    """A file or directory got a name, lost one, or both."""

    node: Node
    taken: tuple[Directory, str] | None
    given: tuple[Directory, str] | None

    def concerns(self, directory: Directory) -> bool:
        """Whether a sync of the directory makes it certain."""
        return any(
            place is not None and place[0] is directory for place in (self.taken, self.given)
        )

    def apply(self, names: Callable[[Directory], dict[str, Node]]) -> None:
        """Carry the change out, as far as what it needs is there."""
        if self.taken is not None:
            directory, name = self.taken
            if names(directory).get(name) is self.node:
                del names(directory)[name]
        if self.given is not None:
            directory, name = self.given
            names(directory)[name] = self.node


def nothing[T](_: list[T]) -> Iterator[T]:
    """Keep nothing of what is not certain."""
    return iter(())


def everything[T](changes: list[T]) -> Iterator[T]:
    """Keep all, as a kill does."""
    return iter(changes)


class FileSystem:
    """One tree, brought forward event by event."""

    def __init__(self, tree: str, disk: Disk, inodes: dict[str, int]) -> None:
        """Begin with a tree that is certain; ``inodes`` numbers its paths ("" is its root)."""
        self._tree = tree
        self.root = Directory()
        self._nodes: dict[int, Node] = {inodes[""]: self.root}
        self._names: list[NameChange] = []
        for path in sorted(disk):
            content = disk[path]
            node = Directory() if content is None else File(bytearray(content))
            directory, name = self._place(path)
            directory.certain[name] = directory.seen[name] = node
            self._nodes[inodes[path]] = node

    def apply(self, event: Event) -> None:
        """Take note of an event."""
        match event.kind:
            case Kind.WRITE:
                self._file(event).pending.append(Change(event.offset, event.data))
            case Kind.TRUNCATE:
                self._file(event).pending.append(Change(event.offset, None))
            case Kind.SYNC:
                self._sync(self._known(event))
            case Kind.CREATE:
                self._new(event, File())
            case Kind.MAKE_DIRECTORY:
                self._new(event, Directory())
            case Kind.RENAME:
                old, new = event.data.decode().split("\0")
                self._rename(self._known(event), self._path(old), self._path(new))
            case Kind.UNLINK:
                place = self._place(self._path(event.data.decode()))
                self._rename_to(NameChange(self._known(event), place, None))
            case Kind.LINK | Kind.REFUSED:
                raise Unrecorded(f"{event.kind.name.lower()} of {event.data.decode()}")

    def disk(
        self,
        names: Callable[[list[NameChange]], Iterator[NameChange]],
        contents: Callable[[list[Change]], Iterator[Change]],
    ) -> Disk:
        """Build a disk: what is certain, and what is chosen of the rest."""
        changed: dict[Directory, dict[str, Node]] = {}

        def of(directory: Directory) -> dict[str, Node]:
            return changed.setdefault(directory, dict(directory.certain))

        for change in names(self._names):
            change.apply(of)
        disk: Disk = {}

        def walk(directory: Directory, before: str) -> None:
            for name, node in sorted(of(directory).items()):
                if isinstance(node, Directory):
                    disk[before + name] = None
                    walk(node, f"{before}{name}/")
                else:
                    disk[before + name] = node.content(contents)

        walk(self.root, "")
        return disk

    def _known(self, event: Event) -> Node:
        if (node := self._nodes.get(event.inode)) is None:
            raise Unrecorded(f"{event.kind.name.lower()} of a file that came from nowhere")
        return node

    def _file(self, event: Event) -> File:
        node = self._known(event)
        if not isinstance(node, File):
            raise Unrecorded("a directory was written to")
        return node

    def _new(self, event: Event, node: Node) -> None:
        self._nodes[event.inode] = node
        path = self._path(event.data.decode())
        self._rename_to(NameChange(node, None, self._place(path)))

    def _rename(self, node: Node, old: str, new: str) -> None:
        self._rename_to(NameChange(node, self._place(old), self._place(new)))

    def _rename_to(self, change: NameChange) -> None:
        change.apply(lambda directory: directory.seen)
        self._names.append(change)

    def _sync(self, node: Node) -> None:
        if isinstance(node, File):
            node.sync()
            return
        certain = self._made_certain(node)
        for change in certain:
            change.apply(lambda directory: directory.certain)
        self._names = [change for change in self._names if change not in certain]

    def _made_certain(self, directory: Directory) -> list[NameChange]:
        """Find the names that a sync makes certain, and how what they name got there."""
        found: list[NameChange] = []
        nodes: set[Node] = set()
        for change in reversed(self._names):
            if change.concerns(directory) or change.node in nodes:
                found.append(change)
                nodes.add(change.node)
        return found[::-1]

    def _path(self, path: str) -> str:
        return path.removeprefix(self._tree).strip("/")

    def _place(self, path: str) -> tuple[Directory, str]:
        """Find the directory that a path's last part stands in."""
        *parents, name = path.split("/")
        directory = self.root
        for parent in parents:
            inner = directory.seen.get(parent)
            if not isinstance(inner, Directory):
                raise Unrecorded(f"there is no directory {parent} for {path}")
            directory = inner
        return directory, name


class Choice:
    """One seeded choice of what a cut leaves of that which is not certain."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def names(self, changes: list[NameChange]) -> Iterator[NameChange]:
        """Keep none, all, those before some moment, or any."""
        random = self._random
        how = random.randrange(4)
        until = (0, len(changes), random.randint(0, len(changes)), len(changes))[how]
        kept = changes[:until]
        return iter([change for change in kept if how < 3 or random.random() < 0.5])

    def contents(self, changes: list[Change]) -> Iterator[Change]:
        """Keep none, all, those before some moment, any sectors, or all but one."""
        if not changes:
            return iter(())
        how = self._random.choice((_none, _all, _torn, _torn, _scattered, _one_missing))
        return how(changes, self._random)


def _none(_: list[Change], __: Random) -> Iterator[Change]:
    return iter(())


def _all(changes: list[Change], _: Random) -> Iterator[Change]:
    return iter(changes)


def _torn(changes: list[Change], random: Random) -> Iterator[Change]:
    """Keep what was done before a moment, and of one write some sectors."""
    until = random.randrange(len(changes))
    yield from changes[:until]
    last = changes[until]
    if last.data is not None:
        yield from (last.part(each) for each in last.sectors() if random.random() < 0.5)


def _scattered(changes: list[Change], random: Random) -> Iterator[Change]:
    """Keep each sector in any of its versions; a sector goes to the disk as it is then."""
    versions: dict[int, int] = defaultdict(int)
    for change in changes:
        if change.data is not None:
            for sector in change.sectors():
                versions[sector] += 1
    kept = {
        sector: random.choice((0, count, random.randint(0, count)))
        for sector, count in versions.items()
    }
    yield from _as_far_as(changes, kept, random)


def _one_missing(changes: list[Change], random: Random) -> Iterator[Change]:
    """Keep all but the last versions of one sector."""
    touched = [sector for change in changes for sector in change.sectors() if change.data]
    everything_else = dict.fromkeys(touched, len(changes))
    if touched:
        everything_else[random.choice(touched)] = 0
    yield from _as_far_as(changes, everything_else, None)


def _as_far_as(
    changes: list[Change], kept: dict[int, int], random: Random | None
) -> Iterator[Change]:
    """Keep the first versions of each sector, and sizes or (by chance) not."""
    left = dict(kept)
    for change in changes:
        if change.data is None:
            if random is None or random.random() < 0.5:
                yield change
            continue
        for sector in change.sectors():
            if left[sector] > 0:
                yield change.part(sector)
            left[sector] -= 1


def scan(tree: Path) -> tuple[Disk, dict[str, int]]:
    """Read a tree that nobody changes: its disk, and the inode of each of its paths."""
    disk: Disk = {}
    inodes = {"": tree.stat().st_ino}
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        disk[name] = None if path.is_dir() else path.read_bytes()
        inodes[name] = path.stat().st_ino
    return disk, inodes


def write(disk: Disk, tree: Path) -> None:
    """Lay a disk out in an empty directory."""
    for path, content in sorted(disk.items()):
        if content is None:
            (tree / path).mkdir(mode=0o700)
        else:
            (tree / path).write_bytes(content)
