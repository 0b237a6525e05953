"""Captures as files: whole or not there, described, within limits, and nobody else's touched."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from custom_components.ulogger.cloud.folder.errors import (
    FolderError,
    FolderFull,
    FolderMissing,
    FolderUnwritable,
)
from custom_components.ulogger.cloud.folder.names import MARKER, CaptureFiles, is_ours, safe_folder
from custom_components.ulogger.cloud.folder.writing import check, prepare, store, tidy
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

WHO = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
CAME = 1_790_000_000.0
STEM = "20260921T141320Z-7-log"


def capture(data: bytes = b"\4log", who: DeviceIdentity = WHO) -> Capture:
    return Capture(CaptureKind.LOG, who, data, CAME)


def files(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()} - {MARKER}


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    """A directory that a person chose."""
    directory = tmp_path / "captures"
    prepare(directory)
    return directory


def test_a_capture_becomes_two_files_that_say_who_it_is_from(chosen: Path) -> None:
    store(chosen, capture(), 7)
    folder = chosen / WHO.serial
    assert (folder / f"{STEM}.bin").read_bytes() == b"\4log"
    assert json.loads((folder / f"{STEM}.json").read_text()) == {
        "id": 7,
        "kind": "log",
        "bytes": 4,
        "captured_at": "2026-09-21T14:13:20+00:00",
        "fault": None,
        "application_id": 42,
        "serial": WHO.serial,
        "device_type": "DoorSenseV2",
        "git_version": "4.24.2",
        "git_hash": "bc53443",
    }


def test_the_same_capture_again_changes_nothing(chosen: Path) -> None:
    store(chosen, capture(), 7)
    before = files(chosen)
    store(chosen, capture(), 7)
    assert files(chosen) == before
    assert len(before) == 2


@given(st.text())
@example("-")
@example("_")
@example("-rf")
def test_no_serial_leads_out_of_the_directory(serial: str) -> None:
    folder = safe_folder(serial)
    assert folder
    assert not folder.startswith("-")
    assert len(folder.encode()) <= 64
    assert folder.replace("-", "").replace("_", "").isalnum()
    assert folder.isascii()


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_two_serials_share_a_folder(one: str, other: str) -> None:
    assert (safe_folder(one) == safe_folder(other)) is (one == other)


def test_a_file_is_seen_under_its_name_only_when_all_of_it_is_on_the_disk(
    chosen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step may be the last one: what can be seen is whole, and data has its description."""
    steps = 0
    limit = 0

    def step(real):
        def stopped(*arguments, **more):
            nonlocal steps
            steps += 1
            if steps > limit:
                raise OSError(errno.EIO, "the disk went")
            return real(*arguments, **more)

        return stopped

    for module, name in ((os, "fsync"), (Path, "rename"), (Path, "mkdir")):
        monkeypatch.setattr(module, name, step(getattr(module, name)))
    whole = capture(bytes(range(256)) * 40)
    stored = False
    while not stored:
        steps = 0
        try:
            store(chosen, whole, 7)
            stored = True
        except FolderError:
            limit += 1
        seen = files(chosen)
        assert not {name for name in seen if name.endswith(".tmp")}
        if f"{WHO.serial}/{STEM}.bin" in seen:
            assert f"{WHO.serial}/{STEM}.json" in seen
            assert (chosen / WHO.serial / f"{STEM}.bin").read_bytes() == whole.data
    assert limit >= 6


def test_files_and_their_names_are_brought_to_the_disk_before_a_capture_counts(
    chosen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store(chosen, capture(), 7)
    assert synced == [f"{STEM}.json.tmp", f"{STEM}.bin.tmp", WHO.serial, chosen.name]


def test_without_its_marker_a_directory_is_not_written(chosen: Path) -> None:
    """Where a disk was mounted an empty directory is left: it is not what was chosen."""
    (chosen / MARKER).unlink()
    with pytest.raises(FolderMissing, match="not mounted"):
        store(chosen, capture(), 7)
    assert not files(chosen)
    with pytest.raises(FolderMissing):
        check(chosen / "gone")


@pytest.mark.parametrize("beneath", [True, False])
def test_a_capture_written_while_its_disk_goes_does_not_count(
    chosen: Path, monkeypatch: pytest.MonkeyPatch, beneath: bool
) -> None:
    def check_and_unmount(directory: Path) -> None:
        check(directory)
        directory.rename(directory.with_name("elsewhere"))
        if beneath:
            directory.mkdir()

    with monkeypatch.context() as patch:
        patch.setattr("custom_components.ulogger.cloud.folder.writing.check", check_and_unmount)
        with pytest.raises(FolderMissing):
            store(chosen, capture(), 7)
    assert not files(chosen.with_name("elsewhere"))


def test_a_full_disk_says_so_and_leaves_nothing_half(
    chosen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (chosen / WHO.serial).mkdir()
    with pytest.raises(FolderFull, match="no space left"):
        store(chosen, capture(), 7)
    assert not files(chosen)


def test_a_disk_that_is_nearly_full_does_not_count_as_usable(
    chosen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: _Free)
    with pytest.raises(FolderFull):
        check(chosen)


class _Free:
    free = 1000


def test_a_file_where_the_directory_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "captures").write_text("")
    with pytest.raises(FolderUnwritable):
        prepare(tmp_path / "captures")


def test_the_oldest_go_first_by_age_and_by_size(chosen: Path) -> None:
    for number in range(5):
        store(chosen, capture(bytes(1000)), number)
        for path in (chosen / WHO.serial).glob(f"*-{number}-log.*"):
            os.utime(path, (number * 100, number * 100))
    each = sum(path.stat().st_size for path in (chosen / WHO.serial).glob("*-0-log.*"))
    assert tidy(chosen, before=0, most_bytes=0).captures == 5
    assert tidy(chosen, before=150, most_bytes=0).captures == 3
    assert not [name for name in files(chosen) if "-0-" in name or "-1-" in name]
    usage = tidy(chosen, before=0, most_bytes=2 * each)
    assert (usage.captures, usage.bytes) == (2, 2 * each)
    assert tidy(chosen, before=1e12, most_bytes=0).captures == 0
    assert not (chosen / WHO.serial).exists()


def test_what_others_put_there_is_never_touched(chosen: Path) -> None:
    store(chosen, capture(), 7)
    for name in ("notes.txt", "20260921T141320Z-7-log.bin.bak", "x-7-log.bin"):
        (chosen / WHO.serial / name).write_text("mine")
    (chosen / "20260921T141320Z-7-log.bin").write_text("mine")
    elsewhere = chosen.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{STEM}.bin").write_text("mine")
    (chosen / "link").symlink_to(elsewhere)
    tidy(chosen, before=1e12, most_bytes=0)
    assert (elsewhere / f"{STEM}.bin").exists()
    assert files(chosen) == {
        f"{WHO.serial}/notes.txt",
        f"{WHO.serial}/20260921T141320Z-7-log.bin.bak",
        f"{WHO.serial}/x-7-log.bin",
        "20260921T141320Z-7-log.bin",
    }


def test_names_of_ours_are_known_again() -> None:
    names = CaptureFiles.of(capture(), 7)
    assert is_ours(names.data)
    assert is_ours(names.description)
    assert not is_ours(MARKER)
