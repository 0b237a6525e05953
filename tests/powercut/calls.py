"""Changes files in every way that the recorder knows. ``python -m tests.powercut.calls DIR``."""

import ctypes
import mmap
import os
import shutil
import sys
from pathlib import Path

MARK = "half way"


def main(tree: Path) -> None:
    os.chdir(tree)
    file = os.open("a", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(file, b"0123456789" * 1000)
    os.pwrite(file, b"there", 700)
    os.writev(file, [b"one", b"two"])
    os.pwritev(file, [b"three", b"four"], 20_000)
    os.ftruncate(file, 15_000)
    os.posix_fallocate(file, 0, 16_000)
    os.fsync(file)
    os.fdatasync(file)
    with Path("b").open("a") as more:
        more.write("appended")
    with Path("b").open("a") as more:
        more.write(" twice")
    os.truncate("b", 5)
    shutil.copyfile("a", "copy")
    with Path("copy").open("r+b") as target:
        os.sendfile(target.fileno(), file, 10, 3000)
        os.copy_file_range(file, target.fileno(), 2000)
    ctypes.CDLL(None).powercut_mark(MARK.encode())
    Path("inner").mkdir()
    Path("b").rename("inner/b")
    Path("copy").replace("a")
    os.pwrite(file, b"nobody will see this", 0)
    Path("inner/other").write_bytes(b"first")
    Path("inner/other").write_bytes(b"again")
    Path("gone").touch()
    Path("gone").unlink()
    Path("empty").mkdir()
    Path("empty").rmdir()
    directory = os.open("inner", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    if "map" in sys.argv:
        with Path("a").open("r+b") as mapped:
            mmap.mmap(mapped.fileno(), 0)
    if "link" in sys.argv:
        os.link("a", "linked")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
