"""Reads the directory of a folder destination, as anybody does who finds it on a disk."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from custom_components.ulogger.model.capture import CaptureKind

DATA, DESCRIPTION = ".bin", ".json"


@dataclass(frozen=True, slots=True)
class Filed:
    """A capture in the directory: what its description says, the bytes beside it, and since when.

    ``written_at`` (Unix seconds) is the file system's, so no clock of Home Assistant's.
    """

    capture_id: int
    serial: str
    kind: CaptureKind
    data: bytes
    written_at: float


class FolderReader:
    """Reads each file once; what is not as it was promised to be stands in ``faulty``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.captures: dict[Path, Filed] = {}
        self.faulty: dict[Path, str] = {}

    def read(self) -> list[Filed]:
        """Return all captures, those that were seen before included, in the order they came.

        Blocks. A description without its data is about to get it.
        """
        for path in self.directory.glob(f"*/*{DATA}"):
            if path in self.captures or path in self.faulty:
                continue
            try:
                self.captures[path] = _filed(path)
            except (OSError, ValueError, KeyError) as error:
                self.faulty[path] = f"{path.relative_to(self.directory)}: {error!r}"
        return sorted(self.captures.values(), key=lambda each: each.written_at)

    def gone(self) -> Iterator[str]:
        """Describe captures that were there and are there no longer. Blocks."""
        for path in self.captures:
            if not path.exists():
                yield f"{path.relative_to(self.directory)} is gone"


def _filed(path: Path) -> Filed:
    described = json.loads(path.with_suffix(DESCRIPTION).read_bytes())
    data = path.read_bytes()
    if described["bytes"] != len(data):
        raise ValueError(f"{len(data)} bytes, described as {described['bytes']}")
    kind = CaptureKind(described["kind"])
    capture_id = int(described["id"])
    if path.stem.split("-", 1)[1] != f"{capture_id}-{kind.value}":
        raise ValueError(f"described as {kind.value} {capture_id}")
    return Filed(capture_id, described["serial"], kind, data, path.stat().st_mtime)
