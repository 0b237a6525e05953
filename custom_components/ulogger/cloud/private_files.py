"""Texts that a library reads from files only, and that shall never stand on a disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_DESCRIPTORS: Final = Path("/proc/self/fd")


@contextmanager
def as_file(text: str) -> Iterator[Path]:
    """Give a text as a file of this user only; it is in memory, or deleted in the end. Blocks."""
    if hasattr(os, "memfd_create") and _DESCRIPTORS.is_dir():
        with os.fdopen(os.memfd_create("ulogger"), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
            yield _DESCRIPTORS / str(file.fileno())
        return
    with tempfile.NamedTemporaryFile("w", prefix="ulogger-", encoding="ascii") as file:
        file.write(text)
        file.flush()
        yield Path(file.name)
