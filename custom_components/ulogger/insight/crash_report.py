"""A crash in parts: who, what went wrong, where, and how the program got there."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..capture.core_dump import CoreDump
from ..firmware.compact_image import CompactImage
from ..firmware.symbols import CodePlace, Symbols
from ..firmware.unwind import Certainty, StackFrame, unwind
from ..model.identity import DeviceIdentity
from .faults import Fault, FaultKind, fault_of

MOST_FRAMES: Final = 128
_CODE_END: Final = 0x2000_0000
_CLONE = re.compile(r"\.(?:constprop|isra|part|cold|lto_priv|llvm)\b.*$")


@dataclass(frozen=True, slots=True)
class BacktraceFrame:
    """One function of a backtrace; an inlined one shares its address with the next."""

    address: int
    function: str | None
    file: str | None
    line: int | None
    certainty: Certainty
    inlined: bool = False

    @property
    def location(self) -> str | None:
        """File name without folders, and line: ``session.c:8``."""
        return _location(self.file, self.line)

    def as_dict(self) -> dict[str, Any]:
        """Return the frame for an answer or a file."""
        return {
            "address": f"0x{self.address:08X}",
            "function": self.function,
            "location": self.location,
            "file": self.file,
            "line": self.line,
            "certainty": str(self.certainty),
            "inlined": self.inlined,
        }


@dataclass(frozen=True, slots=True)
class CodePoint:
    """An address in the program, and where that is as far as an image tells."""

    address: int
    function: str | None = None
    location: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the point for an answer or a file."""
        return {
            "address": f"0x{self.address:08X}",
            "function": self.function,
            "location": self.location,
        }


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What a core dump says of a crash, with an image or without."""

    device: DeviceIdentity
    fault: Fault
    pc: CodePoint
    lr: CodePoint
    registers: Mapping[str, int]
    float_registers: Mapping[str, int]
    fault_status: Mapping[str, int]
    memory: tuple[tuple[int, int], ...]
    """Start and end of the pieces of memory that the dump holds."""
    backtrace: tuple[BacktraceFrame, ...]
    """The innermost function first; empty without an image."""
    fingerprint: str
    """The same for what is the same crash on another device or in another version."""
    address_fingerprint: str
    """The fingerprint that the crash has without an image, whether there is one or not."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report for an answer or a file."""
        return {
            "application": self.device.application_id,
            "version": self.device.git_version,
            "hash": self.device.git_hash,
            "device": self.device.serial,
            "fault": self.fault.text,
            "fault_kind": str(self.fault.kind),
            "fault_address": None if self.fault.address is None else f"0x{self.fault.address:08X}",
            "pc": self.pc.as_dict(),
            "lr": self.lr.as_dict(),
            "function": self.function,
            "location": self.location,
            "registers": dict(self.registers),
            "float_registers": dict(self.float_registers),
            "fault_status": dict(self.fault_status),
            "memory": [{"start": start, "end": end} for start, end in self.memory],
            "backtrace": [frame.as_dict() for frame in self.backtrace],
            "fingerprint": self.fingerprint,
        }

    @property
    def function(self) -> str | None:
        """The innermost function that is known."""
        return next((frame.function for frame in self.backtrace if frame.function), None) or (
            self.pc.function
        )

    @property
    def location(self) -> str | None:
        """Where in the source it happened, as the innermost function that is known has it."""
        return next((frame.location for frame in self.backtrace if frame.function), None) or (
            self.pc.location
        )

    @property
    def place(self) -> str:
        """Where it happened, in no language: ``read_register (session.c:3)``, else an address."""
        place = self.function or f"0x{self.pc.address:08X}"
        return f"{place} ({self.location})" if self.location else place

    @property
    def reason(self) -> str:
        """The crash in an English line: all that is known of what went wrong, and where."""
        return f"{self.fault.text} in {self.place}"


def crash_report(dump: CoreDump, image: Symbols | None = None) -> CrashReport | None:
    """Return the report of a crash, None for a dump of an unknown format.

    A backtrace takes what was kept of an image (``CompactImage``); other symbols only name
    ``pc`` and ``lr``.
    """
    if dump.opaque:
        return None
    fault = fault_of(dump)
    frames = _backtrace(image, dump) if isinstance(image, CompactImage) else ()
    pc, lr = (_point(image, dump.registers[name], returning=name == "lr") for name in ("pc", "lr"))
    application = dump.header.device.application_id
    place = _crash_site(image, frames, pc, lr)
    address = _crash_site(None, (), CodePoint(pc.address), CodePoint(lr.address))
    return CrashReport(
        dump.header.device,
        fault,
        pc,
        lr,
        dump.registers,
        dump.float_registers,
        dump.fault_status,
        tuple((region.start, region.end) for region in dump.regions),
        frames,
        fingerprint(application, fault.kind, place),
        fingerprint(application, fault.kind, address),
    )


def fingerprint(application_id: int, kind: FaultKind, place: str) -> str:
    """Return 16 hexadecimal digits for an application, a kind of fault and a place in code."""
    text = f"{application_id}\0{kind}\0{place}"
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def _crash_site(
    image: Symbols | None, frames: tuple[BacktraceFrame, ...], pc: CodePoint, lr: CodePoint
) -> str:
    """Return what names the place of a crash: a function, else an address in the image.

    A program counter outside of the code is where a bad pointer led; what tells crashes apart
    is then the caller. Names that a compiler made of one function are that function.
    """
    known = [frame.function for frame in frames if frame.function]
    if function := next(iter(known), None) or pc.function:
        return f"function {_CLONE.sub('', function)}"
    jumped = pc.address >= _CODE_END or not pc.address
    if isinstance(image, CompactImage):
        jumped = not image.is_code(pc.address)
        start = image.start
    else:
        start = 0
    if jumped and lr.function:
        return f"function {_CLONE.sub('', lr.function)}"
    address = (lr.address if jumped else pc.address) & ~1
    return f"address {address - start:#x}"


def _backtrace(image: CompactImage, dump: CoreDump) -> tuple[BacktraceFrame, ...]:
    found: list[BacktraceFrame] = []
    for frame in unwind(image, dump):
        found += _functions(frame, image.places(frame.address, returning=frame.returning))
        if len(found) >= MOST_FRAMES:
            break
    return tuple(found[:MOST_FRAMES])


def _functions(frame: StackFrame, places: list[CodePlace]) -> list[BacktraceFrame]:
    """Return the functions at one address, those that are inlined first."""
    return [
        BacktraceFrame(
            frame.address,
            place.function and _printable(place.function),
            place.source and _printable(place.source.file),
            place.source and place.source.line,
            frame.certainty,
            inlined=number < len(places) - 1,
        )
        for number, place in enumerate(places)
    ]


def _point(image: Symbols | None, address: int, *, returning: bool) -> CodePoint:
    place = image.place(address, returning=returning) if image else None
    if place is None or place.function is None:
        return CodePoint(address)
    location = place.location
    return CodePoint(address, _printable(place.function), location and _printable(location))


def _location(file: str | None, line: int | None) -> str | None:
    if file is None or line is None:
        return None
    return f"{re.split(r'[/\\]', file)[-1]}:{line}"


def _printable(text: str) -> str:
    """Keep an image from writing control sequences to whoever reads a report."""
    return "".join(character if character.isprintable() else " " for character in text)
