"""Crashes that are one and the same, over devices and versions.

A group is built from *occurrences*; adding one twice changes nothing, so groups can be built
again from the captures that are left. People set a state: a group is open, resolved or
ignored. A resolved one that is seen in a newer version than it was resolved in comes back as
*regressed*. An occurrence in the version it was resolved in, or an older one, does not: that
device has the mended firmware still to come.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from .versions import is_newer

MOST_GROUPS: Final = 1_000
MOST_OCCURRENCES: Final = 500
"""Occurrences that a group keeps; of older ones only the number and the names remain."""
MOST_NAMES: Final = 500
"""Devices and versions that a group remembers."""
LONGEST_TEXT: Final = 512
_VERSION: Final = 1


class CrashState(StrEnum):
    """What people, or a newer version, made of a group."""

    OPEN = "open"
    RESOLVED = "resolved"
    IGNORED = "ignored"
    REGRESSED = "regressed"


SET_BY_PEOPLE: Final = frozenset((CrashState.OPEN, CrashState.RESOLVED, CrashState.IGNORED))


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One crash of one device; ``at`` is Unix time, ``capture_id`` names the core dump."""

    fingerprint: str
    device: str
    version: str
    at: float
    capture_id: str
    reason: str = ""
    """The crash in a line, for people."""


@dataclass(frozen=True, slots=True)
class Added:
    """What an occurrence changed."""

    is_new: bool
    """Nobody has seen this crash before."""
    regressed: bool
    """It was resolved, and is back in a newer version."""
    counted: bool
    """It was not known yet."""


@dataclass(slots=True)
class CrashGroup:
    """All occurrences of one crash."""

    fingerprint: str
    state: CrashState = CrashState.OPEN
    resolved_in: tuple[str, ...] = ()
    """The versions that were known when it was resolved."""
    reason: str = ""
    older: int = 0
    """Occurrences that are counted but no longer kept."""
    first_seen: float = 0.0
    last_seen: float = 0.0
    devices: dict[str, float] = field(default_factory=dict)
    """When each device last crashed so, the latest last."""
    versions: dict[str, float] = field(default_factory=dict)
    """When each version last crashed so, the latest last."""
    occurrences: dict[str, Occurrence] = field(default_factory=dict)
    """By their capture, the latest last."""

    @property
    def count(self) -> int:
        """How often it happened."""
        return self.older + len(self.occurrences)

    @property
    def is_open(self) -> bool:
        """Whether somebody should look at it."""
        return self.state in {CrashState.OPEN, CrashState.REGRESSED}

    def is_past(self, occurrence: Occurrence) -> bool:
        """Whether an occurrence is older than all that are kept, and so was counted before."""
        return self.older > 0 and all(occurrence.at < kept.at for kept in self.occurrences.values())

    def add(self, occurrence: Occurrence) -> bool:
        """Count an occurrence that is not known yet; return whether the group regressed."""
        if not self.count:
            self.first_seen = self.last_seen = occurrence.at
        regressed = self.state is CrashState.RESOLVED and self._is_newer(occurrence.version)
        if regressed:
            self.state = CrashState.REGRESSED
        self.occurrences[occurrence.capture_id] = occurrence
        if len(self.occurrences) > MOST_OCCURRENCES:
            oldest = min(self.occurrences.values(), key=lambda kept: kept.at)
            del self.occurrences[oldest.capture_id]
            self.older += 1
        self.first_seen = min(self.first_seen, occurrence.at)
        if occurrence.at >= self.last_seen:
            self.last_seen = occurrence.at
            self.reason = occurrence.reason or self.reason
        _note(self.devices, occurrence.device, occurrence.at)
        _note(self.versions, occurrence.version, occurrence.at)
        return regressed

    def remove(self, capture_id: str) -> bool:
        """Forget an occurrence, which may belong to another group now."""
        gone = self.occurrences.pop(capture_id, None)
        if gone is None:
            return False
        left = self.occurrences.values()
        if not self.older and left:
            self.first_seen = min(kept.at for kept in left)
            self.last_seen = max(kept.at for kept in left)
            for names, of in ((self.devices, "device"), (self.versions, "version")):
                kept_names = {getattr(kept, of) for kept in left}
                for name in [name for name in names if name not in kept_names]:
                    del names[name]
        return True

    def set_state(self, state: CrashState, version: str | None = None) -> None:
        """Set a state as a person wants it; ``version`` is the one that mends the crash.

        Without it a group is resolved in the versions in which it was seen. Raises ValueError
        for a state that nobody can set.
        """
        if state not in SET_BY_PEOPLE:
            raise ValueError(f"a crash group can't be set to {state}")
        self.state = state
        self.resolved_in = ()
        if state is CrashState.RESOLVED:
            self.resolved_in = (version,) if version else tuple(self.versions)

    def _is_newer(self, version: str) -> bool:
        """Whether a version is newer than all those in which this was resolved.

        A name that tells no order counts as newer when it was not known then.
        """
        if version in self.resolved_in:
            return False
        answers = [is_newer(version, known) for known in self.resolved_in]
        return False not in answers


class CrashGroups:
    """The crash groups of an account, by fingerprint."""

    def __init__(self) -> None:
        self._groups: dict[str, CrashGroup] = {}
        self._of: dict[str, str] = {}

    def __iter__(self) -> Iterator[CrashGroup]:
        """Yield the groups, the one that was last seen first."""
        return iter(sorted(self._groups.values(), key=lambda group: -group.last_seen))

    def __len__(self) -> int:
        """Return how many groups there are."""
        return len(self._groups)

    def get(self, fingerprint: str) -> CrashGroup | None:
        """Return a group, None when there is no such one."""
        return self._groups.get(fingerprint)

    @property
    def open_count(self) -> int:
        """How many groups somebody should look at."""
        return sum(group.is_open for group in self._groups.values())

    def add(self, occurrence: Occurrence) -> Added:
        """Count an occurrence once; one whose fingerprint changed moves to its new group.

        A fingerprint changes when an image comes that names the function.
        """
        known = self._of.get(occurrence.capture_id)
        if known == occurrence.fingerprint:
            return Added(is_new=False, regressed=False, counted=False)
        group = self._groups.get(occurrence.fingerprint)
        if known is None and group is not None and group.is_past(occurrence):
            return Added(is_new=False, regressed=False, counted=False)
        before = self._remove(occurrence.capture_id)
        is_new = group is None
        if group is None:
            group = self._groups[occurrence.fingerprint] = CrashGroup(occurrence.fingerprint)
            if before is not None:
                group.state, group.resolved_in = before.state, before.resolved_in
        kept = set(group.occurrences)
        regressed = group.add(occurrence)
        self._of[occurrence.capture_id] = occurrence.fingerprint
        for capture_id in kept - set(group.occurrences):
            self._of.pop(capture_id, None)
        self._limit(occurrence.fingerprint)
        return Added(is_new and before is None, regressed, counted=known is None)

    def set_state(self, fingerprint: str, state: CrashState, version: str | None = None) -> None:
        """Set a group's state as a person wants it; KeyError when there is no such group."""
        self._groups[fingerprint].set_state(state, version)

    def _remove(self, capture_id: str) -> CrashGroup | None:
        """Take an occurrence out of its group, which goes when nothing is left in it."""
        group = self._groups.get(self._of.pop(capture_id, ""))
        if group is None or not group.remove(capture_id):
            return None
        if not group.count:
            del self._groups[group.fingerprint]
        return group

    def _limit(self, keep: str) -> None:
        """Forget the group that was not seen for longest, those that people care for last."""
        if len(self._groups) <= MOST_GROUPS:
            return
        others = (group for group in self._groups.values() if group.fingerprint != keep)
        gone = min(others, key=lambda group: (group.state is CrashState.IGNORED, group.last_seen))
        for capture_id in gone.occurrences:
            self._of.pop(capture_id, None)
        del self._groups[gone.fingerprint]

    def as_dict(self) -> dict[str, Any]:
        """Return all that is to be stored, as JSON has it."""
        return {"version": _VERSION, "groups": [_stored(group) for group in self._groups.values()]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what was stored; what makes no sense is left out."""
        found = cls()
        stored = data.get("groups")
        for entry in stored[:MOST_GROUPS] if isinstance(stored, list) else ():
            group = _read(entry)
            if group is not None and group.fingerprint not in found._groups:
                found._groups[group.fingerprint] = group
                for capture_id in group.occurrences:
                    found._of.setdefault(capture_id, group.fingerprint)
        return found


def _note(names: dict[str, float], name: str, at: float) -> None:
    """Remember a name and when it was last seen, the latest last."""
    names[name] = max(names.pop(name, at), at)
    if len(names) > MOST_NAMES:
        del names[min(names, key=lambda known: names[known])]


def _stored(group: CrashGroup) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "state": str(group.state),
        "resolved_in": list(group.resolved_in),
        "reason": group.reason,
        "older": group.older,
        "first_seen": group.first_seen,
        "last_seen": group.last_seen,
        "devices": dict(group.devices),
        "versions": dict(group.versions),
        "occurrences": [
            [kept.capture_id, kept.device, kept.version, kept.at, kept.reason]
            for kept in group.occurrences.values()
        ],
    }


def _read(entry: object) -> CrashGroup | None:
    """Read a stored group, None when it makes no sense."""
    try:
        return _group(entry)  # type: ignore[arg-type]
    except KeyError, TypeError, ValueError, AttributeError, OverflowError:
        return None


def _group(entry: Mapping[str, Any]) -> CrashGroup:
    fingerprint = _text(entry["fingerprint"])
    occurrences = {
        _text(capture_id): Occurrence(
            fingerprint, _text(device), _text(version), float(at), _text(capture_id), _text(reason)
        )
        for capture_id, device, version, at, reason in entry["occurrences"][:MOST_OCCURRENCES]
    }
    return CrashGroup(
        fingerprint,
        CrashState(entry["state"]),
        tuple(_text(version) for version in entry["resolved_in"][:MOST_NAMES]),
        _text(entry["reason"]),
        max(int(entry["older"]), 0),
        float(entry["first_seen"]),
        float(entry["last_seen"]),
        _names(entry["devices"]),
        _names(entry["versions"]),
        occurrences,
    )


def _names(stored: Mapping[str, Any]) -> dict[str, float]:
    return {_text(name): float(at) for name, at in list(stored.items())[:MOST_NAMES]}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of text")
    return value[:LONGEST_TEXT]
