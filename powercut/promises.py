"""What was promised by the moment of a cut, and whether a disk that it left keeps it."""

import hashlib
import json
from collections import defaultdict
from dataclasses import astuple, dataclass, field
from enum import StrEnum

from custom_components.ulogger.model.capture import CaptureKind


class Mark(StrEnum):
    """A note that the recorded process makes of itself."""

    ERASED = "erased"
    """A capture was added to the outbox: its device may be told to erase it."""
    IN_CLOUD = "in_cloud"
    """The cloud has acknowledged a capture."""
    NOTED = "noted"
    """The outbox has told that a capture is delivered: it never goes up again."""
    SAVING = "saving"
    SAVED = "saved"
    """A store's file is about to be written, and was; ``number`` tells which content."""
    SUSPECTED = "suspected"
    """The outbox is told to be damaged, so that it will be rebuilt, with all that is in it."""
    DISMISSED = "dismissed"
    """Somebody has taken note of that, and is not told again."""


def piece(kind: CaptureKind, payload: bytes) -> str:
    """Name a core dump, or a frame of a log."""
    return hashlib.blake2b(kind.encode() + payload, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Found:
    """What the project's own code makes of a disk.

    ``kept`` and ``delivered`` are pieces in captures that the cloud does not and does have, by
    the outbox's account; ``waiting`` are the IDs of those that it does not have. ``repair``
    is how many captures a repair has put aside and lost, if there was one; ``stores`` tells for
    each file which save it holds (None: no file).
    """

    kept: frozenset[str] = frozenset()
    delivered: frozenset[str] = frozenset()
    waiting: frozenset[int] = frozenset()
    repair: tuple[int, int | None] | None = None
    stores: dict[str, int | None] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a disk: pieces of captures that are gone, and so on; all 0 if nothing.

    ``sent_again`` were noted as delivered and wait again, ``unfounded`` count as delivered and
    never were; ``repaired`` is 1 for an outbox that was damaged, or not rebuilt whole;
    ``stores_behind`` are files that hold an older save than was promised, or none.
    """

    lost: int = 0
    failed_to_open: int = 0
    sent_again: int = 0
    unfounded: int = 0
    repaired: int = 0
    stores_behind: int = 0

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return any(astuple(self))

    def __add__(self, other: Verdict) -> Verdict:
        """Count what is wrong with several disks."""
        return Verdict(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class Promises:
    """All marks up to some moment, and what follows from them."""

    def __init__(self) -> None:
        self._erased: set[str] = set()
        self._in_cloud: set[str] = set()
        self._noted: set[int] = set()
        self._saved: dict[str, int] = {}
        self._saving: dict[str, set[int]] = defaultdict(set)
        self._suspected = False

    def take(self, data: bytes) -> None:
        """Take a mark."""
        fields = json.loads(data)
        match Mark(fields["mark"]):
            case Mark.ERASED:
                self._erased.update(fields["pieces"])
            case Mark.IN_CLOUD:
                self._in_cloud.update(fields["pieces"])
            case Mark.NOTED:
                self._noted.add(fields["capture"])
            case Mark.SAVING:
                self._saving[fields["store"]].add(fields["number"])
            case Mark.SAVED:
                store, number = fields["store"], fields["number"]
                self._saved[store] = max(number, self._saved.get(store, 0))
            case Mark.SUSPECTED:
                self._suspected = True
            case Mark.DISMISSED:
                self._suspected = False

    def hold_against(self, found: Found) -> Verdict:
        """Judge what was found on a disk that a cut at this moment may leave."""
        if found.error is not None:
            return Verdict(failed_to_open=1)
        return Verdict(
            lost=len(self._erased - self._in_cloud - found.kept),
            sent_again=len(self._noted & found.waiting),
            unfounded=len(found.delivered - self._in_cloud),
            repaired=int(found.repair not in ({None, (0, 0)} if self._suspected else {None})),
            stores_behind=sum(
                not self._recent(store, number) for store, number in found.stores.items()
            ),
        )

    def _recent(self, store: str, number: int | None) -> bool:
        """Whether a file holds the last save that was promised, or a later one."""
        promised = self._saved.get(store)
        if number is None:
            return promised is None
        return number in self._saving[store] and number >= (promised or 0)
