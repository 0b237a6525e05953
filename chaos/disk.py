"""A small disk of its own for an outbox or a folder, which can be filled to the last byte.

It is a tmpfs, so it needs the right to mount one; without it this fault is left out and the
report says so. What is on it outlives the process, not the machine: this shows what a full disk
does, and nothing about a power cut.
"""

import os
import subprocess
from pathlib import Path

SIZE = 112 * 1024 * 1024
"""Home Assistant's gateway wants 64 MiB free; the rest is room for a run's captures."""


class SmallDisk:
    """A tmpfs on ``mount_point`` while it is mounted."""

    def __init__(self, mount_point: Path, size: int = SIZE) -> None:
        self.mount_point = mount_point
        self._size = size
        self.available = False
        self._ballast = mount_point / "ballast"

    def mount(self) -> None:
        """Mount it, where that is allowed. Blocks."""
        self.mount_point.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = f"size={self._size},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "ulogger-chaos", str(self.mount_point)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError:
            return
        self.available = done.returncode == 0

    def unmount(self) -> None:
        """Let go of it, with all that is on it. Blocks."""
        if self.available:
            subprocess.run(["umount", "--lazy", str(self.mount_point)], check=False)
            self.available = False

    def set_read_only(self, read_only: bool) -> bool:  # noqa: FBT001
        """Let nothing be written any longer, or again; False when somebody writes. Blocks."""
        options = f"remount,{'ro' if read_only else 'rw'}"
        command = ["mount", "-o", options, str(self.mount_point)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab") as file:
            while (free := self._free()) > 0:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)
                except OSError:
                    continue

    def clear(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def _free(self) -> int:
        found = os.statvfs(self.mount_point)
        return found.f_bavail * found.f_frsize
