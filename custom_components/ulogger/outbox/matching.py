"""Which body belongs to which capture of a damaged file, and how many captures are gone."""

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from ..model.capture import Capture
from .carving import Cell
from .envelope import Sealed
from .model import CaptureState
from .salvage import HIGHEST, STATES, Remains

_UNDELIVERED: Final = frozenset(
    {CaptureState.WAITING.value, CaptureState.QUARANTINED.value, CaptureState.KEPT.value}
)

type Row = dict[str, Any]

type Traits = tuple[Any, ...]
"""Moment, kind and size: what a capture's row and its body tell both."""


def matched(remains: Remains) -> dict[int, Cell]:
    """Tell which body belongs under which ID.

    An ID alone may have changed: a body without a capture goes to the capture without a body
    that is of the same moment, kind and size. What is then left over of a file whose captures
    are all known was deleted before.
    """
    homes: dict[int, Cell] = {}
    homeless: list[tuple[Cell, Traits]] = []
    for body_id, cells in remains.bodies.items():
        row = remains.captures.get(body_id)
        if len(cells) == 1 and cells[0].believed and row is not None:
            homes[body_id] = cells[0]
            continue
        for cell, traits, intact in _different(remains, cells):
            own = None if row is None else _traits_of(row)
            alike = own == traits or not (intact or own is None or set(own).isdisjoint(traits))
            if alike and body_id not in homes:
                homes[body_id] = cell
            else:
                homeless.append((cell, traits))
    bodiless: dict[Traits, list[int]] = {}
    for number, row in remains.captures.items():
        if number not in homes:
            bodiless.setdefault(_traits_of(row), []).append(number)
    left_over: list[Cell] = []
    for cell, traits in homeless:
        if numbers := bodiless.get(traits):
            homes[numbers.pop(0)] = cell
        else:
            left_over.append(cell)
    if not remains.whole:
        _house(remains, homes, left_over)
    return homes


def _house(remains: Remains, homes: dict[int, Cell], left_over: list[Cell]) -> None:
    """Give bodies whose captures are gone the IDs that they have, or new ones behind all others."""
    known = [*remains.captures, *(number for number in remains.bodies if number < HIGHEST)]
    free = count(max(known, default=0) + 1)
    for cell in left_over:
        taken = cell.row_id in remains.captures or cell.row_id in homes
        homes[next(free) if taken or not 0 < cell.row_id < HIGHEST else cell.row_id] = cell


def _different(remains: Remains, cells: list[Cell]) -> Iterator[tuple[Cell, Traits, bool]]:
    """Read all bodies of one ID, without copies; where any is intact, only those that are."""
    read = [(cell, sealed) for cell in cells if (sealed := remains.sealed(cell)) is not None]
    intact = [(cell, sealed) for cell, sealed in read if sealed.intact]
    seen: list[Capture] = []
    for cell, sealed in intact or read[:1]:
        capture = sealed.capture
        if capture not in seen:
            seen.append(capture)
            traits = (capture.captured_at, capture.kind.value, len(capture.data))
            yield cell, traits, sealed.intact


def _traits_of(row: Row) -> Traits:
    return row["captured_at"], row["kind"], row["size"]


class Losses:
    """Counts the undelivered captures that are gone, as far as the file proves how many."""

    def __init__(self, remains: Remains) -> None:
        self._whole = remains.whole
        self._gauges = remains.gauges
        self._known = 0
        self._unknown = 0
        self._rows = 0
        self._delivered = 0

    def count(self, row: Row | None, sealed: Sealed | None) -> None:
        """Take note of one capture: what is known of it, and its body."""
        state = None if row is None else row["state"]
        if state not in STATES:
            self._unknown += sealed is not None
            return
        if state in _UNDELIVERED:
            self._rows += 1
            self._known += sealed is None
        else:
            self._delivered += 1

    def total(self) -> int | None:
        """Tell how many there are; None when the file does not say.

        Where captures are missing, the gauges tell how many there were of each state, and the
        bodies that were found without a state are what is left of them.
        """
        if self._whole:
            return self._known
        if self._gauges is None:
            return None
        undelivered = sum(self._gauges[state] for state in _UNDELIVERED) - self._rows
        delivered = self._gauges[CaptureState.DELIVERED.value] - self._delivered
        gone = undelivered + delivered - self._unknown
        if undelivered < 0 or delivered < 0:
            return None
        if gone <= 0 or undelivered == 0:
            return self._known
        if delivered == 0:
            return self._known + gone
        return None if self._unknown else self._known + undelivered
