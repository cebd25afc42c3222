"""Columns that hold one value alone, found in one pass over Arrow batches.

Every task looks at its own batches; what it has found is a few bytes a column and adds up over tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Value = float | str


class Extents:
    """How many values each of ``width`` columns has, and its value as long as it has shown only one."""

    def __init__(self, width: int) -> None:
        self.known = np.zeros(width, dtype=np.int64)
        self.varies = np.zeros(width, dtype=bool)
        self.only: dict[int, Value] = {}

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Take in a batch of numbers or texts, one array a column; nulls are no values."""
        for i, column in enumerate(columns):
            values = len(column) - column.null_count
            self.known[i] += values
            if not values or self.varies[i]:
                continue
            found = pc.min_max(column)
            self._see(i, found["min"].as_py())
            self._see(i, found["max"].as_py())

    def merge(self, other: Extents) -> None:
        """Take in what another task has found."""
        self.known += other.known
        self.varies |= other.varies
        for i, value in other.only.items():
            self._see(i, value)

    def constant(self, rows: int) -> set[int]:
        """Return the columns, of so many rows, that have one value and no null, or no value at all."""
        alike = ~self.varies & (self.known == rows)
        return {int(i) for i in np.flatnonzero(alike | (self.known == 0))}

    def _see(self, column: int, value: Value) -> None:
        if self.only.setdefault(column, value) != value:
            self.varies[column] = True

    def to_json(self) -> str:
        """Return the form that a task sends; values of columns that vary are left out."""
        only = {i: value for i, value in self.only.items() if not self.varies[i]}
        return json.dumps({"known": self.known.tolist(), "varies": self.varies.tolist(), "only": only})

    @classmethod
    def from_json(cls, text: str) -> Extents:
        """Rebuild from :meth:`to_json`."""
        tree = json.loads(text)
        made = cls(len(tree["known"]))
        made.known = np.asarray(tree["known"], dtype=np.int64)
        made.varies = np.asarray(tree["varies"], dtype=bool)
        made.only = {int(i): value for i, value in tree["only"].items()}
        return made


def merged(parts: Iterable[str], width: int) -> Extents:
    """Return what all tasks have found together."""
    total = Extents(width)
    for part in parts:
        total.merge(Extents.from_json(part))
    return total
