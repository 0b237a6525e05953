"""What makes the names of files outlast a power cut."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make names in a directory durable; blocks, raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
