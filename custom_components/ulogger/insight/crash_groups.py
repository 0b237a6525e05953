"""Crashes that are one and the same, over devices and versions.

A group is built from *occurrences*; adding one twice changes nothing, so groups can be built
again from the captures that are left. People set a state: a group is open, resolved or
ignored. A resolved one that is seen in a newer version than it was resolved in comes back as
*regressed*. An occurrence in the version it was resolved in, or an older one, does not: that
device has the mended firmware still to come.

Without a firmware image a crash is known by its address, with one by its function, so that an
image which comes later may give an occurrence another fingerprint. Then:

1. The occurrence moves to the group of its new fingerprint. What an image told stays: a reading
   without one never moves an occurrence back.
2. Those that happened at the same address of the same firmware (version and hash) and were read
   without an image go with it, also when their captures are gone; and whatever happens there
   later is counted there. What is counted but not kept any more goes with the last that is kept.
3. The state goes with them. Where a person had set one for both groups, the later decision
   holds; a state that a person has set holds against one that nobody did. A group that is
   resolved by that, and holds a newer version than it was resolved in, is regressed.
4. The old group stays, with its state, as long as something is left in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from .versions import is_newer

MOST_GROUPS: Final = 1_000
MOST_OCCURRENCES: Final = 100
"""Occurrences that a group keeps; of older ones only the number and the names remain."""
MOST_KEPT: Final = 5_000
"""Occurrences that all groups keep."""
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


class CaptureKey(NamedTuple):
    """Which core dump; an outbox that was lost counts from 1 again, hence the time."""

    capture_id: str
    at: float


class Spot(NamedTuple):
    """An address in one firmware, with the kind of fault and the application in its fingerprint."""

    address: str
    version: str
    git_hash: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One crash of one device; ``at`` is Unix time, ``capture_id`` names the core dump."""

    fingerprint: str
    device: str
    version: str
    at: float
    capture_id: str
    reason: str = ""
    """The crash in an English line, for logs and reports."""
    application_id: int = 0
    git_hash: str = ""
    address: str = ""
    """The fingerprint that it has without an image; empty where nobody knows."""
    fault_kind: str = ""
    """What went wrong, by a name that has a text in each language; empty where nobody knows."""
    place: str = ""
    """Where, in no language."""

    @property
    def key(self) -> CaptureKey:
        """The core dump that it was read from."""
        return CaptureKey(self.capture_id, self.at)

    @property
    def by_image(self) -> bool:
        """Whether an image told its fingerprint."""
        return self.fingerprint != self.address

    @property
    def spot(self) -> Spot | None:
        """Where it happened, the same in every occurrence there; None where nobody knows."""
        return Spot(self.address, self.version, self.git_hash) if self.address else None


@dataclass(frozen=True, slots=True)
class Added:
    """What an occurrence changed."""

    is_new: bool
    """Nobody has seen this crash before."""
    regressed: bool
    """It was resolved, and is back in a newer version."""
    counted: bool
    """It was not known yet."""


_KNOWN: Final = Added(is_new=False, regressed=False, counted=False)


@dataclass(slots=True)
class CrashGroup:
    """All occurrences of one crash."""

    fingerprint: str
    application_id: int = 0
    state: CrashState = CrashState.OPEN
    resolved_in: tuple[str, ...] = ()
    """The versions that were known when it was resolved."""
    decided: int = 0
    """The number of the decision that set its state, 0 when nobody has."""
    reason: str = ""
    """How it is told, and by ``fault_kind`` and ``place``: as its latest occurrence is."""
    fault_kind: str = ""
    place: str = ""
    older: int = 0
    """Occurrences that are counted but no longer kept."""
    first_seen: float = 0.0
    last_seen: float = 0.0
    devices: dict[str, float] = field(default_factory=dict)
    """When each device last crashed so, the latest last."""
    versions: dict[str, float] = field(default_factory=dict)
    """When each version last crashed so, the latest last."""
    occurrences: dict[CaptureKey, Occurrence] = field(default_factory=dict)
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

    def add(self, occurrence: Occurrence) -> None:
        """Count an occurrence that is not known yet."""
        if not self.count:
            self.first_seen = self.last_seen = occurrence.at
            self.application_id = occurrence.application_id
        self.occurrences[occurrence.key] = occurrence
        self.first_seen = min(self.first_seen, occurrence.at)
        if occurrence.at >= self.last_seen:
            self.last_seen = occurrence.at
            self.be_told_as(occurrence)
        _note(self.devices, occurrence.device, occurrence.at)
        _note(self.versions, occurrence.version, occurrence.at)

    def renew(self, occurrence: Occurrence) -> None:
        """Have an occurrence told in other words."""
        self.occurrences[occurrence.key] = occurrence
        if occurrence.at == self.last_seen:
            self.be_told_as(occurrence)

    def be_told_as(self, occurrence: Occurrence) -> None:
        """Tell the group in the words of an occurrence, unless it has none."""
        if occurrence.reason:
            self.reason = occurrence.reason
            self.fault_kind, self.place = occurrence.fault_kind, occurrence.place

    def remove(self, key: CaptureKey) -> None:
        """Forget an occurrence, which belongs to another group now."""
        del self.occurrences[key]
        left = self.occurrences.values()
        if not self.older and left:
            self.first_seen = min(kept.at for kept in left)
            self.last_seen = max(kept.at for kept in left)
            for names, of in ((self.devices, "device"), (self.versions, "version")):
                kept_names = {getattr(kept, of) for kept in left}
                for name in [name for name in names if name not in kept_names]:
                    del names[name]

    def drop_oldest(self) -> CaptureKey:
        """Keep of the oldest occurrence no more than that it is counted; return its capture."""
        oldest = min(self.occurrences.values(), key=lambda kept: kept.at)
        del self.occurrences[oldest.key]
        self.older += 1
        return oldest.key

    def absorb(self, other: CrashGroup) -> None:
        """Take over what another group only counts, which has no occurrences left."""
        self.older += other.older
        self.first_seen = min(self.first_seen, other.first_seen)
        self.last_seen = max(self.last_seen, other.last_seen)
        for names, theirs in ((self.devices, other.devices), (self.versions, other.versions)):
            for name, at in theirs.items():
                _note(names, name, at)

    def set_state(self, state: CrashState, version: str | None = None, decided: int = 1) -> None:
        """Set a state as a person wants it; ``version`` is the one that mends the crash.

        Without it a group is resolved in the versions in which it was seen. Raises ValueError
        for a state that nobody can set.
        """
        if state not in SET_BY_PEOPLE:
            raise ValueError(f"a crash group can't be set to {state}")
        self.state = state
        self.decided = decided
        self.resolved_in = ()
        if state is CrashState.RESOLVED:
            self.resolved_in = (version,) if version else tuple(self.versions)

    def take_state(self, other: CrashGroup) -> None:
        """Take over another group's state, from which an occurrence comes."""
        self.state, self.resolved_in, self.decided = other.state, other.resolved_in, other.decided
        self.regress(self.versions)

    def regress(self, versions: Iterable[str]) -> bool:
        """Come back if one of the versions is newer than it was resolved in."""
        if self.state is not CrashState.RESOLVED or not any(map(self._is_newer, versions)):
            return False
        self.state = CrashState.REGRESSED
        return True

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
        self._of: dict[CaptureKey, str] = {}
        self._told: dict[Spot, str] = {}

    def __iter__(self) -> Iterator[CrashGroup]:
        """Yield the groups, the one that was last seen first."""
        return iter(sorted(self._groups.values(), key=lambda group: -group.last_seen))

    def __len__(self) -> int:
        """Return how many groups there are."""
        return len(self._groups)

    def __contains__(self, key: CaptureKey) -> bool:
        """Whether a core dump is kept as an occurrence."""
        return key in self._of

    def get(self, fingerprint: str) -> CrashGroup | None:
        """Return a group, None when there is no such one."""
        return self._groups.get(fingerprint)

    def group_of(self, key: CaptureKey) -> CrashGroup | None:
        """Return the group that a core dump belongs to, None when it is not known."""
        return self._groups.get(self._of.get(key, ""))

    @property
    def open_count(self) -> int:
        """How many groups somebody should look at."""
        return sum(group.is_open for group in self._groups.values())

    def add(self, occurrence: Occurrence) -> Added:
        """Count an occurrence once; one whose fingerprint changed moves to its new group."""
        spot = occurrence.spot
        if spot is not None and occurrence.by_image:
            self._told[spot] = occurrence.fingerprint
        elif spot is not None:
            if occurrence.key in self._of:
                return _KNOWN
            told = self._told.get(spot, occurrence.fingerprint)
            occurrence = replace(occurrence, fingerprint=told)
        added = self._put(occurrence)
        if spot is not None and occurrence.by_image:
            self._bring(spot, occurrence)
        return added

    def set_state(
        self, fingerprint: str, state: CrashState, version: str | None = None
    ) -> CrashGroup:
        """Set a group's state as a person wants it; KeyError when there is no such group."""
        group = self._groups[fingerprint]
        decided = max(each.decided for each in self._groups.values()) + 1
        group.set_state(state, version, decided)
        return group

    def _put(self, occurrence: Occurrence) -> Added:
        """Have an occurrence in the group of its fingerprint, wherever it was."""
        key = occurrence.key
        before = self.group_of(key)
        group = self._groups.get(occurrence.fingerprint)
        if before is None and group is not None and group.is_past(occurrence):
            return _KNOWN
        if before is not None and before is group:
            group.renew(occurrence)
            return _KNOWN
        is_new = group is None
        if group is None:
            group = self._groups[occurrence.fingerprint] = CrashGroup(occurrence.fingerprint)
        regressed = False
        if before is None or before.decided < group.decided:
            regressed = group.regress((occurrence.version,))
        elif before.decided > group.decided:
            group.take_state(before)
        elif before.state is CrashState.REGRESSED:
            group.regress((occurrence.version,))
        group.add(occurrence)
        self._of[key] = occurrence.fingerprint
        if before is not None:
            before.remove(key)
            if not before.occurrences:
                group.absorb(before)
                del self._groups[before.fingerprint]
        self._limit(group)
        return Added(is_new and before is None, regressed, counted=before is None)

    def _bring(self, spot: Spot, told: Occurrence) -> None:
        """Have all that happened at a spot, and was not read with an image, in one group."""
        if (others := self._groups.get(spot.address)) is None:
            return
        for other in list(others.occurrences.values()):
            if other.spot == spot:
                self._put(replace(other, fingerprint=told.fingerprint))
        if (group := self._groups.get(told.fingerprint)) is not None:
            group.be_told_as(told)

    def _limit(self, keep: CrashGroup) -> None:
        """Forget occurrences of what happens often, then the group unseen for longest.

        A group that people ignore goes last: it would come back as an open one.
        """
        if len(keep.occurrences) > MOST_OCCURRENCES:
            del self._of[keep.drop_oldest()]
        if len(self._of) > MOST_KEPT:
            most = max(self._groups.values(), key=lambda group: len(group.occurrences))
            del self._of[most.drop_oldest()]
        if len(self._groups) > MOST_GROUPS:
            others = (group for group in self._groups.values() if group is not keep)
            gone = min(
                others, key=lambda group: (group.state is CrashState.IGNORED, group.last_seen)
            )
            for key in gone.occurrences:
                del self._of[key]
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
                found._take(group)
        return found

    def _take(self, group: CrashGroup) -> None:
        """Take a group that was stored; of an occurrence that is in two, the first one holds."""
        self._groups[group.fingerprint] = group
        for key, occurrence in list(group.occurrences.items()):
            if self._of.setdefault(key, group.fingerprint) != group.fingerprint:
                del group.occurrences[key]
            elif (spot := occurrence.spot) is not None and occurrence.by_image:
                self._told[spot] = occurrence.fingerprint
        if not group.count:
            del self._groups[group.fingerprint]


def _note(names: dict[str, float], name: str, at: float) -> None:
    """Remember a name and when it was last seen, the latest last."""
    names[name] = max(names.pop(name, at), at)
    if len(names) > MOST_NAMES:
        del names[min(names, key=lambda known: names[known])]


def _stored(group: CrashGroup) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "application_id": group.application_id,
        "state": str(group.state),
        "resolved_in": list(group.resolved_in),
        "decided": group.decided,
        "reason": group.reason,
        "fault_kind": group.fault_kind,
        "place": group.place,
        "older": group.older,
        "first_seen": group.first_seen,
        "last_seen": group.last_seen,
        "devices": dict(group.devices),
        "versions": dict(group.versions),
        "occurrences": [
            [
                kept.capture_id,
                kept.device,
                kept.version,
                kept.at,
                kept.reason,
                kept.git_hash,
                kept.address,
                kept.fault_kind,
                kept.place,
            ]
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
    application_id = int(entry["application_id"])
    occurrences = [
        _occurrence(fingerprint, application_id, kept)
        for kept in entry["occurrences"][:MOST_OCCURRENCES]
    ]
    return CrashGroup(
        fingerprint,
        application_id,
        CrashState(entry["state"]),
        tuple(_text(version) for version in entry["resolved_in"][:MOST_NAMES]),
        max(int(entry["decided"]), 0),
        _text(entry["reason"]),
        _text(entry.get("fault_kind", "")),
        _text(entry.get("place", "")),
        max(int(entry["older"]), 0),
        float(entry["first_seen"]),
        float(entry["last_seen"]),
        _names(entry["devices"]),
        _names(entry["versions"]),
        {each.key: each for each in occurrences},
    )


def _occurrence(fingerprint: str, application_id: int, kept: Iterable[Any]) -> Occurrence:
    """Read a stored occurrence; the earliest ones have no words but an English line."""
    capture_id, device, version, at, reason, *others = kept
    named = (fingerprint, _text(device), _text(version), float(at), _text(capture_id))
    return Occurrence(*named, _text(reason), application_id, *map(_text, others))


def _names(stored: Mapping[str, Any]) -> dict[str, float]:
    return {_text(name): float(at) for name, at in list(stored.items())[:MOST_NAMES]}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of text")
    return value[:LONGEST_TEXT]
