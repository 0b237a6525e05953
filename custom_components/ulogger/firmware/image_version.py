"""Which version an image is of, as far as the image or its file's name tells.

An agent hands its version and git hash to the cloud as two strings, so both stand somewhere
in the image; nothing says where. A device that is known to run them settles it. Without one
only a string that no other one resembles counts.
"""

import re
from collections.abc import Collection, Iterator
from typing import Final

from ..model.identity import DeviceIdentity
from .elf import ElfFile
from .matching import ImageKey
from .steps import Steps

MOST_DEVICES: Final = 256
MOST_FOUND: Final = 64
LONGEST: Final = 128
_CHUNK: Final = 256 * 1024
_HASH = re.compile(rb"(?<![ -~])(g?[0-9a-f]{7,40}(?:-dirty)?)\0")
_VERSION = re.compile(
    rb"(?<![ -~])([vV]?\d{1,5}\.\d{1,5}(?:\.\d{1,6}){0,2}(?:[-+][\w.+-]{1,40})?)\0"
)
_TEXT = re.compile(rb"(?<![ -~])[ -~]{1,%d}\0" % LONGEST)
_NAMED_VERSION = re.compile(
    r"(?:^|[-_ ])[vV]?"
    r"(\d{1,5}\.\d{1,5}(?:\.\d{1,6}){0,2}(?:[-+]?(?:rc|alpha|beta)\.?\d*)?)"
    r"(?=$|[-_ +])"
)
_NAMED_HASH = re.compile(r"(?:^|[-_ ])g?([0-9a-f]{7,40})(?=$|[-_ ])")


def key_steps(elf: ElfFile, known: Collection[DeviceIdentity] = ()) -> Steps[ImageKey]:
    """Return what the image's own strings tell, in steps of some milliseconds.

    Of the devices that are known one settles it when both its version and its hash stand in
    the image, unless two that differ do.
    """
    wanted = {
        text: None
        for device in list(known)[:MOST_DEVICES]
        for text in (device.git_version, device.git_hash)
    }
    there: set[str] = set()
    versions: set[str] = set()
    hashes: set[str] = set()
    for part in elf.memory:
        contents = elf.data[part.offset : part.offset + part.size]
        for start in range(0, len(contents), _CHUNK):
            # A string may lie across: each chunk begins before the one ahead of it ends.
            within = max(start - LONGEST, 0), start + _CHUNK
            if wanted:
                found = {
                    match[0][:-1].decode("ascii") for match in _TEXT.finditer(contents, *within)
                }
                there.update(wanted.keys() & found)
            _collect(_VERSION.finditer(contents, *within), versions)
            _collect(_HASH.finditer(contents, *within), hashes)
            yield
    running = {
        ImageKey(device.git_version, device.git_hash, device.application_id)
        for device in known
        if device.git_version in there and device.git_hash in there
    }
    if len({(key.version, key.git_hash) for key in running}) == 1:
        first = next(iter(running))
        return first if len(running) == 1 else ImageKey(first.version, first.git_hash)
    return ImageKey(_only(versions), _only(hashes))


def key_of_name(name: str) -> ImageKey:
    """Return what a file's name tells: ``pump-1.4.0-bc53443.elf``."""
    stem = name.rsplit(".", 1)[0][:LONGEST]
    version = _NAMED_VERSION.search(stem)
    digits = [found for found in _NAMED_HASH.findall(stem) if not found.isdecimal()]
    return ImageKey(version[1] if version else "", digits[-1] if digits else "")


def _collect(found: Iterator[re.Match[bytes]], into: set[str]) -> None:
    for match in found:
        if len(into) > MOST_FOUND:
            return
        into.add(match[1].decode("ascii"))


def _only(found: set[str]) -> str:
    """Return what was found if it is one thing; several leave it open."""
    return next(iter(found)) if len(found) == 1 else ""
