"""The room of firmware images: what is kept of one, and crashes explained with it."""

import io
import json
import struct
import zlib
from compression import zstd
from itertools import pairwise
from pathlib import Path

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.firmware.compact_format import unpacked
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.elf import ElfFile
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.firmware.image_version import key_of_name, key_steps
from custom_components.ulogger.firmware.matching import ImageKey, match
from custom_components.ulogger.firmware.steps import finished
from custom_components.ulogger.insight.core_file import core_file
from custom_components.ulogger.insight.crash_attributes import crash_attributes
from custom_components.ulogger.insight.crash_groups import CrashGroups, Occurrence
from custom_components.ulogger.insight.crash_report import crash_report
from custom_components.ulogger.insight.versions import is_newer
from custom_components.ulogger.model.identity import DeviceIdentity

from .target import Target

_FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "agent"
_CODE = 0x40
_ADDRESSES = (0x7A, 0x119, 0x1C4, 0x400, 0xFFFF_FFF9)
_DEBUG = (
    ".debug_info",
    ".debug_abbrev",
    ".debug_line",
    ".debug_frame",
    ".debug_str",
    ".debug_rnglists",
)
_SEPARATOR = b"\xf0\x0d"


def _files(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(_FIXTURES.glob(f"*/{name}"))]


def _asked(image: CompactImage) -> object:
    """Ask an image for all that it can say."""
    return [
        (
            image.places(address),
            image.places(address, returning=True),
            image.rule(address),
            image.rule_at_call(address),
            image.format_string(address),
            image.log_places(address),
        )
        for address in _ADDRESSES
    ]


def _imported(data: bytes) -> object:
    return _asked(CompactImage.load(import_image(data)))


def _version(data: bytes) -> object:
    """Look for the version in an image, and in the name of its file."""
    key_of_name(data.decode(errors="replace"))
    return finished(key_steps(ElfFile.parse(data), [_RUNNING]))


def _elf(sections: dict[str, bytes]) -> bytes:
    """Return an image with code at 0x40 and these sections."""
    names, rows, body = io.BytesIO(b"\0.text\0"), [bytes(40)], io.BytesIO()
    names.seek(0, io.SEEK_END)
    rows.append(struct.pack("<10I", 1, 1, 6, _CODE, 52, 0x1000, 0, 0, 1, 0))
    body.write(bytes(0x1000))
    for name, contents in sections.items():
        kind, flags = (0x7000_0001, 2) if name == ".ARM.exidx" else (1, 0)
        place = names.tell(), kind, flags, 0x2000, 52 + body.tell(), len(contents)
        rows.append(struct.pack("<10I", *place, 0, 0, 1, 0))
        names.write(name.encode() + b"\0")
        body.write(contents)
    rows.append(struct.pack("<10I", 0, 3, 0, 0, 52 + body.tell(), names.tell(), 0, 0, 1, 0))
    body.write(names.getvalue())
    head = struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\x01\x01\x01",
        *(2, 40, 1, 0, 0, 52 + body.tell(), 0, 52, 32, 0, 40, len(rows), len(rows) - 1),
    )
    return head + body.getvalue() + b"".join(rows)


def _debug_sections(data: bytes) -> object:
    """Import an image of these debug sections, one after another."""
    parts = data.split(_SEPARATOR)
    return _imported(_elf(dict(zip(_DEBUG, parts, strict=False))))


def _debug_seeds() -> list[bytes]:
    found = []
    for data in _files("firmware.elf"):
        elf = ElfFile.parse(data)
        found.append(_SEPARATOR.join(bytes(elf.section(name)) for name in _DEBUG))
    return found


def _compressed(data: bytes) -> object:
    """Import a compressed line table: kind and size, then what is packed."""
    elf = bytearray(_elf({".debug_line": data}))
    row = int.from_bytes(elf[32:36], "little") + 2 * 40
    elf[row + 8 : row + 12] = struct.pack("<I", 0x800)
    return _imported(bytes(elf))


def _compressed_seeds() -> list[bytes]:
    text = bytes(ElfFile.parse(_files("firmware.elf")[0]).section(".debug_line"))
    return [
        struct.pack("<III", kind, len(text), 1) + pack(text)
        for kind, pack in ((1, zlib.compress), (2, zstd.compress))
    ]


def _exception_index(data: bytes) -> object:
    return _imported(_elf({".ARM.exidx": data}))


def _stored(data: bytes) -> object:
    """Read what was kept of an image, with its checksum set right."""
    fixed = data[:12] + struct.pack("=I", zlib.crc32(data[20:])) + data[16:]
    unpacked(fixed)
    return _asked(CompactImage.load(fixed))


def _crash(data: bytes) -> object:
    """Explain a dump by a real image."""
    fixed = struct.pack("<II", len(data), sum(data[264:])) + data[8:]
    dump = CoreDump.parse(fixed)
    report = crash_report(dump, _IMAGES[len(data) % len(_IMAGES)])
    if report is None:
        return None
    attributes = json.dumps(crash_attributes(report, report.reason))
    if len(attributes) > _MOST_ATTRIBUTES:
        raise AssertionError(f"{len(attributes)} bytes of attributes")
    return json.dumps(report.as_dict()), report.reason, attributes, core_file(dump)


def _groups(data: bytes) -> object:
    try:
        stored = json.loads(data)
    except ValueError, RecursionError:
        return None
    groups = CrashGroups.from_dict(stored if isinstance(stored, dict) else {})
    groups.add(Occurrence("f1", "A", "1.5.0", 3.0, "c9"))
    for fingerprint in ("f2", "open_valve", "close_valve"):
        groups.add(Occurrence(fingerprint, "A", "1.4.0", 2.0, "c2", address="f2"))
    return json.dumps(groups.as_dict())


def _group_seeds() -> list[bytes]:
    groups = CrashGroups()
    for number, version in enumerate(("1.4.0", "v1.4.1-rc1", "main")):
        groups.add(Occurrence(f"f{number % 2}", "A", version, float(number), f"c{number}"))
    for number in range(4, 7):
        groups.add(Occurrence("f2", "A", "1.4.0", float(number), f"c{number}", address="f2"))
    return [json.dumps(groups.as_dict()).encode()]


def _versions(data: bytes) -> object:
    one, _, other = data.decode(errors="replace").partition("\n")
    match(ImageKey(one, other, 1), DeviceIdentity(1, "S", "T", other, one))
    newer, older = is_newer(one, other), is_newer(other, one)
    if newer and older:
        raise AssertionError(f"{one!r} and {other!r} are newer than each other")
    return newer


_IMAGES = [CompactImage.load(import_image(data)) for data in _files("firmware.elf")]
_MOST_ATTRIBUTES = 16 * 1024
_RUNNING = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
_VERSIONS = (b"1.4.0", b"v1.4.1-rc1", b"1.4.0-3-gabc1234", b"main", b"bc53443")
_ERRORS = (CaptureError,)
TARGETS = (
    Target("import", _imported, _ERRORS, lambda: _files("firmware.elf"), 32 * 1024),
    Target("image_version", _version, _ERRORS, lambda: _files("firmware.elf"), 32 * 1024),
    Target("debug_sections", _debug_sections, _ERRORS, _debug_seeds, 16 * 1024),
    Target("compressed", _compressed, _ERRORS, _compressed_seeds),
    Target(
        "exception_index",
        _exception_index,
        _ERRORS,
        lambda: [struct.pack("<6I", 0x7FFFE040, 0x8001B0B0, 0x7FFFE0F8, 1, 0x7FFFE1F0, 0x80A8B0B0)],
    ),
    Target(
        "stored_image",
        _stored,
        _ERRORS,
        lambda: [import_image(data) for data in _files("firmware.elf")],
        16 * 1024,
    ),
    Target("crash", _crash, _ERRORS, lambda: _files("core_dump.bin")),
    Target("crash_groups", _groups, _ERRORS, _group_seeds),
    Target(
        "versions",
        _versions,
        _ERRORS,
        lambda: [one + b"\n" + other for one, other in pairwise(_VERSIONS)],
        300,
    ),
)
