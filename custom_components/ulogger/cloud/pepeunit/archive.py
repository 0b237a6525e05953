"""An update archive: read as data, checked, never unpacked onto a disk and never executed.

Pepeunit hands out ``tgz``, which is a tar compressed with zlib (or gzip, for a window of 25 to
31 bits), ``tar`` and ``zip``. What it is, is read from its first bytes.
"""

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from .errors import ArchiveRefused

LARGEST_PACKED: Final = 16 * 1024 * 1024
LARGEST: Final = 48 * 1024 * 1024
MOST_FILES: Final = 2_000
LONGEST_NAME: Final = 240
IMAGE_SUFFIXES: Final = (".elf", ".axf", ".out")
_ELF: Final = b"\x7fELF"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP: Final = b"\x1f\x8b"
_ZIP_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How the files of a zip are packed there; others have libraries of their own, each with errors."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A checked archive: its files by their names, which stay below wherever they are put."""

    files: Mapping[str, bytes]

    @classmethod
    def parse(cls, packed: bytes, largest: int = LARGEST) -> Archive:
        """Check a download and read its files; raises ArchiveRefused. Blocks."""
        if len(packed) > LARGEST_PACKED:
            raise ArchiveRefused("archive_too_large")
        files: dict[str, bytes] = {}
        left = largest
        folders: set[str] = set()
        for name, content in _members(packed, largest):
            left -= len(content)
            if left < 0:
                raise ArchiveRefused("archive_too_large")
            if name in files or name in folders:
                raise ArchiveRefused("archive_name_twice", name[:64])
            for parent in PurePosixPath(name).parents:
                folders.add(str(parent))
            files[name] = content
            if len(files) > MOST_FILES:
                raise ArchiveRefused("archive_too_many_files")
        if folders & files.keys():
            raise ArchiveRefused("archive_name_twice")
        if not files:
            raise ArchiveRefused("archive_empty")
        return cls(files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    @property
    def images(self) -> list[str]:
        """The files that are firmware images."""
        return [
            name
            for name, content in self.files.items()
            if content.startswith(_ELF) or name.lower().endswith(IMAGE_SUFFIXES)
        ]

    def as_zip(self) -> bytes:
        """Pack the files anew, for a person to download. Blocks."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in self.files.items():
                file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return packed.getvalue()


def checked_name(name: str) -> str | None:
    """Return a file's name as it is kept, None for the root itself; raises ArchiveRefused."""
    path = PurePosixPath(name)
    if (
        len(name) > LONGEST_NAME
        or not name.isprintable()
        or "\\" in name
        or ":" in name
        or path.is_absolute()
        or ".." in path.parts
    ):
        raise ArchiveRefused("archive_escapes", name[:64] if name.isprintable() else "")
    return None if str(path) == "." else str(path)


def _members(packed: bytes, largest: int) -> Iterator[tuple[str, bytes]]:
    if packed.startswith(_ZIP):
        yield from _zipped(packed, largest)
    else:
        yield from _tarred(_unpacked(packed, largest), largest)


def _unpacked(packed: bytes, largest: int) -> bytes:
    """Return the tar in a download, which may be one itself."""
    if packed[257:262] == b"ustar":
        return packed
    bits = 31 if packed.startswith(_GZIP) else 15
    stream = zlib.decompressobj(wbits=bits)
    try:
        tar = stream.decompress(packed, largest + 1)
    except zlib.error as err:
        raise ArchiveRefused("archive_damaged") from err
    if len(tar) > largest:
        raise ArchiveRefused("archive_too_large")
    if not stream.eof:
        raise ArchiveRefused("archive_damaged")
    return tar


def _tarred(tar: bytes, largest: int) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            seen = 0
            while (member := archive.next()) is not None:
                seen += 1
                if seen > 2 * MOST_FILES:
                    raise ArchiveRefused("archive_too_many_files")
                name = checked_name(member.name)
                if member.isdir() or name is None:
                    continue
                if not member.isreg() or member.issparse():
                    raise ArchiveRefused("archive_not_a_file", name[:64])
                if member.size > largest:
                    raise ArchiveRefused("archive_too_large")
                file = archive.extractfile(member)
                content = b"" if file is None else file.read(member.size)
                if len(content) != member.size:
                    raise ArchiveRefused("archive_damaged", name[:64])
                yield name, content
    except (
        tarfile.TarError,
        ValueError,
        EOFError,
        OSError,
        OverflowError,
        # One header may announce another, as often as somebody likes.
        RecursionError,
    ) as err:
        raise ArchiveRefused("archive_damaged") from err


def _zipped(packed: bytes, largest: int) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            if len(archive.infolist()) > 2 * MOST_FILES:
                raise ArchiveRefused("archive_too_many_files")
            for member in archive.infolist():
                name = checked_name(member.filename)
                if member.is_dir() or name is None:
                    continue
                if member.compress_type not in _ZIP_METHODS:
                    raise ArchiveRefused("archive_packed_oddly", name[:64])
                kind = stat.S_IFMT(member.external_attr >> 16)
                if member.flag_bits & 1 or kind not in (0, stat.S_IFREG):
                    raise ArchiveRefused("archive_not_a_file", name[:64])
                with archive.open(member) as file:
                    # What it says of its size may be wrong.
                    content = file.read(largest + 1)
                if len(content) > largest:
                    raise ArchiveRefused("archive_too_large")
                yield name, content
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        ValueError,
        EOFError,
        OSError,
        OverflowError,
    ) as err:
        raise ArchiveRefused("archive_damaged") from err
