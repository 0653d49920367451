"""Tables of numbers, one row for each set of label values. Plain numbers and lists: counting must cost next to nothing.

Only the event loop's thread writes; whoever tells the numbers elsewhere takes a copy first.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

#: The values of a row's labels, in the order of the table's.
Row: TypeAlias = tuple[str, ...]

#: Rows that a table has at most; what would be one more is counted in a row where each label is OTHER.
MAX_ROWS = 2_000
OTHER = "other"


@dataclass(slots=True)
class Counts:
    """A counter: it only grows. ``help`` ends without a full stop, as Prometheus's own do."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    rows: dict[Row, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.labels:
            # What has never happened is a zero, from which the first time shows as an increase.
            self.rows.setdefault((), 0)

    def add(self, row: Row, amount: float = 1) -> None:
        rows = self.rows
        if row not in rows:
            row = _admitted(row, rows)
        rows[row] = rows.get(row, 0) + amount

    def copy(self) -> Self:
        return replace(self, rows=dict(self.rows))


@dataclass(slots=True)
class Spread:
    """A histogram over ``bounds``, ascending. A row is a count for each bound, one for what is above, and the sum."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    rows: dict[Row, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.labels:
            self._cells(())

    def observe(self, row: Row, value: float) -> None:
        cells = self.rows.get(row) or self._cells(row)
        cells[bisect_left(self.bounds, value)] += 1
        cells[-1] += value

    def copy(self) -> Self:
        return replace(self, rows={row: cells[:] for row, cells in self.rows.items()})

    def _cells(self, row: Row) -> list[float]:
        return self.rows.setdefault(_admitted(row, self.rows), [0.0] * (len(self.bounds) + 2))


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge: it has no value but when somebody asks for it."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    rows: Mapping[Row, float] = field(default_factory=dict)

    def at(self, value: float, *row: str) -> Self:
        """The level as it stands, for one row."""
        return replace(self, rows={row: value})

    def with_rows(self, rows: Mapping[Row, float]) -> Self:
        """The level as it stands."""
        return replace(self, rows=dict(rows))


#: Reads levels as they are now.
Reading: TypeAlias = Callable[[], Iterable[Level]]


def _admitted(row: Row, rows: Mapping[Row, object]) -> Row:
    return row if len(rows) < MAX_ROWS else (OTHER,) * len(row)
