"""Which image belongs to a device: by application, version and git hash."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ..model.identity import DeviceIdentity

SHORTEST_HASH: Final = 7
"""Fewer digits of a git hash name no commit."""


@dataclass(frozen=True, slots=True)
class ImageKey:
    """What an image was built from; a part that is empty (0) is not known."""

    version: str = ""
    git_hash: str = ""
    application_id: int = 0


class Match(IntEnum):
    """How surely an image belongs to a device."""

    NONE = 0
    """Another firmware, or nothing to go by."""
    VERSION = 1
    """The version is the same; one of both has no hash."""
    HASH = 2
    """The commit is the same; one of both has no version."""
    BOTH = 3


def match(key: ImageKey, device: DeviceIdentity) -> Match:
    """Return how surely an image belongs to what a device runs.

    A hash may be abbreviated on either side. Versions are compared as they are written, but
    for spaces, case and a leading *v*; two hashes that differ are two firmwares, whatever
    their versions say.
    """
    if key.application_id and key.application_id != device.application_id:
        return Match.NONE
    versions = _same(_version(key.version), _version(device.git_version))
    hashes = _same_hash(_hash(key.git_hash), _hash(device.git_hash))
    if versions is False or hashes is False:
        return Match.NONE
    return Match((Match.VERSION if versions else 0) + (Match.HASH if hashes else 0))


def best_match[T](images: Iterable[tuple[ImageKey, T]], device: DeviceIdentity) -> T | None:
    """Return the image that belongs to what a device runs; of equally sure ones the last."""
    found: T | None = None
    best = Match.NONE
    for key, image in images:
        sure = match(key, device)
        if sure and sure >= best:
            best, found = sure, image
    return found


def _version(text: str) -> str:
    text = text.strip().lower()
    return text[1:] if text[:1] == "v" and text[1:2].isdecimal() else text


def _hash(text: str) -> str:
    return text.strip().lower().removeprefix("g")


def _same(own: str, other: str) -> bool | None:
    """Whether both are the same; None when one is not known."""
    return own == other if own and other else None


def _same_hash(own: str, other: str) -> bool | None:
    """Whether both name one commit; None when one is not known or too short."""
    own, dirty = own.removesuffix("-dirty"), own.endswith("-dirty")
    other, other_dirty = other.removesuffix("-dirty"), other.endswith("-dirty")
    shortest = min(len(own), len(other))
    if not shortest or (shortest < SHORTEST_HASH and own != other):
        return None
    return dirty == other_dirty and own[:shortest] == other[:shortest]
