"""Which of two firmware versions is newer, as far as their names tell."""

import re
from typing import Final

LONGEST: Final = 128
_PART = re.compile(r"\d{1,18}|[a-z]+")
_BUILD = re.compile(r"\+.*$")
_DESCRIBED = re.compile(r"-(\d{1,9})-g([0-9a-f]{4,40})(?:-dirty)?$")
_HASH = re.compile(r"[0-9a-f]{7,64}")
_BEFORE_RELEASE: Final = {
    "dev": 0,
    "nightly": 0,
    "snapshot": 0,
    "a": 1,
    "alpha": 1,
    "b": 2,
    "beta": 2,
    "pre": 3,
    "preview": 3,
    "c": 4,
    "rc": 4,
}
_RELEASE: Final = 5
_WORD: Final = 6
_NUMBER: Final = 7

type _Key = tuple[tuple[tuple[int, int, str], ...], int]


def is_newer(version: str, other: str) -> bool | None:
    """Whether a version is newer than another one; None when their names do not tell.

    Numbers count as numbers, so 1.10 is newer than 1.9; 1.4 and 1.4.0 are the same. What is
    named alpha, beta, rc or dev comes before its release, and what ``git describe`` counts
    (``1.4.0-3-gabc1234``) behind it. A leading *v* and what follows a *+* say nothing.
    """
    if version == other:
        return False
    own, others = _key(version), _key(other)
    if own is None or others is None:
        return None
    return own > others


def _key(version: str) -> _Key | None:
    """Return what is compared; None for a name without numbers, or one that is only a hash."""
    text = _BUILD.sub("", version.strip().lower()[:LONGEST])
    commits = 0
    if described := _DESCRIBED.search(text):
        commits = int(described[1])
        text = text[: described.start()]
    text = text.removesuffix("-dirty")
    if not any(map(str.isdecimal, text)) or (_HASH.fullmatch(text) and not text.isdecimal()):
        return None
    parts = _PART.findall(text)
    first = next((number for number, part in enumerate(parts) if part[0].isdecimal()), None)
    if first is None:
        return None
    parts = parts[first:]
    numbers = next(
        (number for number, part in enumerate(parts) if not part[0].isdecimal()), len(parts)
    )
    found = [_part(part) for part in parts[:numbers]]
    while found and found[-1] == (_NUMBER, 0, ""):
        found.pop()
    return (*found, *map(_part, parts[numbers:]), (_RELEASE, 0, "")), commits


def _part(part: str) -> tuple[int, int, str]:
    if part[0].isdecimal():
        return _NUMBER, int(part), ""
    if part in _BEFORE_RELEASE:
        return _BEFORE_RELEASE[part], 0, ""
    return _WORD, 0, part
