"""What a cut leaves: certain is what was synced, and of the rest each sector is some version."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.filesystem import SECTOR, Choice, FileSystem, everything, nothing
from powercut.recorder import Event, Kind

TREE = "/tree"
ROOT, FILE, DIRECTORY, OTHER = 1, 2, 3, 4


def system(*events: Event) -> FileSystem:
    made = FileSystem(TREE, {}, {"": ROOT})
    for event in events:
        made.apply(event)
    return made


def create(name: str, inode: int = FILE) -> Event:
    return Event(Kind.CREATE, inode, 0, f"{TREE}/{name}".encode())


def rename(old: str, new: str, inode: int = FILE) -> Event:
    return Event(Kind.RENAME, inode, 0, f"{TREE}/{old}\0{TREE}/{new}".encode())


def unlink(name: str, inode: int = FILE) -> Event:
    return Event(Kind.UNLINK, inode, 0, f"{TREE}/{name}".encode())


def write(offset: int, data: bytes, inode: int = FILE) -> Event:
    return Event(Kind.WRITE, inode, offset, data)


def truncate(size: int) -> Event:
    return Event(Kind.TRUNCATE, FILE, size, b"")


def sync(inode: int = FILE) -> Event:
    return Event(Kind.SYNC, inode, 0, b"")


def certain(made: FileSystem) -> dict[str, bytes | None]:
    return made.disk(nothing, nothing)


def choices(made: FileSystem, count: int = 400) -> list[dict[str, bytes | None]]:
    made_choices = [Choice(Random(seed)) for seed in range(count)]
    return [made.disk(choice.names, choice.contents) for choice in made_choices]


def test_a_name_needs_its_directory_synced_and_a_content_its_file():
    assert certain(system(create("a"), write(0, b"x"), sync())) == {}
    assert certain(system(create("a"), write(0, b"x"), sync(ROOT))) == {"a": b""}
    assert certain(system(create("a"), write(0, b"x"), sync(), sync(ROOT))) == {"a": b"x"}


def test_a_directory_that_is_not_certain_takes_what_is_in_it_with_it():
    made = system(
        Event(Kind.MAKE_DIRECTORY, DIRECTORY, 0, f"{TREE}/d".encode()),
        create("d/a"),
        write(0, b"x"),
        sync(),
        sync(DIRECTORY),
    )
    assert certain(made) == {}
    made.apply(sync(ROOT))
    assert certain(made) == {"d": None, "d/a": b"x"}


def test_a_rename_is_there_or_not_but_never_half():
    made = system(create("a"), create("b", OTHER), write(0, b"new"), sync(), sync(ROOT))
    made.apply(rename("a", "b"))
    assert certain(made) == {"a": b"new", "b": b""}
    left = choices(made)
    assert {tuple(disk) for disk in left} == {("a", "b"), ("b",)}
    assert all(disk["b"] == b"new" for disk in left if "a" not in disk)


def test_a_file_that_was_renamed_before_its_sync_may_be_there_and_empty():
    made = system(create("a"), write(0, b"new"), rename("a", "b"), sync(ROOT))
    assert {disk["b"] for disk in choices(made)} == {b"", b"new"}


def test_removals_may_be_lost():
    made = system(create("a"), sync(ROOT), unlink("a"), create("a", OTHER), write(0, b"x", OTHER))
    found = {tuple(disk.items()) for disk in choices(made)}
    assert found == {(), (("a", b""),), (("a", b"x"),)}


def test_a_write_is_torn_by_sector_and_no_finer():
    made = system(create("a"), write(0, b"o" * 4 * SECTOR), sync(), sync(ROOT))
    made.apply(write(0, b"n" * 4 * SECTOR))
    contents = {disk["a"] for disk in choices(made)}
    sectors = {
        tuple(content[at : at + SECTOR] for at in range(0, 4 * SECTOR, SECTOR))
        for content in contents
    }
    assert len(sectors) == 16
    assert {sector for each in sectors for sector in each} == {b"o" * SECTOR, b"n" * SECTOR}


def test_a_sector_goes_to_the_disk_as_a_whole():
    made = system(create("a"), write(0, b"old"), sync(), sync(ROOT))
    made.apply(write(0, b"N"))
    made.apply(write(1, b"EW"))
    assert {disk["a"] for disk in choices(made)} == {b"old", b"Nld", b"NEW"}


def test_a_size_may_be_lost():
    made = system(create("a"), write(0, b"x" * 900), sync(), sync(ROOT), truncate(0))
    assert {len(disk["a"] or b"") for disk in choices(made)} == {0, 900}


@pytest.mark.parametrize("until", range(5))
def test_all_seen_is_what_a_kill_leaves(until):
    story = [create("a"), write(0, b"abc"), truncate(1), write(2, b"z"), rename("a", "b")]
    made = system(*story[: until + 1])
    content = (b"", b"abc", b"a", b"a\0z", b"a\0z")[until]
    assert made.disk(everything, everything) == {"b" if until == 4 else "a": content}


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=1500)), max_size=6),
    st.integers(0, 1 << 32),
)
def test_every_sector_is_one_of_its_versions(writes, seed):
    made = system(create("a"), write(0, bytes(4500)), sync(), sync(ROOT))
    versions = [bytes(4500)]
    for offset, data in writes:
        made.apply(write(offset, data))
        before = versions[-1]
        versions.append(before[:offset] + data + before[offset + len(data) :])
    choice = Choice(Random(seed))
    content = made.disk(choice.names, choice.contents)["a"] or b""
    assert len(content) == 4500
    for at in range(0, 4500, SECTOR):
        seen = {version[at : at + SECTOR] for version in versions}
        assert content[at : at + SECTOR] in seen
