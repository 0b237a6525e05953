"""Which body belongs to which capture of a damaged file, and how many captures are gone."""

from typing import Any, Final

from .carving import Cell
from .envelope import Sealed
from .model import CaptureState
from .salvage import STATES, Remains

_HIGHEST: Final = 1 << 48
_UNDELIVERED: Final = frozenset({CaptureState.WAITING.value, CaptureState.QUARANTINED.value})

type Row = dict[str, Any]


def matched(remains: Remains) -> tuple[dict[int, Cell], list[tuple[int, Cell]]]:
    """Give each capture its body, and the bodies that are left over an ID of their own.

    An ID alone may have changed: a body without a capture goes to the capture without a body
    that is of the same moment, kind and size. What is then left over of a file whose captures
    are all known was deleted before.
    """
    homes: dict[int, Cell] = {}
    homeless: list[tuple[Cell, Sealed]] = []
    for body_id, cells in remains.bodies.items():
        row = remains.captures.get(body_id)
        if len(cells) == 1 and cells[0].believed and row is not None:
            homes[body_id] = cells[0]
            continue
        for cell, sealed in _different(remains, cells):
            if (
                row is not None
                and body_id not in homes
                and _fits(row, sealed, exactly=sealed.intact)
            ):
                homes[body_id] = cell
            else:
                homeless.append((cell, sealed))
    bodiless = [number for number in remains.captures if number not in homes]
    orphans: list[tuple[int, Cell]] = []
    free = max([0, *remains.captures, *(n for n in remains.bodies if n < _HIGHEST)]) + 1
    for cell, sealed in homeless:
        home = next((n for n in bodiless if _fits(remains.captures[n], sealed)), None)
        if home is not None:
            homes[home] = cell
            bodiless.remove(home)
        elif remains.whole:
            continue
        elif 0 < cell.row_id < free and cell.row_id not in remains.captures:
            if cell.row_id in homes:
                orphans.append((free, cell))
                free += 1
            else:
                homes[cell.row_id] = cell
        else:
            orphans.append((free, cell))
            free += 1
    return homes, orphans


def _different(remains: Remains, cells: list[Cell]) -> list[tuple[Cell, Sealed]]:
    """Read all bodies of one ID, without copies; where any is intact, only those that are."""
    read = [(cell, sealed) for cell in cells if (sealed := remains.sealed(cell)) is not None]
    intact = [(cell, sealed) for cell, sealed in read if sealed.intact]
    found: list[tuple[Cell, Sealed]] = []
    for cell, sealed in intact or read[:1]:
        if all(sealed.capture != other.capture for _, other in found):
            found.append((cell, sealed))
    return found


def _fits(row: Row, sealed: Sealed, *, exactly: bool = True) -> bool:
    capture = sealed.capture
    same = (
        row["captured_at"] == capture.captured_at,
        row["kind"] == capture.kind.value,
        row["size"] == len(capture.data),
    )
    return all(same) if exactly else any(same)


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
