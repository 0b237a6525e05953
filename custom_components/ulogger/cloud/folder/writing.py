"""One directory on a disk: captures in, the oldest out. Everything here blocks.

Invariants: a file that can be seen under its name is whole and on the disk; a capture whose
``.bin`` can be seen has its ``.json``; writing the same capture again changes nothing; nothing is
written without the marker, since then another disk (or none) stands where the directory was;
files that we did not write are never touched.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ...model.capture import Capture
from ...model.durable import sync_directory
from .errors import FolderFull, FolderMissing, FolderUnwritable
from .names import MARKER, TEMPORARY, CaptureFiles, is_ours, stem_of

RESERVE: Final = 1024 * 1024
"""Bytes that must be free, so that a directory that was full counts as usable again."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GONE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ESTALE, errno.EHOSTDOWN}


@contextmanager
def narrowed(directory: Path) -> Iterator[None]:
    """Let only errors of this room out."""
    try:
        yield
    except OSError as err:
        what = err.strerror or type(err).__name__
        if err.errno in _FULL:
            raise FolderFull(f"no space left for {directory}: {what}") from err
        if err.errno in _GONE:
            raise FolderMissing(f"{directory} is not there: {what}") from err
        raise FolderUnwritable(f"{directory} can't be written: {what}") from err


def prepare(directory: Path) -> None:
    """Make the directory if need be, and mark it as a destination; raises FolderError."""
    with narrowed(directory):
        directory.mkdir(parents=True, exist_ok=True)
        marker = directory / MARKER
        if not marker.exists():
            _write(marker, b"uLogger for Home Assistant writes captures here.\n")
            sync_directory(directory)
        check(directory)


def check(directory: Path) -> None:
    """Raise FolderError unless the marked directory is there and can be written."""
    with narrowed(directory):
        if not (directory / MARKER).exists():
            raise FolderMissing(
                f"{directory} is not the directory that was chosen: its disk is not mounted, "
                f"or somebody removed {MARKER}"
            )
        if not os.access(directory, os.W_OK | os.X_OK):
            raise FolderUnwritable(f"{directory} can't be written: no permission")
        if (free := shutil.disk_usage(directory).free) < RESERVE:
            raise FolderFull(f"no space left for {directory}: {free} bytes")


def store(directory: Path, capture: Capture, capture_id: int) -> None:
    """Write a capture's two files; they are on the disk, for good, when this returns."""
    files = CaptureFiles.of(capture, capture_id)
    folder = directory / files.folder
    with narrowed(directory), _in_place(directory):
        check(directory)
        folder.mkdir(exist_ok=True)
        _write(folder / files.description, _description(capture, capture_id))
        _write(folder / files.data, capture.data)
        sync_directory(folder)
        # Each time: whoever made the folder may have been stopped before this.
        sync_directory(directory)


@contextmanager
def _in_place(directory: Path) -> Iterator[None]:
    """Raise FolderMissing at the end if another directory stands there by then.

    A disk that goes while a file is written leaves the file on what was beneath it.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield
        if not os.path.samestat(os.fstat(descriptor), directory.stat()):
            raise FolderMissing(f"{directory} is another directory than it was a moment ago")
    finally:
        os.close(descriptor)


def _description(capture: Capture, capture_id: int) -> bytes:
    device = capture.device
    described = {
        "id": capture_id,
        "kind": capture.kind.value,
        "bytes": len(capture.data),
        "captured_at": datetime.fromtimestamp(capture.captured_at, UTC).isoformat(),
        "fault": capture.fault.value if capture.fault else None,
        "application_id": device.application_id,
        "serial": device.serial,
        "device_type": device.device_type,
        "git_version": device.git_version,
        "git_hash": device.git_hash,
    }
    return json.dumps(described, indent=1, ensure_ascii=True).encode() + b"\n"


def _write(path: Path, content: bytes) -> None:
    """Put a file under its name when all of it is on the disk."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


@dataclass(frozen=True, slots=True)
class Usage:
    """What the directory holds of ours."""

    captures: int
    bytes: int


@dataclass(slots=True)
class _Stored:
    stem: str
    paths: list[Path]
    bytes: int
    written_at: float


def tidy(directory: Path, *, before: float, most_bytes: int) -> Usage:
    """Delete captures written before a moment (Unix seconds), and the oldest of too many bytes.

    0 for ``most_bytes`` is no limit. Returns what stays. Raises FolderError.
    """
    check(directory)
    with narrowed(directory):
        stored = sorted(_stored(directory), key=lambda each: (each.written_at, each.stem))
        total = sum(each.bytes for each in stored)
        kept = len(stored)
        for each in stored:
            if each.written_at >= before and not (most_bytes and total > most_bytes):
                break
            # The data first: a description without it says what was here, not the reverse.
            for path in sorted(each.paths):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                each.paths[0].parent.rmdir()
            total -= each.bytes
            kept -= 1
    return Usage(kept, total)


def _stored(directory: Path) -> Iterator[_Stored]:
    """Find what we wrote, capture by capture; half-written files count as captures of their own."""
    for folder in directory.iterdir():
        if folder.is_symlink() or not folder.is_dir():
            continue
        found: dict[str, _Stored] = {}
        for path in folder.iterdir():
            if not is_ours(path.name):
                continue
            with suppress(FileNotFoundError):
                status = path.lstat()
                each = found.setdefault(stem_of(path.name), _Stored(path.name, [], 0, 0.0))
                each.paths.append(path)
                each.bytes += status.st_size
                each.written_at = max(each.written_at, status.st_mtime)
        yield from found.values()
