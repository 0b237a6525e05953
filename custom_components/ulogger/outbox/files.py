"""The outbox's files: private, and durable in their directory."""

import contextlib
import os
from pathlib import Path
from typing import Final

from ..model.durable import sync_directory

_COMPANIONS: Final = ("-wal", "-shm", "-journal")


def companion(path: Path, ending: str) -> Path:
    """Name a file that stands beside the database."""
    return path.with_name(path.name + ending)


def prepare(path: Path) -> None:
    """Create directory (0700) and file (0600) before SQLite does: it copies the file's mode."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True)
        sync_directory(path.parent.parent)
    path.parent.chmod(0o700)
    if path.exists():
        path.chmod(0o600)
        return
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    sync_directory(path.parent)


def move(path: Path, target: Path) -> None:
    """Rename a database with its companions, these first: a stray log must never meet a new file.

    A log that stands beside a file it does not belong to would be replayed into it.
    """
    for ending in (*_COMPANIONS, ""):
        with contextlib.suppress(FileNotFoundError):
            companion(path, ending).rename(companion(target, ending))
    sync_directory(path.parent)


def delete(path: Path) -> None:
    """Remove a database and its companions, if there are any."""
    for ending in (*_COMPANIONS, ""):
        companion(path, ending).unlink(missing_ok=True)


def size(path: Path) -> int:
    """Sum what the database and its companions take."""
    total = 0
    for ending in (*_COMPANIONS, ""):
        with contextlib.suppress(FileNotFoundError):
            total += companion(path, ending).stat().st_size
    return total
