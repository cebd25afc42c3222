"""What is asked of the rows of whole owners: readings of their cells, and totals of labels."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from remedi_spark.features.aggregations import View
from remedi_spark.features.ordered import ORDERED

STRETCHES = "__stretches"
"""On one row of an owner, in a list: what its distinct counts are read from; null on all other rows."""
_DATES = ("last", "first", "newest", "oldest")
_NUMBERS = ("largest", "smallest")


@dataclass(frozen=True)
class Want:
    """One reading: a column of the rows seen through a view; for ``distinct`` it is the number of its cell."""

    name: str
    column: str
    view: View
    window: int
    number: float = 0.0
    """For views that need one: which quantile, which place."""
    text: bool = False
    """Whether the values are text."""
    of: str = ""
    """What is aggregated, as it was declared."""

    @property
    def type(self) -> pa.DataType:
        """Arrow type of the reading."""
        return (
            pa.string()
            if self.text
            else pa.date32()
            if self.view in _DATES
            else pa.float64()
            if self.view in _NUMBERS or self.view in ORDERED
            else pa.int64()
        )


@dataclass(frozen=True)
class Label:
    """The label's total: a day counts at the snapshots whose days (t + gap, t + gap + horizon] hold it."""

    columns: tuple[str, ...]
    """The total, or its parts."""
    names: tuple[str, ...]
    """What they are called in the table of snapshots."""
    gap: int
    horizon: int


def older_column(column: str, view: str) -> str:
    """Return the column that holds a cell's last or first day of the history before all windows."""
    return f"__{view}__{column}"
