"""What a damaged file still holds, and how much it must have held.

A body is trusted for its seal, a capture's state for its place among known words; what one part
of the file says is held against the others. How many captures are lost is told only where the
file gives proof: a table of captures that is whole, or the gauges.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ..model.capture import CaptureKind
from . import carving, envelope
from .carving import Cell, Leaf, Values
from .envelope import Sealed
from .model import CaptureState, DeliveryState
from .pages import Pages

type Rows = dict[int, dict[str, Any]]
"""Rows by ID, each with its values by the names of their columns."""

type Gauge = tuple[str, int]
"""A state, and how many captures of a device were in it."""

TABLES: Final = ("devices", "captures", "contents", "deliveries", "sent")
_KINDS: Final = frozenset(kind.value for kind in CaptureKind)
STATES: Final = frozenset(state.value for state in CaptureState)
_DELIVERY_STATES: Final = frozenset(state.value for state in DeliveryState)
_SEALED: Final = 11
_MOMENT: Final = 6
_LEAST: Final = {"devices": 13, "captures": 13, "contents": 7, "deliveries": 11, "sent": 8}
"""How many columns each table had at first."""
HIGHEST: Final = 1 << 48
"""IDs are below this: one that is not can only be damage."""


@dataclass(slots=True)
class Remains:
    """All that could be read; bodies stay on the disk until they are asked for.

    ``whole`` tells that nothing is missing of the table of captures, ``gauges`` how many of each
    state there were, if the file still says so.
    """

    pages: Pages
    rows: dict[str, Rows] = field(default_factory=lambda: {name: {} for name in TABLES})
    bodies: dict[int, list[Cell]] = field(default_factory=dict)
    gauges: Counter[str] | None = None
    whole: bool = False

    @property
    def captures(self) -> Rows:
        """What is known of captures besides their bodies."""
        return self.rows["captures"]

    def sealed(self, cell: Cell) -> Sealed | None:
        """Read a body; one that is not intact only where the page itself says that it is one."""
        changed: Sealed | None = None
        for values in carving.values(self.pages, cell):
            if len(values) < _SEALED:
                continue
            row = list(values[1:_SEALED])
            row[_MOMENT] = _real(row[_MOMENT])
            found = envelope.opened(tuple(row))
            if found is not None and found.intact:
                return found
            changed = changed or found
        return changed if cell.believed else None


def read(pages: Pages, columns: dict[str, dict[str, str]], roots: dict[str, int]) -> Remains:
    """Read everything that is no body.

    ``columns`` names each table's columns with their types, ``roots`` the page where each
    begins in a new file.
    """
    found = Remains(pages)
    begins = dict(roots)
    counted: list[Gauge | None] = []
    whole_leaves: dict[int, bool] = {}
    for number in range(1, pages.count + 1):
        counted += _gauges(pages, number)
        if (leaf := carving.leaf(pages, number)) is None:
            continue
        cells = list(_begun(pages, leaf, carving.TABLE_LEAF))
        table = _table(values for cell, values in cells if cell.believed) or _table(
            values for _, values in cells
        )
        if table == "schema":
            begins |= {values[1]: values[3] for _, values in cells if values[0] == "table"}
        elif table == "bodies":
            for cell, _ in cells:
                found.bodies.setdefault(cell.row_id, []).append(cell)
        elif table is not None:
            taken = _rows(table, columns[table], cells)
            rows = found.rows[table]
            rows |= taken if leaf.whole else {key: taken[key] for key in taken.keys() - rows.keys()}
            if table == "captures":
                known = all(row["state"] in STATES for row in taken.values())
                whole_leaves[number] = leaf.whole and known and len(taken) == len(leaf.cells)
    if counted and None not in counted:
        found.gauges = Counter()
        for state, captures in filter(None, counted):
            found.gauges[state] += captures
    found.whole = _is_whole(pages, begins.get("captures"), whole_leaves)
    return found


def _rows(table: str, columns: dict[str, str], cells: list[tuple[Cell, Values]]) -> Rows:
    """Name the values of a page's rows, of those that can be rows of the table."""
    names = list(columns.items())[1:]
    return {
        cell.row_id: {
            name: _real(value) if kind == "REAL" else value
            for (name, kind), value in zip(names, values[1:], strict=False)
        }
        for cell, values in cells
        if 0 < cell.row_id < HIGHEST
        and len(values) >= _LEAST[table]
        and (cell.believed or _shape(values) == table)
    }


def _real(value: Any) -> Any:
    """Undo that SQLite writes real numbers without a fraction as integers."""
    return float(value) if isinstance(value, int) else value


def _begun(pages: Pages, leaf: Leaf, kind: int) -> Iterator[tuple[Cell, Values]]:
    """Decode all rows of a page, without what of them stands on other pages."""
    for cell in leaf.cells:
        if (values := carving.beginning(pages, cell, kind)) is not None:
            yield cell, values


def _gauges(pages: Pages, number: int) -> list[Gauge | None]:
    """Read the page with the gauges; what of it can't be read is None."""
    keys = carving.leaf(pages, number, carving.INDEX_LEAF)
    if keys is None:
        return []
    gauges = [_gauge(values) for _, values in _begun(pages, keys, carving.INDEX_LEAF)]
    if not any(gauges):
        return []
    return gauges if keys.whole else [*gauges, None]


def _gauge(values: Values) -> Gauge | None:
    if len(values) != 4 or values[1] not in STATES:
        return None
    if not all(isinstance(values[at], int) and values[at] >= 0 for at in (0, 2, 3)):
        return None
    return values[1], values[2]


def _table(rows: Iterable[Values]) -> str | None:
    """Tell whose rows these are, all of one page: what most of them look like."""
    shapes = Counter(shape for values in rows if (shape := _shape(values)) is not None)
    return max(shapes, key=lambda shape: shapes[shape], default=None)


def _shape(values: Values) -> str | None:
    """Tell which table a row seems to be of; a later version may have added columns."""
    if len(values) == 5 and values[0] in ("table", "index", "trigger"):
        return "schema" if isinstance(values[3], int) else None
    if len(values) < 7 or values[0] is not None:
        return None
    if len(values) == _SEALED and values[3] in _DELIVERY_STATES and isinstance(values[1], int):
        return "deliveries"
    if len(values) == _SEALED and isinstance(values[10], bytes) and isinstance(values[2], int):
        return "bodies"
    if len(values) >= _SEALED and (values[2] in _KINDS or values[3] in STATES):
        return "captures"
    if len(values) >= _SEALED and isinstance(values[2], str) and isinstance(values[3], int):
        return "devices"
    if len(values) < _SEALED and isinstance(values[3], bytes) and isinstance(values[4], int):
        return "contents"
    if len(values) < _SEALED and isinstance(values[2], str) and isinstance(values[3], int):
        return "sent"
    return None


def _is_whole(pages: Pages, root: int | None, leaves: dict[int, bool]) -> bool:
    """Whether the tree of captures leads to all pages with captures, and each adds up."""
    if root is None or not all(leaves.values()):
        return False
    reached: list[int] = []
    seen: set[int] = set()
    ahead = [root]
    while ahead:
        number = ahead.pop()
        if number in seen:
            return False
        seen.add(number)
        if (below := carving.children(pages, number)) is not None:
            ahead += below
            continue
        leaf = carving.leaf(pages, number)
        if leaf is None or not leaf.whole:
            return False
        if leaf.cells:
            reached.append(number)
    return sorted(reached) == sorted(leaves)
