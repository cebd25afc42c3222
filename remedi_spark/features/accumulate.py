"""Interval accumulation: every row counts at a stretch of snapshots, and each snapshot adds up what counts at it.

numpy alone, on the rows of whole owners. A row is never repeated for its snapshots: a total is the running sum of what
begins and ends to count (a difference array), so that its cost does not depend on how many snapshots a window covers.
Snapshots are numbered 0 … S - 1; a row counts at ``low`` ≤ s < ``high``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Values = npt.NDArray[Any]
_ROOM = 2.0**62
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Rows of owners: the owner's number and the first snapshot that sees the row, shape (rows,)."""

    owner: Ints
    low: Ints
    owners: int
    snapshots: int

    def pick(self, rows: Ints) -> Rows:
        """Return some of the rows."""
        return Rows(self.owner[rows], self.low[rows], self.owners, self.snapshots)


def fits(rows: Rows, values: Values) -> bool:
    """Whether no total of an owner's whole numbers can pass 64 bits."""
    if values.dtype != np.int64 or not len(values):
        return True
    size = np.abs(values.astype(np.float64))
    if size.sum() < _ROOM:
        return True
    return bool(np.bincount(rows.owner, size, rows.owners).max() < _ROOM)


def starts(rows: Rows, values: Values) -> Values:
    """Return what begins to count at each snapshot, shape (owners, snapshots + 1); exact for integers."""
    return _scatter(rows, rows.low, values)


def totals(rows: Rows, begun: Values, high: Ints, values: Values) -> Values:
    """Return the total at each snapshot, shape (owners, snapshots), of rows that count until before ``high``.

    ``begun`` is :func:`starts` of the same values: windows of different widths share it.
    """
    ended = _scatter(rows, np.maximum(high, rows.low), values)
    return np.cumsum(begun - ended, axis=1)[:, :-1]


def extremes(rows: Rows, high: Ints, values: Values, *, largest: bool, nothing: Values) -> Values:
    """Return the largest or smallest value at each snapshot, ``nothing`` where no row counts.

    NaN is larger than any number, as in SQL.
    """
    found = np.full(rows.owners * rows.snapshots, nothing, dtype=values.dtype)
    length = np.maximum(high - rows.low, 0)
    first = np.cumsum(length) - length
    step = np.arange(length.sum()) - np.repeat(first, length)
    cell = np.repeat(rows.owner * rows.snapshots + rows.low, length) + step
    _keep(found, cell, np.repeat(values, length), largest=largest)
    return found.reshape(rows.owners, rows.snapshots)


def so_far(rows: Rows, values: Values, *, largest: bool, nothing: Values) -> Values:
    """Return the largest or smallest value up to each snapshot: a row counts at all snapshots from ``low`` on."""
    found = np.full(rows.owners * (rows.snapshots + 1), nothing, dtype=values.dtype)
    _keep(found, rows.owner * (rows.snapshots + 1) + rows.low, values, largest=largest)
    by_owner = found.reshape(rows.owners, rows.snapshots + 1)[:, :-1]
    return (np.maximum if largest else np.fmin).accumulate(by_owner, axis=1)


def first_of_each(owner: Ints, day: Ints, known: Ints) -> Ints:
    """Return the positions of the rows by which each owner's day became known first, in no particular order."""
    order = np.lexsort((known, day, owner))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(owner[order]) != 0) | (np.diff(day[order]) != 0)
    return np.asarray(order[new])


def _scatter(rows: Rows, at: Ints, values: Values) -> Values:
    found = np.zeros(rows.owners * (rows.snapshots + 1), dtype=values.dtype)
    np.add.at(found, rows.owner * (rows.snapshots + 1) + at, values)
    return found.reshape(rows.owners, rows.snapshots + 1)


def _keep(found: Values, cell: Ints, values: Values, *, largest: bool) -> None:
    with np.errstate(invalid="ignore"):  # NaN may be among the values
        (np.maximum if largest else np.fmin).at(found, cell, values)
