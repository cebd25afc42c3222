"""A grid over the log-odds of probabilities, on which scored rows are counted: counts add up over tasks and batches.

A step is so narrow that p differs by at most 2 % within a bin; with the sum of p kept beside the rows, sums over bins
are those over rows, and only the order within the bin that a budget ends in is not known (it counts pro rata).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from remedi_spark.maths.checks import FloatArray

LOWEST, HIGHEST, STEP = -14.0, 6.0, 0.02
BINS = round((HIGHEST - LOWEST) / STEP)
_SMALLEST = 1e-12


def log_odds(p: npt.ArrayLike) -> FloatArray:
    """Return log-odds of probabilities, any shape, finite at 0 and 1."""
    inside = np.clip(np.asarray(p, dtype=np.float64), _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def count_on_grid(p: FloatArray) -> FloatArray:
    """Return rows by bin, then the sum of ``p`` by bin, shape (2 * BINS,)."""
    place = np.clip((log_odds(p) - LOWEST) / STEP, 0, BINS - 1).astype(np.int64)
    return np.concatenate([np.bincount(place, weights=each, minlength=BINS) for each in (np.ones(len(p)), p)])


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """How many rows have which probability, highest first.

    Attributes:
        rows: of each distinct bin that holds any, shape (b,).
        p: their mean probability, in [0, 1], shape (b,).
    """

    rows: FloatArray
    p: FloatArray

    @classmethod
    def of_counts(cls, counts: FloatArray) -> ScoredRows:
        """Return what :func:`count_on_grid` counted, summed over batches."""
        rows, total = counts[:BINS], counts[BINS:]
        held = np.flatnonzero(rows)[::-1]
        return cls(rows[held], np.clip(total[held] / rows[held], 0, 1))

    @classmethod
    def of(cls, p: npt.ArrayLike) -> ScoredRows:
        """Return single rows by falling probability: exact, for few of them."""
        values, times = np.unique(np.asarray(p, dtype=np.float64), return_counts=True)
        return cls(times[::-1].astype(np.float64), values[::-1])

    @property
    def total(self) -> float:
        """Rows in all."""
        return float(self.rows.sum())
