"""Whatever a process does to its files is in the record, or the record is refused."""

import shutil
import subprocess
from pathlib import Path

import pytest

from powercut import filesystem
from powercut.cuts import Record
from powercut.filesystem import Unrecorded, nothing
from powercut.recorder import Kind, record

from .calls import MARK

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def recorded(tmp_path: Path, *more: str) -> Record:
    tree = tmp_path.resolve() / "tree"
    tree.mkdir()
    made = Record(tmp_path / "record", tree, *filesystem.scan(tree))
    record(tree, made.path, ("tests.powercut.calls", str(tree), *more))
    return made


def test_a_replayed_record_leads_to_what_the_process_left(tmp_path):
    made = recorded(tmp_path)
    made.check()
    happened = [event.kind for event in made.events()]
    assert {*happened} == {*Kind} - {Kind.LINK, Kind.REFUSED}
    marks = [event.data for event in made.events() if event.kind is Kind.MARK]
    assert marks == [MARK.encode()]


def test_only_synced_names_and_contents_are_certain(tmp_path):
    made = recorded(tmp_path)
    system = made.file_system()
    for event in made.events():
        if event.kind is not Kind.MARK:
            system.apply(event)
    assert system.disk(nothing, nothing) == {}


def test_a_change_behind_the_records_back_is_noticed(tmp_path):
    made = recorded(tmp_path)
    with (made.tree / "a").open("r+b") as file:
        file.write(b"!")
    with pytest.raises(Unrecorded, match="a"):
        made.check()


def test_a_shared_mapping_is_refused(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        recorded(tmp_path, "map")


def test_what_is_not_understood_ends_the_replay(tmp_path):
    with pytest.raises(Unrecorded, match="link"):
        recorded(tmp_path, "link").check()
