"""What is read from a directory of captures is what was written, and what is wrong is told."""

import json
from pathlib import Path

import pytest

from custom_components.ulogger.cloud.folder.writing import prepare, store
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.folder import FolderReader

DEVICE = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
LOG = Capture(CaptureKind.LOG, DEVICE, b"log", 1000.0)
DUMP = Capture(CaptureKind.CORE_DUMP, DEVICE, b"dump", 2000.0)


@pytest.fixture
def reader(tmp_path: Path) -> FolderReader:
    directory = tmp_path / "captures"
    prepare(directory)
    store(directory, LOG, 1)
    store(directory, DUMP, 2)
    return FolderReader(directory)


def test_captures_are_read_as_they_were_written(reader: FolderReader) -> None:
    filed = sorted(reader.read(), key=lambda each: each.capture_id)
    assert [(each.capture_id, each.serial, each.kind, each.data) for each in filed] == [
        (1, DEVICE.serial, CaptureKind.LOG, b"log"),
        (2, DEVICE.serial, CaptureKind.CORE_DUMP, b"dump"),
    ]
    assert not reader.faulty


def test_a_description_alone_is_no_capture_yet(reader: FolderReader) -> None:
    next(reader.directory.glob("*/*-1-log.bin")).unlink()
    assert [each.capture_id for each in reader.read()] == [2]
    assert not reader.faulty


def test_data_without_its_description_is_faulty(reader: FolderReader) -> None:
    next(reader.directory.glob("*/*-1-log.json")).unlink()
    assert [each.capture_id for each in reader.read()] == [2]
    assert len(reader.faulty) == 1


@pytest.mark.parametrize("change", [{"bytes": 4}, {"id": 3}, {"kind": "core_dump"}, {"kind": "?"}])
def test_a_description_that_does_not_fit_is_faulty(reader: FolderReader, change: dict) -> None:
    description = next(reader.directory.glob("*/*-1-log.json"))
    description.write_text(json.dumps(json.loads(description.read_text()) | change))
    assert [each.capture_id for each in reader.read()] == [2]
    assert len(reader.faulty) == 1


def test_what_was_there_and_is_not_is_told(reader: FolderReader) -> None:
    reader.read()
    assert not list(reader.gone())
    next(reader.directory.glob("*/*-2-core_dump.bin")).unlink()
    assert len(list(reader.gone())) == 1
