"""The archives that Pepeunit hands out: good ones are read as data, all others are refused."""

import io
import tarfile
import zipfile
import zlib
from typing import Any

import pytest

from custom_components.ulogger.cloud.pepeunit.archive import Archive
from custom_components.ulogger.cloud.pepeunit.errors import ArchiveRefused


def tar_of(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for each in members:
            if isinstance(each, tarfile.TarInfo):
                archive.addfile(each)
            else:
                info = tarfile.TarInfo(each[0])
                info.size = len(each[1])
                archive.addfile(info, io.BytesIO(each[1]))
    return packed.getvalue()


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("link")
    info.type = kind
    info.linkname = "/etc/passwd"
    return info


GOOD_TAR = tar_of(("./main.py", b"print()"), ("lib/a.elf", b"\x7fELF..."))


@pytest.mark.parametrize("bits", [9, 15, 25, 31])
def test_an_archive_is_read_however_it_is_packed(bits: int) -> None:
    packer = zlib.compressobj(wbits=bits, level=9)
    archive = Archive.parse(packer.compress(GOOD_TAR) + packer.flush())
    assert archive.files == {"main.py": b"print()", "lib/a.elf": b"\x7fELF..."}
    assert archive == Archive.parse(GOOD_TAR) == Archive.parse(archive.as_zip())
    assert archive.images == ["lib/a.elf"]
    assert archive.size == 14


@pytest.mark.parametrize(
    ("tar", "problem"),
    [
        (tar_of(("../evil", b"")), "archive_escapes"),
        (tar_of(("a/../../evil", b"")), "archive_escapes"),
        (tar_of(("/etc/passwd", b"")), "archive_escapes"),
        (tar_of(("C:evil", b"")), "archive_escapes"),
        (tar_of(("a\\..\\b", b"")), "archive_escapes"),
        (tar_of(link(tarfile.SYMTYPE)), "archive_not_a_file"),
        (tar_of(link(tarfile.LNKTYPE)), "archive_not_a_file"),
        (tar_of(link(tarfile.CHRTYPE)), "archive_not_a_file"),
        (tar_of(link(tarfile.FIFOTYPE)), "archive_not_a_file"),
        (tar_of(("a", b"1"), ("./a", b"2")), "archive_name_twice"),
        (tar_of(("a", b"1"), ("a/b", b"2")), "archive_name_twice"),
        (zlib.compress(tar_of()), "archive_empty"),
        (GOOD_TAR[:700], "archive_damaged"),
        (b"nonsense", "archive_damaged"),
        (b"PK\x03\x04nonsense", "archive_damaged"),
        (tar_of(*((f"f{number}", b"") for number in range(2001))), "archive_too_many_files"),
    ],
    ids=range(16),
)
def test_a_bad_archive_is_refused(tar: bytes, problem: str) -> None:
    with pytest.raises(ArchiveRefused) as caught:
        Archive.parse(tar)
    assert caught.value.problem == problem


def sparse() -> bytes:
    """Return a tar whose only member says that it is larger than it is."""
    tar = bytearray(tar_of(("a", b"1234")))
    tar[124:136] = b"00000077777\0"
    checksum = sum(tar[:148]) + 8 * 32 + sum(tar[156:512])
    tar[148:156] = f"{checksum:06o}\0 ".encode()
    return bytes(tar)


def zip_of(change: Any = None, *names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"" if name.endswith("/") else b"1")
    data = bytearray(packed.getvalue())
    return bytes(data if change is None else change(data))


def test_members_that_say_more_than_they_have_are_refused() -> None:
    with pytest.raises(ArchiveRefused, match="archive_damaged"):
        Archive.parse(sparse())
    with pytest.raises(ArchiveRefused, match="archive_too_large"):
        Archive.parse(tar_of(("a", b"1234")), largest=3)
    with pytest.raises(ArchiveRefused, match="archive_too_large"):
        Archive.parse(zip_of(None, "a", "b", "c"), largest=2)
    with pytest.raises(ArchiveRefused, match="archive_too_large"):
        Archive.parse(bytes(17 * 1024 * 1024))
    with pytest.raises(ArchiveRefused, match="archive_damaged"):
        Archive.parse(zlib.compress(GOOD_TAR)[:-4])


def test_folders_are_left_out_and_too_many_of_them_are_refused() -> None:
    folder = tarfile.TarInfo("lib")
    folder.type = tarfile.DIRTYPE
    assert Archive.parse(tar_of(folder, ("lib/a", b"1"))).files == {"lib/a": b"1"}
    assert Archive.parse(zip_of(None, "lib/", "lib/a")).files == {"lib/a": b"1"}
    many = [f"d{number}/" for number in range(4001)]
    with pytest.raises(ArchiveRefused, match="archive_too_many_files"):
        Archive.parse(zip_of(None, *many))
    folders = []
    for name in many:
        each = tarfile.TarInfo(name)
        each.type = tarfile.DIRTYPE
        folders.append(each)
    with pytest.raises(ArchiveRefused, match="archive_too_many_files"):
        Archive.parse(zlib.compress(tar_of(*folders)))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zip_of(None, "a", "a")
    with pytest.raises(ArchiveRefused, match="archive_name_twice"):
        Archive.parse(twice)


def test_a_zip_with_a_password_is_refused() -> None:
    def lock(data: bytearray) -> bytearray:
        data[6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
        return data

    with pytest.raises(ArchiveRefused, match="archive_not_a_file"):
        Archive.parse(zip_of(lock, "a"))


def test_a_small_download_can_not_become_a_large_archive() -> None:
    bomb = zlib.compress(bytes(60 * 1024 * 1024), 9)
    with pytest.raises(ArchiveRefused, match="archive_too_large"):
        Archive.parse(bomb)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50 * 1024 * 1024))
    with pytest.raises(ArchiveRefused, match="archive_too_large"):
        Archive.parse(packed.getvalue())


def test_a_zip_with_a_link_in_it_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveRefused, match="archive_not_a_file"):
        Archive.parse(packed.getvalue())


def chained(kind: bytes, content: bytes) -> bytes:
    """Return a tar in which a header announces the next one, over and over."""
    info = tarfile.TarInfo("announced")
    info.type, info.size = kind, len(content)
    return (info.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0")) * 3000 + GOOD_TAR


@pytest.mark.parametrize(
    "tar",
    [
        chained(tarfile.GNUTYPE_LONGNAME, b"name\0"),
        chained(tarfile.XHDTYPE, b"13 path=name\n"),
    ],
    ids=["gnu", "pax"],
)
def test_headers_that_announce_each_other_without_end_are_refused(tar: bytes) -> None:
    with pytest.raises(ArchiveRefused, match="archive_damaged"):
        Archive.parse(zlib.compress(tar))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_ZSTANDARD])
def test_a_zip_that_is_packed_in_a_rare_way_is_refused(method: int) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("a", bytes(range(256)) * 9)
    for at in range(len(packed.getvalue()) - 30):
        data = bytearray(packed.getvalue())
        data[at] ^= 0xFF
        with pytest.raises(ArchiveRefused):
            Archive.parse(bytes(data))
    with pytest.raises(ArchiveRefused, match="archive_packed_oddly"):
        Archive.parse(packed.getvalue())
